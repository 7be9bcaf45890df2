"""Faces to features, as verification and retrieval compare them, through the one pipeline.

A feature is f(x) + f(mirrored x), L2-normalised in float32. Memory holds a few batches of faces and the features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facemae_cli.data.decoding import DecodedFaces, FaceDecoder
from facemae_cli.data.digest import faces_digest
from facemae_cli.data.faces import FaceSource, Refusal, chunks
from facemae_cli.data.images.codec import decode_visible, in_shape
from facemae_cli.errors import FaceError
from facemae_cli.inference import feature_cache
from facemae_cli.inference.pipeline import AHEAD, Runner, choose_batch_size, open_codecs
from facemae_cli.networks.embedder import Embedder
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import Precision
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_units, thread_count

GATHERED = 4096  # features that ranks hand each other at a time
NO_EMBEDDING = "no-embedding"

Made = TypeVar("Made")

Features = NDArray[np.float32]
_Features = tuple[Features, NDArray[np.bool_]]


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
    threads = thread_count(workers)
    if cache is None:
        return job.run(batch_size, threads, label, progress)
    if model_digest is None:
        raise ValueError("a cache of features needs the model's digest")
    kept = None
    file = None
    if distributed.rank() == 0:
        faces = faces_digest(source, wanted, threads, progress)
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
        """(N, H, W, 3) uint8 to (N, D) float32, not normalised; both views of all faces are one batch."""
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


def runner_of(
    embedder: Embedder, device: torch.device, precision: Precision, batch_size: str, mirrored: bool = True
) -> Runner:
    """What computes features of `embedder`, in batches as large as on every rank. Raises UsageError."""
    sides = embedder.spec.sides
    runner = Runner(MirrorSum(embedder, mirrored), device, precision, 1)
    with evaluating(embedder):
        chosen = choose_batch_size(batch_size, runner, [torch.zeros(1, *sides, 3, dtype=torch.uint8)])
    runner.batch_size = min(distributed.gather_objects(chosen))
    return runner


def features_of(images: Sequence[NDArray[np.uint8] | None], runner: Runner, dim: int) -> _Features:
    """(n, dim) features of n images (H, W, 3), as one batch, rows of length 1, and (n,) which have one."""
    features = np.zeros((len(images), dim), np.float32)
    there = [row for row, image in enumerate(images) if image is not None]
    if there:
        batch = np.stack([image for image in images if image is not None])
        features[there] = runner(torch.from_numpy(batch)).numpy()
    return normalised(features)


def units_of(count: int, batch: int) -> list[range]:
    """This rank's batches of `count` faces: which faces share a batch is the same for any number of ranks."""
    starts = range(distributed.rank() * batch, count, distributed.world() * batch)
    return [range(start, min(start + batch, count)) for start in starts]


def with_units(
    made: Iterable[Made], units: Sequence[range], count: int, progress: Progress
) -> Iterator[tuple[range, Made]]:
    """What was made of each of this rank's units of `count` faces, with the unit; the other ranks are as far as it."""
    row = done = 0
    for unit, each in zip(units, made, strict=True):
        yield unit, each
        row += len(unit)
        reached = min(row * distributed.world(), count)
        progress.advance(reached - done)
        done = reached


def join_ranks(arrays: Sequence[NDArray[Any]], units: Sequence[range]) -> None:
    """Fills in the rows of `arrays` that other ranks have computed; this one has those of `units`."""
    if distributed.world() == 1:
        return
    own = np.concatenate([np.arange(0), *(np.arange(unit.start, unit.stop) for unit in units)])
    for first in range(0, max(distributed.gather_objects(len(own))), GATHERED):
        rows = own[first : first + GATHERED]
        for theirs, parts in distributed.gather_objects((rows, [array[rows] for array in arrays])):
            for array, part in zip(arrays, parts, strict=True):
                array[theirs] = part


def refusals(source: FaceSource, lost: Iterable[int]) -> list[Refusal]:
    """Why the faces `lost` of `source` have no feature: they are read once more."""
    refused = []
    for index in lost:
        error = FaceError(NO_EMBEDDING, "the embedder gives it no direction: zero or not finite")
        try:
            decode_visible(source.read(index))
        except FaceError as broken:
            error = broken
        refused.append(Refusal(source.where(index), error.reason, error.detail))
    return refused


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
        count = len(self.wanted)
        features = np.zeros((count, self.embedder.dim), np.float32)
        valid, resized = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        runner = runner_of(self.embedder, self.device, self.precision, batch_size, self.mirrored)
        units = units_of(count, runner.batch_size)
        parts = (chunks(self.source, [self.wanted[at] for at in unit]) for unit in units)
        decoder = FaceDecoder(self.embedder.spec.sides, partial(_shown, self.embedder.spec.sides))
        progress.start(label, count)
        with (
            evaluating(self.embedder),
            open_codecs(threads, sum(map(len, units)), self.device) as pool,
            closing(ordered_units(pool, decoder, parts, AHEAD)) as made,
        ):
            for unit, decoded in with_units(made, units, count, progress):
                rows = slice(unit.start, unit.stop)
                features[rows], valid[rows] = features_of(_images(decoded), runner, self.embedder.dim)
                resized[rows] = [each for part in decoded for each in part.resized]
        join_ranks([features, valid, resized], units)
        return Embeddings(features, valid, self.refusals(np.flatnonzero(~valid)), int(resized.sum()))

    def refusals(self, lost: NDArray[np.int64]) -> list[Refusal]:
        """Why the faces that are numbers `lost` of those asked for have no feature."""
        return refusals(self.source, (self.wanted[at] for at in lost.tolist()))


def _shown(sides: tuple[int, int], data: bytes) -> NDArray[np.uint8]:
    """What a face shows, in the shape of `sides`."""
    return in_shape(decode_visible(data), sides)


def _images(parts: Sequence[DecodedFaces]) -> list[NDArray[np.uint8] | None]:
    """Each face, None where there is none."""
    return [
        image if error is None else None
        for part in parts
        for image, error in zip(part.images, part.errors, strict=True)
    ]
