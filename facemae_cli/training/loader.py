"""Faces for training: the same batches in the same order on any number of ranks, from any step on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from facemae_cli.data.decoding import DecodedFaces, FaceDecoder, open_image_pool
from facemae_cli.data.faces import FaceChunk, FaceSource, Refusal, chunks
from facemae_cli.data.images.codec import decode, resize
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.runtime import distributed
from facemae_cli.runtime.threads import ordered_units, thread_count

AHEAD = 4  # batches decoded before they are asked for

_Face = tuple[int, NDArray[np.uint8]]  # its number in the source, and (S, S, 3) RGB


@dataclass(frozen=True)
class Batch:
    """images: (n, 3, S, S) uint8 RGB, channels last in memory; samples: (n,) int64, each shown face's number in its
    source."""

    images: Tensor
    samples: Tensor


class FaceLoader:
    """Shuffled epochs over `members` of a source, as square faces of `size` pixels.

    `decode` turns an image's bytes into (H, W, 3) uint8 RGB; where it `feeds_gpu`, in processes (a CPU is busy with the
    training itself). Nothing is remembered between batches: what a step sees
    follows from (seed, epoch, step) alone, so a run can begin anywhere. A face that cannot be read is replaced by the
    next one that can, and listed in `refused`.

    Raises UsageError where `members` do not fill a batch, and where the ranks cannot share one equally.
    """

    def __init__(
        self,
        source: FaceSource,
        members: Sequence[int],
        *,
        size: int,
        batch_size: int,
        seed: int,
        threads: int | None = None,
        decode: Callable[[bytes], NDArray[np.uint8]] = decode,
        feeds_gpu: bool = False,
    ) -> None:
        if batch_size > len(members):
            raise UsageError(
                f"--batch-size {batch_size} is more than the {len(members)} faces there are to train on; "
                f"give {len(members)} or less"
            )
        if batch_size % distributed.world():
            raise UsageError(f"--batch-size {batch_size} cannot be shared by {distributed.world()} ranks equally")
        self.source, self.members = source, np.asarray(members, dtype=np.int64)
        self.size, self.batch_size, self.seed, self.threads = size, batch_size, seed, thread_count(threads)
        self._decode, self.feeds_gpu = decode, feeds_gpu
        self._refused: dict[str, Refusal] = {}

    @property
    def steps(self) -> int:
        """Steps an epoch; a last batch that is not full is left for another epoch's order."""
        return len(self.members) // self.batch_size

    @property
    def refused(self) -> list[Refusal]:
        """Faces that could not be read so far, by where they stand."""
        return [self._refused[where] for where in sorted(self._refused)]

    def batches(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's share of each batch of `epoch`, from `first_step` on."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.members))
        share = self.batch_size // distributed.world()
        offset = distributed.rank() * share
        starts = range(first_step * self.batch_size + offset, self.steps * self.batch_size, self.batch_size)

        def shares_of() -> Iterator[list[int]]:
            return (order[start : start + share].tolist() for start in starts)

        decoder = FaceDecoder((self.size, self.size), self._decode)
        faces = self.steps * share if self.feeds_gpu else 0
        with (
            open_image_pool(self.threads, faces) as pool,
            closing(ordered_units(pool, decoder, map(self._chunks, shares_of()), AHEAD)) as decoded,
        ):
            for positions, parts in zip(shares_of(), decoded, strict=False):
                yield self._batch(positions, parts)

    def load(self, positions: Sequence[int]) -> Batch:
        """The faces at `positions` of `members`, in that order."""
        decoder = FaceDecoder((self.size, self.size), self._decode)
        return self._batch(positions, [decoder(chunk) for chunk in self._chunks(positions)])

    def _chunks(self, positions: Sequence[int]) -> list[FaceChunk]:
        return chunks(self.source, self.members[np.asarray(positions, np.int64)].tolist())

    def _batch(self, positions: Sequence[int], parts: Sequence[DecodedFaces]) -> Batch:
        """What was decoded, as one batch; a face that could not be is replaced."""
        images = parts[0].images if len(parts) == 1 else np.concatenate([part.images for part in parts])
        samples = self.members[np.asarray(positions, np.int64)].copy()
        errors = [error for part in parts for error in part.errors]
        for row, error in enumerate(errors):
            if error is not None:
                self._refuse(int(samples[row]), error)
                samples[row], images[row] = self._next_face(int(positions[row]) + 1)
        tensor = torch.from_numpy(images).permute(0, 3, 1, 2)  # channels last: no copy
        return Batch(tensor, torch.from_numpy(samples))

    def _refuse(self, index: int, error: FaceError) -> None:
        where = self.source.where(index)
        self._refused[where] = Refusal(where, error.reason, error.detail)

    def _next_face(self, position: int) -> _Face:
        """The first face from `position` on that can be read."""
        for step in range(len(self.members)):
            index = int(self.members[(position + step) % len(self.members)])
            try:
                return index, resize(self._decode(self.source.read(index)), self.size, self.size)
            except FaceError as error:
                self._refuse(index, error)
        count, whole = len(self.members), len(self.source)
        why = next(iter(self._refused.values())).detail
        raise InputError(f"{self.source.path}: none of the {count} faces wanted of its {whole} can be read: {why}")


def readable(source: FaceSource, members: Sequence[int], refused: Iterable[Refusal]) -> list[int]:
    """Those of the faces `members` that are not among the refused."""
    lost = {refusal.where for refusal in refused}
    return [index for index in members if source.where(index) not in lost] if lost else list(members)


def hold_out(source: FaceSource, about: int, seed: int) -> tuple[list[int], list[int]]:
    """Split a source by identity: (faces to train on, faces of held-out identities), both ascending.

    Identities are taken whole, in a seeded order, until `about` faces are held out, or a tenth of all where that is
    fewer: of people with many photos it may be many more. One person at least is left to train on; a face without
    identity is a person of its own. Raises InputError where there are too few people to split.
    """
    people: dict[str, list[int]] = {}
    for index in range(len(source)):
        identity = source.name(index).identity
        people.setdefault(f"#{index}" if identity is None else f"={identity}", []).append(index)
    if len(people) < 2:
        raise InputError(f"{source.path}: {len(people)} person is too few: fitting holds out people, so give 2 or more")
    wanted = min(about, max(1, len(source) // 10))
    held: list[int] = []
    names = list(people)
    for at in np.random.default_rng([seed, len(people)]).permutation(len(people))[: len(people) - 1]:
        if len(held) >= wanted:
            break
        held.extend(people[names[at]])
    kept = np.setdiff1d(np.arange(len(source)), held)
    return kept.tolist(), sorted(held)
