"""`facemae reconstruct` beside plain loops over the same network, in one process: JPEG `.rec` in, JPEG out.

    python tests/benchmarks/reconstruct.py --model facemae-base --faces 96

Faces are drawn people, masked by painting patches black. The plain loop is what one would write first: Pillow decodes,
all patches are embedded and the visible ones gathered, timm's blocks run in fp32, Pillow encodes. The other plain ways
are the MAE authors' own: a DataLoader whose workers decode, in fp32, and under autocast where the device computes in
bf16. Weights are random: speed does not depend on them. The floor is the network's multiplications over the rate of one
large product, in bf16 where that is what computes.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from drawings import faces as drawn_faces
from drawings import named
from PIL import Image
from safetensors.torch import save_file
from timing import as_the_system_does, begin, cores, product_rate, timed
from torch.utils.data import DataLoader, Dataset

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import encode_jpeg
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import open_output
from facemae_cli.masking import patches as masking
from facemae_cli.masking.mask_color import MaskColor
from facemae_cli.networks.architectures.mae import MaskedAutoencoder, patchify
from facemae_cli.networks.card import card_text
from facemae_cli.networks.loading import build_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import has_fast_bf16
from facemae_cli.tasks.reconstruct import reconstruct


def write_masked(path: Path, faces: int) -> None:
    """Drawn faces with 147 of 196 patches painted black, as JPEG in a `.rec`."""
    random = np.random.default_rng(0)
    with open_output(path, plan={"faces": faces}) as output:
        for name, image in zip(named(faces, 1), drawn_faces(faces), strict=True):
            hidden = masking.hidden("random", random.permutation(196))
            image = np.where(masking.per_pixel(hidden, 112, 112)[..., None], 0, np.maximum(image, 40))
            output.write(name, encode_jpeg(image.astype(np.uint8)))
        output.commit()
        output.finish(Manifest(command="convert"))


class MaskedFaces(Dataset[tuple[np.ndarray, np.ndarray]]):
    """The faces of a `.rec` by Pillow, (S, S, 3) uint8, and which of their patches are hidden, (196,) bool."""

    def __init__(self, source: FaceSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image = np.array(Image.open(io.BytesIO(self.source.read(index))).convert("RGB"))
        return image, MaskColor((0, 0, 0), 16).mask(image)


def batches(faces: MaskedFaces, size: int, workers: int) -> Iterable[Sequence[torch.Tensor]]:
    """One after the other in this process, or by a DataLoader."""
    if workers:
        return DataLoader(faces, size, num_workers=workers)
    return in_turn(faces, size)


def in_turn(faces: MaskedFaces, size: int) -> Iterator[Sequence[torch.Tensor]]:
    for first in range(0, len(faces), size):
        read = [faces[index] for index in range(first, min(first + size, len(faces)))]
        yield [torch.from_numpy(np.stack(part)) for part in zip(*read, strict=True)]


@torch.no_grad()
def plain(
    network: MaskedAutoencoder, masked: Path, out: Path, batch: int, workers: int = 0, bf16: bool = False
) -> None:
    """Read, embed everything, gather, run, write: one batch after the other."""
    as_the_system_does()
    source, patch, device = open_source(masked), network.patch, network.mask_token.device
    out.mkdir(exist_ok=True)
    number = 0
    for images, hidden in batches(MaskedFaces(source), batch, workers):
        tensor = images.to(device).permute(0, 3, 1, 2).float() / 255
        index = hidden.int().argsort(dim=1, stable=True)[:, : int((~hidden[0]).sum())].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            made = plain_forward(network, patchify(tensor, patch), index).float()
        for face in made.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy():
            Image.fromarray(face).save(out / f"{number}.jpg", quality=95, subsampling=0)
            number += 1


def plain_forward(network: MaskedAutoencoder, patches: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The same weights, every patch embedded before the hidden ones are dropped."""
    where = index.unsqueeze(-1)
    tokens = network.embed(patches * 2 - 1) + network.positions
    tokens = tokens.gather(1, where.expand(-1, -1, tokens.shape[-1]))
    for block in network.encoder:
        tokens = block(tokens)
    tokens = network.decoder_embed(network.encoder_norm(tokens))
    full = network.mask_token.to(tokens.dtype).repeat(len(tokens), 196, 1)
    full.scatter_(1, where.expand(-1, -1, full.shape[-1]), tokens)
    full = full + network.decoder_positions
    for block in network.decoder:
        full = block(full)
    faces = network.head(network.decoder_norm(full)).reshape(-1, 14, 14, network.patch, network.patch, 3)
    faces = faces.permute(0, 5, 1, 3, 2, 4).reshape(len(tokens), 3, network.size, network.size)
    return network.seam(faces) / 2 + 0.5


def operations(network: MaskedAutoencoder, visible: int = 49) -> float:
    """Floating-point operations a face: two for each weight of a linear layer and token, and the attention products."""
    encoder = sum(m.weight.numel() for m in network.encoder.modules() if isinstance(m, torch.nn.Linear)) * visible
    decoder = sum(m.weight.numel() for m in network.decoder.modules() if isinstance(m, torch.nn.Linear)) * 196
    ends = network.embed.weight.numel() * visible + network.head.weight.numel() * 196
    width, deep = network.embed.out_features, network.decoder_embed.out_features
    attention = 2 * (len(network.encoder) * visible**2 * width + len(network.decoder) * 196**2 * deep)
    return 2.0 * (encoder + decoder + ends + attention)


def plain_ways(network: MaskedAutoencoder, masked: Path, root: Path, device: str) -> dict[str, Callable[[], object]]:
    """The loops beside which facemae is measured."""
    large, workers = 32 if device == "cpu" else 256, cores()
    ways: dict[str, Callable[[], object]] = {}
    for batch in (1, large):
        ways[f"plain fp32 loop, batch {batch}"] = partial(plain, network, masked, root / f"{batch}", batch)
    for bf16 in (False, True) if has_fast_bf16(torch.device(device)) else (False,):
        name = f"DataLoader, {'autocast' if bf16 else 'fp32'}, batch {large}"
        ways[name] = partial(plain, network, masked, root / f"{bf16}", large, workers, bf16)
    return ways


def our_ways(model: Path, masked: Path, root: Path, device: str) -> dict[str, Callable[[], object]]:
    ways: dict[str, Callable[[], object]] = {}
    for precision in ("fp32", "auto"):
        made = {"model": str(model), "mask_color": "000000", "mask_tolerance": 16, "precision": precision}
        run = partial(reconstruct, masked, root / f"{precision}.rec", device=device, overwrite=True, **made)  # type: ignore[arg-type]
        ways[f"facemae reconstruct, {precision}"] = run
    return ways


def main(argv: list[str] | None = None) -> None:
    """All ways by turns; the best of `--rounds` counts."""
    parser = argparse.ArgumentParser("reconstruct.py", description=__doc__)
    parser.add_argument("--model", default="facemae-base")
    parser.add_argument("--faces", type=int, default=96)
    options, bench = begin(parser, argv, rounds=1)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root, card = Path(folder), resolve(options.model, "mae").card
        masked = root / "masked.rec"
        write_masked(masked, options.faces)
        (root / "model").mkdir()
        network = build_mae(card).eval()
        save_file(network.state_dict(), root / "model" / "weights.safetensors")
        (root / "model" / "model.yaml").write_text(card_text(card))
        network.to(bench.device)
        plain(network, masked, root / "warm", 32)
        ways = plain_ways(network, masked, root, bench.device) | our_ways(root / "model", masked, root, bench.device)
        took = [{name: timed(way, bench.device) for name, way in ways.items()} for _ in range(max(1, bench.rounds))]
        seconds = {name: min(each[name] for each in took) for name in ways}
        fast = "bf16" if has_fast_bf16(torch.device(bench.device)) else "fp32"
        rates = {precision: product_rate(bench.device, precision) for precision in {"fp32", fast}}
        work = options.faces * operations(network)
        print(f"{options.model}: {options.faces} faces, {torch.get_num_threads()} threads of {os.cpu_count()} cores")
        for name, spent in seconds.items():
            reached = work / rates[fast if "auto" in name else "fp32"] / spent
            first = {key: seconds[key] / spent for key in list(seconds)[:2]}
            beside = " ".join(f"{times:5.2f}" for times in first.values())
            rate = options.faces / spent
            print(f"{name:30} {rate:7.2f} faces/s  {beside} x the plain loops  {100 * reached:3.0f} % of the floor")
            row = {"what": f"reconstruct {options.model}", "side": name, "unit": "faces", "best": rate}
            bench.keep(row | {"x": list(first.values())[1], "floor": reached})


if __name__ == "__main__":
    main()
