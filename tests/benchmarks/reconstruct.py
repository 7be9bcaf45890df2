"""`facemae reconstruct` beside a plain fp32 loop over the same network, in one process: JPEG `.rec` in, JPEG out.

    python tests/benchmarks/reconstruct.py --model facemae-base --faces 96

Faces are drawn people, masked by painting patches black. The plain loop is what one would write first: Pillow decodes,
all patches are embedded and the visible ones gathered, timm's blocks run in fp32, Pillow encodes. Weights are random:
speed does not depend on them. The floor is the network's multiplications over the rate of one large product.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from facemae_cli import masking
from facemae_cli.card import save_card
from facemae_cli.data import open_source
from facemae_cli.data.drawn import people
from facemae_cli.data.images import encode_jpeg
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.outputs import open_output
from facemae_cli.networks.loading import build_mae
from facemae_cli.networks.mae import MaskedAutoencoder, patchify
from facemae_cli.tasks.reconstruct import reconstruct
from facemae_cli.zoo import resolve


def write_masked(path: Path, faces: int) -> None:
    """Drawn faces with 147 of 196 patches painted black, as JPEG in a `.rec`."""
    random = np.random.default_rng(0)
    with open_output(path, plan={"faces": faces}) as output:
        for name, image in people(faces, 1, 0):
            hidden = masking.hidden("random", random.permutation(196))
            image = np.where(masking.per_pixel(hidden, 112, 112)[..., None], 0, np.maximum(image, 40))
            output.write(name, encode_jpeg(image.astype(np.uint8)))
        output.commit()
        output.finish(Manifest(command="convert"))


@torch.no_grad()
def plain(network: MaskedAutoencoder, masked: Path, out: Path, batch: int) -> None:
    """Read, embed everything, gather, run, write: one batch after the other."""
    source, patch = open_source(masked), network.patch
    out.mkdir()
    for first in range(0, len(source), batch):
        indices = range(first, min(first + batch, len(source)))
        images = [np.asarray(Image.open(io.BytesIO(source.read(i))).convert("RGB")) for i in indices]
        tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        patches = patchify(tensor, patch)
        light = torch.from_numpy(np.stack([masking.mask_from_color(image, (0, 0, 0), 16) for image in images]))
        index = light.int().argsort(dim=1, stable=True)[:, : int((~light[0]).sum())]
        made = plain_forward(network, patches, index).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
        for i, face in zip(indices, made, strict=True):
            Image.fromarray(face).save(out / f"{i}.jpg", quality=95, subsampling=0)


def plain_forward(network: MaskedAutoencoder, patches: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The same weights, every patch embedded before the hidden ones are dropped."""
    where = index.unsqueeze(-1)
    tokens = network.embed(patches * 2 - 1) + network.positions
    tokens = tokens.gather(1, where.expand(-1, -1, tokens.shape[-1]))
    for block in network.encoder:
        tokens = block(tokens)
    tokens = network.decoder_embed(network.encoder_norm(tokens))
    full = network.mask_token.repeat(len(tokens), 196, 1)
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


def device_rate() -> float:
    """Operations a second of one large fp32 product, the best of five."""
    a, b = torch.randn(1568, 768), torch.randn(768, 3072)
    best = min(timed(lambda: a @ b) for _ in range(6))
    return 2.0 * 1568 * 768 * 3072 / best


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="facemae-base")
    parser.add_argument("--faces", type=int, default=96)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, card = Path(folder), resolve(options.model, "mae").card
        masked = root / "masked.rec"
        write_masked(masked, options.faces)
        (root / "model").mkdir()
        network = build_mae(card).eval()
        save_file(network.state_dict(), root / "model" / "weights.safetensors")
        save_card(card, root / "model" / "model.yaml")
        plain(network, masked, root / "warm", 32)
        seconds = {
            f"plain fp32 loop, batch {batch}": timed(
                lambda batch=batch: plain(network, masked, root / f"{batch}", batch)
            )
            for batch in (1, 32)
        }
        for precision in ("fp32", "auto"):
            out = root / f"{precision}.rec"
            made = {"model": str(root / "model"), "mask_color": "000000", "mask_tolerance": 16, "precision": precision}
            run = partial(reconstruct, masked, out, **made)  # type: ignore[arg-type]
            seconds[f"facemae reconstruct, {precision}"] = timed(run)
        floor = options.faces * operations(network) / device_rate()
        print(f"{options.model}: {options.faces} faces, {torch.get_num_threads()} threads of {os.cpu_count()} cores")
        for name, took in seconds.items():
            rate, share = options.faces / took, floor / took
            beside = " ".join(f"{seconds[key] / took:5.2f}" for key in list(seconds)[:2])
            print(f"{name:30} {rate:7.2f} faces/s  {beside} x the plain loops  {100 * share:3.0f} % of the floor")


if __name__ == "__main__":
    main()
