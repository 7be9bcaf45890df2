"""Faces that are there twice: a released face that is a real photo, and one photo of the originals held as two.

Equal bytes are found among all faces. Nearly equal pictures (recompressed, resized) are looked for among pairs that an
attacker holds for the nearest, by small thumbnails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode_visible, resize
from facemae_cli.errors import FaceError
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map

SIDE = 16  # of a thumbnail
NEAR = 3.0  # mean difference of thumbnails, of 255: recompressing a face changes it by under 1, another photo by tens
LISTED = 20

Pair = tuple[int, int]


@dataclass(frozen=True)
class Copy:
    """A released face that is a real photo, by its names in the release; `kind`: "bytes" or "near"."""

    identity: str
    released_photo: str
    kind: str


@dataclass(frozen=True)
class Duplicates:
    """How many faces are there twice.

    `released`: released faces with the bytes of a real photo; `released_near`: others that look like one.
    `original`, `original_near`: photos of the originals that an earlier one equals, or looks like. `copies`: the first
    of the released ones. Each face counts once. `whole`: every released face has the bytes of a real photo.
    """

    released: int = 0
    released_near: int = 0
    original: int = 0
    original_near: int = 0
    whole: bool = False
    copies: Sequence[Copy] = ()

    def as_json(self) -> dict[str, Any]:
        """The counts, and the copies, as JSON types."""
        return {**vars(self), "copies": [vars(copy) for copy in self.copies]}

    def lines(self) -> list[str]:
        """The counts for a person; nothing where nothing is there twice."""
        lines = []
        if self.whole:
            lines.append("every released face is, byte for byte, one of the originals: nothing was hidden")
        elif self.released or self.released_near:
            lines.append(f"released faces that are real: {self.released} byte for byte, {self.released_near} nearly")
        if self.original or self.original_near:
            lines.append(f"originals that are there twice: {self.original} byte for byte, {self.original_near} nearly")
        return lines


@dataclass(frozen=True)
class Digests:
    """The sha256 of each face's bytes, None where it cannot be read, and of all of them in their order, in hex."""

    faces: Sequence[bytes | None]
    whole: str

    @property
    def known(self) -> set[bytes]:
        """Those of the faces that can be read."""
        return {face for face in self.faces if face is not None}


def digests(source: FaceSource, threads: int, progress: Progress, label: str) -> Digests:
    """The digests of a dataset's faces; names do not count. Raises OutputError where the disk fails."""

    def of_face(index: int) -> bytes | None:
        try:
            return hashlib.sha256(source.read(index)).digest()
        except FaceError:
            return None

    found, whole = [], hashlib.sha256()
    progress.start(label, len(source))
    with closing(ordered_map(of_face, range(len(source)), threads)) as faces:
        for face in faces:
            found.append(face)
            whole.update(b"-" if face is None else b"+" + face)
            progress.advance()
    return Digests(found, whole.hexdigest())


@dataclass(frozen=True)
class Pairs:
    """Pairs to look at for near copies: `across` of an original and a released face, `within` of two originals; no pair
    of one face with itself."""

    across: Sequence[Pair] = ()
    within: Sequence[Pair] = ()


def find_duplicates(
    original: FaceSource,
    released: FaceSource,
    of_original: Digests,
    of_released: Digests,
    labels: Sequence[str],
    pairs: Pairs,
    threads: int = 1,
) -> Duplicates:
    """Count the faces that are there twice; `labels`: (m,) what each released face's person is called."""
    real = of_original.known
    equal = [at for at, face in enumerate(of_released.faces) if face in real]
    first: dict[bytes, int] = {}
    repeated = {at for at, face in enumerate(of_original.faces) if face is not None and first.setdefault(face, at) < at}
    copied = set(equal)
    across = [pair for pair in pairs.across if pair[1] not in copied]
    inner = sorted({(min(pair), max(pair)) for pair in pairs.within if not repeated & set(pair)})
    near = sorted({b for _, b in _alike(original, released, across, threads)})
    copies = [
        Copy(labels[at], released.name(at).photo, kind)
        for kind, rows in (("bytes", equal), ("near", near))
        for at in rows[:LISTED]
    ]
    return Duplicates(
        released=len(equal),
        released_near=len(near),
        original=len(repeated),
        original_near=len({b for _, b in _alike(original, original, inner, threads)}),
        whole=0 < len(equal) == len(of_released.faces),
        copies=copies[:LISTED],
    )


def _alike(first: FaceSource, second: FaceSource, pairs: Sequence[Pair], threads: int) -> Iterator[Pair]:
    """Those of the pairs that look alike; pairs with a face that cannot be read do not."""

    def alike(pair: Pair) -> bool:
        one, other = thumbnail(first, pair[0]), thumbnail(second, pair[1])
        return one is not None and other is not None and float(np.abs(one - other).mean()) <= NEAR

    with closing(ordered_map(alike, pairs, threads)) as looked:
        yield from (pair for pair, same in zip(pairs, looked, strict=True) if same)


def thumbnail(source: FaceSource, index: int) -> NDArray[np.float32] | None:
    """A face at (SIDE, SIDE, 3) float32, 0 to 255; None where it cannot be read."""
    try:
        return resize(decode_visible(source.read(index)), SIDE, SIDE).astype(np.float32)
    except FaceError:
        return None
