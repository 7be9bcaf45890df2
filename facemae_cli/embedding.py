"""Faces to features, as verification and retrieval compare them (design section 5), through the one engine.

A feature is f(x) + f(mirrored x), L2-normalised in float32. Memory holds a few batches of faces and the features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facemae_cli import distributed, feature_cache
from facemae_cli.data.faces import FaceSource, Refusal
from facemae_cli.data.images import decode_visible, resize
from facemae_cli.data.threads import cores
from facemae_cli.device import Precision
from facemae_cli.engine import Runner, choose_batch_size, pipeline
from facemae_cli.errors import FaceError
from facemae_cli.networks.embedder import Embedder
from facemae_cli.progress import SILENT, Progress

JOINED = 64  # batches that ranks hand each other at a time
NO_EMBEDDING = "no-embedding"

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Embeddings:
    """Features of faces, in the order they were asked for.

    `features`: (n, D) float32, rows of length 1, zero where there is none; `valid`: (n,) whether there is one;
    `refused`: the faces without; `resized`: how many were not stored at the embedder's own size.
    """

    features: Features
    valid: NDArray[np.bool_]
    refused: list[Refusal]
    resized: int = 0


def embed(
    source: FaceSource,
    embedder: Embedder,
    *,
    device: torch.device,
    precision: Precision,
    batch_size: str = "auto",
    workers: int | None = None,
    indexes: Sequence[int] | None = None,
    mirrored: bool = True,
    cache: Path | None = None,
    model_digest: str | None = None,
    label: str = "embed",
    progress: Progress = SILENT,
) -> Embeddings:
    """The features of faces `indexes` (None: all) of `source`. A masked face is embedded as it looks, hidden black.

    `embedder` lies on `device` and computes in evaluation mode; afterwards it is in the mode it was in. A face that
    cannot be read is refused with its own reason; `no-embedding` is one whose feature is zero or not finite. Each of
    several ranks embeds a share, and all return all. `cache`: a folder where features are kept, by every face's bytes,
    `model_digest` (which must tell weights and architecture), the embedder's input and how it computes.
    Raises UsageError for a bad `batch_size`, OutputError where the disk fails.
    """
    wanted = range(len(source)) if indexes is None else indexes
    job = _Job(source, embedder, wanted, mirrored, device, precision)
    threads = workers or cores()
    if cache is None:
        return job.run(batch_size, threads, label, progress)
    if model_digest is None:
        raise ValueError("a cache of features needs the model's digest")
    kept = None
    file = None
    if distributed.rank() == 0:
        faces = feature_cache.digest(source, wanted, threads, progress)
        file = feature_cache.place(cache, faces, model_digest, embedder.spec, mirrored, precision, device.type)
        kept = feature_cache.load(file, (len(wanted), embedder.dim), progress)
    kept = distributed.gather_objects(kept)[0]
    if kept is not None:
        features, valid, resized = kept
        return Embeddings(features, valid, job.refusals(np.flatnonzero(~valid)), resized)
    made = job.run(batch_size, threads, label, progress)
    if file is not None:
        feature_cache.save(file, made.features, made.valid, made.resized)
    return made


class MirrorSum(nn.Module):
    """An embedder from stored pixels to the sum of a face's and its mirror image's features."""

    def __init__(self, embedder: Embedder, mirrored: bool = True) -> None:
        super().__init__()
        self.embedder, self.mirrored = embedder, mirrored

    def forward(self, images: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 to (N, D) float32, not normalised; both views of all faces are one batch."""
        faces = images.permute(0, 3, 1, 2).float() / 255
        if not self.mirrored:
            return self.embedder(faces).float()
        both = self.embedder(torch.cat([faces, faces.flip(3)])).float()
        return both[: len(faces)] + both[len(faces) :]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Within, all of `network` is in evaluation mode; afterwards each part of it is in the mode it was in."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def normalised(features: Features) -> tuple[Features, NDArray[np.bool_]]:
    """(n, D) rows at length 1, and (n,) whether they have a length; rows without one, or not finite, become zero."""
    wide = features.astype(np.float64)
    length = np.sqrt(np.square(wide).sum(axis=1))
    valid = np.isfinite(length) & (length > np.finfo(np.float32).tiny)
    unit = np.where(valid[:, None], wide, 0) / np.where(valid, length, 1)[:, None]
    return unit.astype(np.float32), valid


@dataclass(frozen=True)
class _Face:
    """Face number `at` of those asked for: (S, S, 3) uint8 `image`, or why there is none."""

    at: int
    image: NDArray[np.uint8] | None = None
    error: FaceError | None = None
    resized: bool = False


@dataclass(frozen=True)
class _Part:
    """Features of some of the faces, which are numbers `at`: (m,) of those asked for."""

    at: NDArray[np.int64]
    features: Features
    resized: int


@dataclass(frozen=True)
class _Job:
    """What is embedded, by what, on what."""

    source: FaceSource
    embedder: Embedder
    wanted: Sequence[int]
    mirrored: bool
    device: torch.device
    precision: Precision

    def run(self, batch_size: str, threads: int, label: str, progress: Progress) -> Embeddings:
        """All features: this rank's share computed, the others' received."""
        count, size = len(self.wanted), self.embedder.spec.size
        runner = Runner(MirrorSum(self.embedder, self.mirrored), self.device, self.precision, 1)
        features = np.zeros((count, self.embedder.dim), np.float32)
        resized = 0
        with evaluating(self.embedder):
            example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
            chosen = choose_batch_size(batch_size, runner, [example])
            runner.batch_size = min(distributed.gather_objects(chosen))
            parts = self._share(runner, threads, label, progress)
        rounds = -(-count // (runner.batch_size * distributed.world()))
        for first in range(0, rounds, JOINED):
            for theirs in distributed.gather_objects(parts[first : first + JOINED]):
                for part in theirs:
                    features[part.at] = part.features
                    resized += part.resized
        features, valid = normalised(features)
        return Embeddings(features, valid, self.refusals(np.flatnonzero(~valid)), resized)

    def _share(self, runner: Runner, threads: int, label: str, progress: Progress) -> list[_Part]:
        """Batches rank, rank + world, ...: which faces share a batch is the same for any number of ranks."""
        count, batch, world = len(self.wanted), runner.batch_size, distributed.world()
        starts = range(distributed.rank() * batch, count, world * batch)
        units = [range(start, min(start + batch, count)) for start in starts]

        def compute(faces: list[_Face]) -> list[_Part]:
            return [self._compute(faces, runner)]

        progress.start(label, count)
        parts: list[_Part] = []
        done = 0
        with closing(pipeline(units, self.read, compute, _same, threads=threads)) as made:
            for unit in made:
                parts += unit
                reached = min(len(parts) * batch * world, count)
                progress.advance(reached - done)
                done = reached
        return parts

    def read(self, at: int) -> _Face:
        """Face number `at` of those asked for, at the embedder's size."""
        try:
            image = decode_visible(self.source.read(self.wanted[at]))
        except FaceError as error:
            return _Face(at, error=error)
        size = self.embedder.spec.size
        return _Face(at, resize(image, size, size), resized=image.shape[:2] != (size, size))

    def _compute(self, faces: Sequence[_Face], runner: Runner) -> _Part:
        images = [face.image for face in faces if face.image is not None]
        at = np.array([face.at for face in faces if face.image is not None], np.int64)
        if not images:
            return _Part(at, np.zeros((0, self.embedder.dim), np.float32), 0)
        made = runner(torch.from_numpy(np.stack(images)))
        return _Part(at, made.numpy(), sum(face.resized for face in faces))

    def refusals(self, lost: NDArray[np.int64]) -> list[Refusal]:
        """Why the faces that are numbers `lost` of those asked for have no feature: they are read once more."""
        refused = []
        for at in lost.tolist():
            error = self.read(at).error or FaceError(
                NO_EMBEDDING, "the embedder gives it no direction: zero or not finite"
            )
            refused.append(Refusal(self.source.where(self.wanted[at]), error.reason, error.detail))
        return refused


def _same(part: _Part) -> _Part:
    return part
