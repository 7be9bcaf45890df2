"""Faces to features, as verification and retrieval compare them (design section 5), through the one pipeline.

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

from facemae_cli.data.faces import FaceSource, Refusal
from facemae_cli.data.images.codec import decode_visible, resize
from facemae_cli.errors import FaceError
from facemae_cli.inference import feature_cache
from facemae_cli.inference.pipeline import Runner, choose_batch_size, pipeline
from facemae_cli.networks.embedder import Embedder
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import Precision
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import cores

GATHERED = 4096  # features that ranks hand each other at a time
NO_EMBEDDING = "no-embedding"

Features = NDArray[np.float32]
_Batch = tuple[Features, NDArray[np.bool_], int]


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
    `model_digest` (which must distinguish weights and architecture), the embedder's input and how it computes.
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
    """(S, S, 3) uint8 `image`, or why there is none."""

    image: NDArray[np.uint8] | None = None
    error: FaceError | None = None
    resized: bool = False


@dataclass
class _Part:
    """The faces that are numbers `at`, (m,) int64, of those asked for: (m, D) features, and (m,) which have one.

    Set aside as a whole: small arrays, kept one a batch, would lie between the large ones that each batch takes and
    frees, which then no longer fit into the gaps (measured: 80 kB more for each face).
    """

    at: NDArray[np.int64]
    features: Features
    valid: NDArray[np.bool_]
    resized: int = 0


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
        size = self.embedder.spec.size
        runner = Runner(MirrorSum(self.embedder, self.mirrored), self.device, self.precision, 1)
        with evaluating(self.embedder):
            example = torch.zeros(1, size, size, 3, dtype=torch.uint8)
            chosen = choose_batch_size(batch_size, runner, [example])
            runner.batch_size = min(distributed.gather_objects(chosen))
            units = self._units(runner.batch_size)
            share = self._share(units, runner, threads, label, progress)
        whole = self._gathered(share, runner.batch_size)
        return Embeddings(whole.features, whole.valid, self.refusals(np.flatnonzero(~whole.valid)), whole.resized)

    def _units(self, batch: int) -> list[range]:
        """Batches rank, rank + world, ...: which faces share a batch is the same for any number of ranks."""
        count = len(self.wanted)
        starts = range(distributed.rank() * batch, count, distributed.world() * batch)
        return [range(start, min(start + batch, count)) for start in starts]

    def _share(self, units: Sequence[range], runner: Runner, threads: int, label: str, progress: Progress) -> _Part:
        """This rank's features, in the order of `units`."""
        count = len(self.wanted)
        share = self._empty(np.concatenate([np.arange(0), *(np.arange(unit.start, unit.stop) for unit in units)]))
        row = done = 0
        progress.start(label, count)

        def compute(faces: list[_Face]) -> list[_Batch]:
            return [self._compute(faces, runner)]

        with closing(pipeline(units, self.read, compute, _same, threads=threads)) as made:
            for [(features, valid, resized)] in made:
                rows = slice(row, row + len(valid))
                share.features[rows], share.valid[rows] = features, valid
                share.resized += resized
                row = rows.stop
                reached = min(row * distributed.world(), count)
                progress.advance(reached - done)
                done = reached
        return share

    def _empty(self, at: NDArray[np.int64]) -> _Part:
        return _Part(at, np.zeros((len(at), self.embedder.dim), np.float32), np.zeros(len(at), np.bool_))

    def _gathered(self, share: _Part, batch: int) -> _Part:
        """All ranks' features, in the order asked for."""
        if distributed.world() == 1:
            return share
        whole = self._empty(np.arange(len(self.wanted)))
        whole.resized = sum(distributed.gather_objects(share.resized))
        longest = -(-len(self.wanted) // (batch * distributed.world())) * batch
        for first in range(0, longest, GATHERED):
            rows = slice(first, first + GATHERED)
            for at, features, valid in distributed.gather_objects(
                (share.at[rows], share.features[rows], share.valid[rows])
            ):
                whole.features[at], whole.valid[at] = features, valid
        return whole

    def read(self, at: int) -> _Face:
        """Face number `at` of those asked for, at the embedder's size."""
        try:
            image = decode_visible(self.source.read(self.wanted[at]))
        except FaceError as error:
            return _Face(error=error)
        size = self.embedder.spec.size
        return _Face(resize(image, size, size), resized=image.shape[:2] != (size, size))

    def _compute(self, faces: Sequence[_Face], runner: Runner) -> _Batch:
        """Features of `faces`, which have one, and how many were resized."""
        features = np.zeros((len(faces), self.embedder.dim), np.float32)
        there = [row for row, face in enumerate(faces) if face.image is not None]
        if there:
            images = np.stack([face.image for face in faces if face.image is not None])
            features[there] = runner(torch.from_numpy(images)).numpy()
        return *normalised(features), sum(face.resized for face in faces)

    def refusals(self, lost: NDArray[np.int64]) -> list[Refusal]:
        """Why the faces that are numbers `lost` of those asked for have no feature: they are read once more."""
        refused = []
        for at in lost.tolist():
            error = self.read(at).error or FaceError(
                NO_EMBEDDING, "the embedder gives it no direction: zero or not finite"
            )
            refused.append(Refusal(self.source.where(self.wanted[at]), error.reason, error.detail))
        return refused


def _same(batch: _Batch) -> _Batch:
    return batch
