"""Raw faces into masked PNGs: decoded, masked on their stored pixels, encoded with nothing else in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from facemae_cli import __version__
from facemae_cli.data.decoding import open_image_pool
from facemae_cli.data.faces import CHUNK, FaceChunk, FaceSource, Name, Refusal, input_plan
from facemae_cli.data.files import disk_errors
from facemae_cli.data.images.codec import decode, encode_png, probe, resize, unblended
from facemae_cli.data.images.headers.header import MAX_PIXELS
from facemae_cli.data.output.output import Made as MadeFace
from facemae_cli.data.output.output import Output, all_refused
from facemae_cli.data.output.place import writer_of
from facemae_cli.data.output.staging import Staging
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.crops import check_crop
from facemae_cli.masking.key import Key, seed_mask_key, seed_payload
from facemae_cli.masking.pseudonyms import kept_order, keyed_order
from facemae_cli.runtime import shared_output
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map, ordered_units

Item = TypeVar("Item")
Made = TypeVar("Made")

MAX_SIDE = isqrt(MAX_PIXELS) // masking.GRID * masking.GRID  # pixels that a masked face may have a side
SIZE = "size "  # before the size of raw faces in the tally of how many there are of it
AHEAD = 1  # units under way beyond the one that is written
UNIT = 512  # faces made durable together; a killed run repeats at most so many


class MaskedFace(NamedTuple):
    """An RGBA PNG, how many of its 196 patches are hidden, the raw face's size (width x height), whether it was resized
    before, and whether its source is a JPEG whose pixels share samples of colour."""

    image: bytes
    hidden: int
    size: str
    resized: bool
    subsampled: bool


class SeenFace(NamedTuple):
    """A raw face, (H, W, 3) uint8, its (196,) mask and the secret `digest` which this follows; the other fields are
    those of `MaskedFace`."""

    image: masking.Pixels
    mask: masking.Mask
    size: str
    resized: bool
    subsampled: bool
    digest: bytes


@dataclass(frozen=True)
class Masker:
    """How faces are masked; safe to use from many threads.

    Masks come from `key` and a face's stored pixels, so that every release of one photo, at any ratio and size, hides
    the same patches first. With a `seed` they come from the seed and the photo's name, never from pixels: what is
    hidden cannot influence what is seen. Either may be None, `parts` needs neither.
    `size` resizes each whole face to size x size pixels first; visible pixels then mix across patch edges.
    `allow_unaligned` masks pictures of any shape, of which a patch may show a whole face.
    """

    strategy: str = "random"
    ratio: float | None = None
    key: Key | None = None
    seed: int | None = None
    size: int | None = None
    allow_unaligned: bool = False

    def __post_init__(self) -> None:
        """Raises UsageError as `masking.count_to_hide` does, for a `size` that cannot be, and for a missing key."""
        size = self.size
        if size is not None and not (0 < size <= MAX_SIDE and size % masking.GRID == 0):
            raise UsageError(
                f"--size {size}: {masking.GRID} must divide it and it is at most {MAX_SIDE}; 112 and 224 are usual"
            )
        masking.count_to_hide(self.strategy, self.ratio)
        if self.strategy != "parts" and self.seed is None and self.key is None:
            raise UsageError(f"the strategy {self.strategy!r} needs a key or a seed")

    @property
    def key_id(self) -> str | None:
        """Of the key, where there is one."""
        return self.key.key_id if self.key else None

    def face(self, data: bytes, name: Name) -> MaskedFace:
        """The face in the encoded image `data`, called `name` in the raw dataset. Raises FaceError as `visible`."""
        seen = self.visible(data, name)
        image, hidden = encode_png(masking.apply(seen.image, seen.mask)), int(seen.mask.sum())
        return MaskedFace(image, hidden, seen.size, seen.resized, seen.subsampled)

    def pixels(self, data: bytes, image: masking.Pixels, name: Name) -> masking.Pixels:
        """The masked face that `face` encodes, (H, W, 4) uint8 RGBA, where `data` was decoded to `image` already, (H,
        W, 3) uint8. Raises FaceError as `visible`."""
        seen = self.visible(data, name, image)
        return masking.apply(seen.image, seen.mask)

    def visible(self, data: bytes, name: Name, decoded: masking.Pixels | None = None) -> SeenFace:
        """The face in `data`, which may be `decoded` already, and what is to be seen of it.

        Raises FaceError as `images.decode` does, `not-a-crop` as `check_crop`, and `bad-size` where 14 does not divide
        a side and no size is set.
        """
        info = probe(data)
        if not self.allow_unaligned:
            check_crop(info.width, info.height, self.size)
        image = decode(data) if decoded is None else decoded
        height, width = image.shape[:2]
        resized = self.size is not None and (height, width) != (self.size, self.size)
        if not resized:
            masking.patch_shape(height, width)
        # The mask is that of the pixels as any tool decodes them: a release at another size hides the same patches.
        digest = self._digest(image, name)
        mask = masking.hidden(self.strategy, masking.order_of(digest), self.ratio)
        if info.subsampled:  # blended, a visible patch would show colours of hidden ones beside it
            image = unblended(data, image)
        if self.size is not None and resized:
            image = resize(image, self.size, self.size)
        return SeenFace(image, mask, f"{width}x{height}", resized, info.subsampled, digest)

    def _digest(self, image: masking.Pixels, name: Name) -> bytes:
        size = image.shape[0], image.shape[1]
        if self.seed is not None:
            return masking.photo_digest(seed_mask_key(self.seed), size, seed_payload(name))
        return masking.photo_digest(self.key.mask_key if self.key else b"", size, image.tobytes())


def require_no_stopped_run(out: Path, key: Path, overwrite: bool) -> None:
    """Raises UsageError where a new `key` would be of no use: a stopped run of another waits at `out`, and is not to be
    started over; or another process is at it."""
    folder, writer = writer_of(out)
    with closing(writer), disk_errors(out):
        if not os.path.lexists(folder):
            return
        with closing(Staging(folder)) as staging:
            if not overwrite and staging.look()[0] is not None:
                raise UsageError(
                    f"{folder} is left from a stopped run, and there is no key {key} to go on with: --key FILE names "
                    "the key it had, --overwrite starts over under a new one"
                )


def same_name() -> FaceError:
    """Why a face is refused whose name an earlier one has."""
    return FaceError("same-name", "another face of this person has this name; rename one of the two")


NamedFace = tuple[Name, MaskedFace] | FaceError  # with its name in the output; or why it is not masked


class RawFaces(NamedTuple):
    """Faces to be masked together, their names, and which of these another face has too."""

    faces: FaceChunk
    names: list[Name]
    repeated: list[bool]


class MaskedFaces(NamedTuple):
    """Masked faces without their images; face k's stands in `data`, uint8, from `ends[k - 1]` to `ends[k]`."""

    faces: list[NamedFace]
    data: NDArray[np.uint8]
    ends: list[int]

    @classmethod
    def of(cls, faces: Sequence[NamedFace]) -> MaskedFaces:
        """The same faces, their images in one piece."""
        images = [b"" if isinstance(face, FaceError) else face[1].image for face in faces]
        bare = [face if isinstance(face, FaceError) else (face[0], face[1]._replace(image=b"")) for face in faces]
        return cls(bare, np.frombuffer(b"".join(images), np.uint8), np.cumsum([*map(len, images)]).tolist())

    def whole(self) -> Iterator[NamedFace]:
        """Each with its image."""
        view = self.data.data
        for face, first, end in zip(self.faces, [0, *self.ends], self.ends, strict=False):
            yield face if isinstance(face, FaceError) else (face[0], face[1]._replace(image=bytes(view[first:end])))


@dataclass(frozen=True)
class _ChunkMasker:
    """Masks faces and gives them the names that `key` makes; None: their own. Runs in processes of its own too."""

    masker: Masker
    key: Key | None

    def __call__(self, raw: RawFaces) -> MaskedFaces:
        return MaskedFaces.of([self.face(*each) for each in zip(raw.faces.images(), *raw[1:], strict=True)])

    def face(self, data: bytes | FaceError, name: Name, repeated: bool) -> NamedFace:
        """The face in `data`; `repeated` is refused."""
        try:
            if repeated:
                raise same_name()
            if isinstance(data, FaceError):
                raise data
            return self.key.name(name) if self.key else name, self.masker.face(data, name)
        except FaceError as error:
            return error


def in_workers(
    work: Callable[[Item], Made], chunk: Callable[[Sequence[int]], Item], units: Sequence[Sequence[int]], workers: int
) -> Generator[list[Made], None, None]:
    """For each unit, `work` of its numbers, a chunk at a time, done by worker processes, or threads where they are
    few."""
    parts = ([chunk(unit[at : at + CHUNK]) for at in range(0, len(unit), CHUNK)] for unit in units)
    with (
        open_image_pool(workers, sum(map(len, units))) as pool,
        closing(ordered_units(pool, work, parts, AHEAD)) as made,
    ):
        yield from made


@dataclass(frozen=True)
class MaskJob:
    """What is done to each face, and in which order; safe to use from many threads.

    `names`: of the source's faces; `order`: their numbers as they are written; `repeated`: those refused for their
    name; `key`: what new names come from, None where they are kept.
    """

    source: FaceSource
    names: Sequence[Name]
    order: Sequence[int]
    repeated: frozenset[int]
    masker: Masker
    key: Key | None

    @classmethod
    def of(cls, source: FaceSource, masker: Masker, key: Key | None) -> MaskJob:
        """All faces of `source`, in a keyed order under new names, or as they are."""
        names = [source.name(index) for index in range(len(source))]
        order, repeated = keyed_order(names, key) if key else kept_order(names)
        return cls(source, names, order, frozenset(repeated), masker, key)

    def plan(self) -> dict[str, Any]:
        """All that decides on the output's bytes: what a resumed run must have in common with the stopped one."""
        masker = self.masker
        return {
            "command": "mask",
            "version": __version__,
            "strategy": masker.strategy,
            "hidden": masking.count_to_hide(masker.strategy, masker.ratio),
            "key_id": masker.key_id,
            "seed": masker.seed,
            "keep_names": self.key is None,
            "size": masker.size,
            "allow_unaligned": masker.allow_unaligned,
            "unit": UNIT,
            **input_plan(self.source),
        }

    def require_usable(self, check_name: Callable[[Name], None], workers: int) -> None:
        """Raises AllRefused where not one face can be masked and has a name that passes `check_name`."""
        refused: list[Refusal] = []
        with closing(ordered_map(self.face, self.order, workers)) as faces:
            for index, face in zip(self.order, faces, strict=True):
                try:
                    if isinstance(face, FaceError):
                        raise face
                    check_name(face[0])
                    return
                except FaceError as error:
                    refused.append(Refusal(self.where(index), error.reason, error.detail))
        raise all_refused([*self.source.refused, *refused])

    def face(self, index: int) -> NamedFace:
        """Face `index` masked, with its name in the output; or why it was not."""
        raw = self.raw([index])
        return _ChunkMasker(self.masker, self.key).face(next(raw.faces.images()), raw.names[0], raw.repeated[0])

    def raw(self, indexes: Sequence[int]) -> RawFaces:
        """Faces `indexes` of the source, to be read where they are needed."""
        names = [self.names[index] for index in indexes]
        return RawFaces(FaceChunk(self.source, indexes), names, [index in self.repeated for index in indexes])

    def where(self, index: int) -> str:
        """Where number `index` of `order` stands in the raw dataset."""
        return self.source.where(index)

    def run(self, output: Output | None, workers: int, progress: Progress) -> None:
        """Mask, unit by unit, what an interrupted run has not. The first of several ranks has the output."""
        total = len(self.order)
        start = min(shared_output.broadcast(output.units_done if output else 0) * UNIT, total)
        progress.start("mask", total, done=start)
        units = [self.order[first : first + UNIT] for first in range(start, total, UNIT)]
        with closing(shared_output.run_sharded(units, partial(self._masked, workers))) as masked:
            for unit, faces in zip(units, masked, strict=False):
                assert output is not None
                output.write_unit(map(self._made, unit, faces))
                progress.advance(len(unit))

    def _masked(self, workers: int, units: Sequence[Sequence[int]]) -> Generator[list[NamedFace], None, None]:
        """The faces of each unit: decoded, masked and encoded."""
        with closing(self._in_workers(workers, units)) as masked:
            for unit in masked:
                yield [face for part in unit for face in part.whole()]

    def _in_workers(self, workers: int, units: Sequence[Sequence[int]]) -> Generator[list[MaskedFaces], None, None]:
        return in_workers(_ChunkMasker(self.masker, self.key), self.raw, units, workers)

    def _made(self, index: int, face: NamedFace) -> MadeFace:
        where = self.where(index)
        if isinstance(face, FaceError):
            return MadeFace(where, error=face)
        name, masked = face
        flags = {"resized": int(masked.resized), "subsampled": int(masked.subsampled)}
        return MadeFace(where, name, masked.image, {"hidden": masked.hidden, **flags, f"{SIZE}{masked.size}": 1})
