"""What the host does for a device: masked faces read and decoded, released faces encoded and written, no network.

    python tests/benchmarks/host.py [--faces 4096] [--workers 1 2] [--masked FILE.rec]

`facemae reconstruct` runs whole, `.rec` to `.rec`, with a network that hands out pictures it has ready: what is left is
the host's work, whose rate bounds what a GPU can be fed with. Beside it a torch DataLoader with as many workers reads
and decodes the same faces by the same decoder, one face a call as its users write it, and a loop encodes and writes
them. Start and end of the workers are in all figures. CPU time is that of all processes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from drawings import faces as drawn_faces
from drawings import named
from timing import begin, cores
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import facemae_cli.tasks.reconstruct as task
from facemae_cli.data.images.codec import decode_masked, encode_jpeg, encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import open_output
from facemae_cli.masking import patches as masking

BATCH = 256  # faces that the device would take at a time
READY = 256  # pictures that are handed out


class Ready(nn.Module):
    """In the place of `Reconstructor`: pictures of its own, whatever it is given."""

    def __init__(self, pictures: Tensor) -> None:
        super().__init__()
        self.pictures, self.patch = pictures, 8

    def forward(self, visible: Tensor, tokens: Tensor) -> Tensor:
        """As many pictures as faces: (N, 112, 112, 3) uint8."""
        return self.pictures[: len(visible)]

    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of one face."""
        return torch.zeros(1, 49, 192, dtype=torch.uint8), torch.arange(49)[None]


def write_masked(path: Path, faces: int) -> None:
    """People of `drawings`, 147 of 196 patches of each hidden, as `mask` writes them."""
    random = np.random.default_rng(0)
    with open_output(path, plan={"faces": faces}) as output:
        for name, image in zip(named(faces, 4), drawn_faces(faces), strict=True):
            output.write(name, encode_png(masking.apply(image, masking.hidden("random", random.permutation(196)))))
        output.commit()
        output.finish(Manifest(command="mask"))


def host_alone(masked: Path, out: Path, workers: int) -> None:
    """The task, with a network that takes no time."""
    how = {"precision": "fp32", "backend": "torch", "device": "cpu"}
    task.reconstruct(masked, out, batch_size=str(BATCH), workers=workers, overwrite=True, **how)  # type: ignore[arg-type]


class Visible(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Visible patches of each face, (49, 192) uint8, and where they stand, (49,), one face a call."""

    def __init__(self, path: Path) -> None:
        self.source = open_source(path)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        face = decode_masked(self.source.read(index))
        tokens = np.flatnonzero(~masking.read_mask(face))
        patches = face[..., :3].reshape(14, 8, 14, 8, 3).transpose(0, 2, 1, 3, 4).reshape(196, -1)
        return patches[tokens], tokens


def by_data_loader(pictures: Tensor, masked: Path, out: Path, workers: int) -> None:
    """A DataLoader decodes, a loop encodes and writes."""
    loader = DataLoader(Visible(masked), BATCH, num_workers=workers)
    names = Visible(masked).source
    with open_output(out, plan={}, overwrite=True) as output:
        at = 0
        for visible, _ in loader:
            for picture in pictures[: len(visible)].numpy():
                output.write(names.name(at), encode_jpeg(picture))
                at += 1
            output.commit()
        output.finish(Manifest(command="convert", counts={"in": at, "out": at, "refused": {}}))


def main(argv: list[str] | None = None) -> None:
    """Each number of workers by turns."""
    parser = argparse.ArgumentParser("host.py", description=__doc__)
    parser.add_argument("--faces", type=int, default=4096)
    parser.add_argument("--masked", type=Path, help="a masked .rec to take instead of synthetic faces")
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, 2, cores()}))
    options, bench = begin(parser, argv)
    if bench is None:
        return
    pictures = torch.from_numpy(np.stack(list(drawn_faces(READY))))
    task.CPU_SHARE = 1  # type: ignore[misc]  # the network takes no time
    task.load_mae = lambda model, device: None  # type: ignore[assignment]
    task.compile_autoencoder = lambda network, by, computed: network  # type: ignore[assignment]
    task.Reconstructor = lambda network: Ready(pictures)  # type: ignore[assignment,misc]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        masked = options.masked or root / "masked.rec"
        if options.masked is None:
            write_masked(masked, options.faces)
        count = len(open_source(masked))
        sides: dict[str, Callable[[], object]] = {}
        for workers in options.workers:
            sides[f"facemae, {workers} workers"] = partial(host_alone, masked, root / "ours.rec", workers)
        for workers in options.workers:
            side = partial(by_data_loader, pictures, masked, root / "loader.rec", workers)
            sides[f"DataLoader, {workers} workers"] = side
        bench.compare(f"host path of reconstruct, .rec to .rec, {count} faces", sides, count)


if __name__ == "__main__":
    main()
