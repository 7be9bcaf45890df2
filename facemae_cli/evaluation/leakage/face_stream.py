"""Faces of a dataset for all who look at them: each is read and decoded once, and once more for each imitation of it.

What anybody needs of a face is made where it is decoded, in a worker thread: the digest of its bytes, its thumbnail,
each network's input, its masked forms. Its pixels are let go, so that memory holds a few batches of faces and the
features, whatever the size of the dataset and of its images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.digest import join_digests
from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode_any, in_shape, resize, visible
from facemae_cli.errors import FaceError
from facemae_cli.evaluation.leakage.fingerprints import SIDE, Pixels, Scan, thumbnail
from facemae_cli.evaluation.leakage.imitation import Imitation, MaskedForm
from facemae_cli.evaluation.leakage.thumbnails import Thumbnails
from facemae_cli.inference.embed import (
    Embeddings,
    Features,
    features_of,
    join_ranks,
    normalised,
    refusals,
    runner_of,
    units_of,
    with_units,
)
from facemae_cli.inference.pipeline import CPU_BATCH, Runner, pipeline
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.progress import Progress

Attacking = Recognizer | Thumbnails
AS_IT_IS = "as it is"
Way = Callable[[Pixels], Pixels]  # what is done to a face before anybody looks, (H, W, 3) to (H, W, 3)


def unchanged(image: Pixels) -> Pixels:
    """Of a face as it is."""
    return image


@dataclass(frozen=True)
class Picture:
    """What attackers need of a picture: its `thumbnail`, (SIDE, SIDE, 3), and (H, W, 3) uint8 by the height and width
    that each network takes; `size`: its own height and width."""

    thumbnail: Pixels
    inputs: Mapping[tuple[int, int], Pixels]
    size: tuple[int, int]

    @classmethod
    def of(cls, image: Pixels, sides: Sequence[tuple[int, int]]) -> Picture:
        """That of (H, W, 3) uint8."""
        inputs = {each: resize(in_shape(image, each), *each) for each in sides}
        return cls(thumbnail(image), inputs, (image.shape[0], image.shape[1]))


@dataclass(frozen=True)
class Viewer:
    """An attacker at work: pictures in, features out. `runner`: of its network, None where it has none."""

    attacker: Attacking
    runner: Runner | None

    @classmethod
    def of(cls, attacker: Attacking, batch_size: str) -> Viewer:
        """Ready to look at batches. Raises UsageError for a `batch_size` that is neither a number nor auto."""
        if isinstance(attacker, Thumbnails):
            return cls(attacker, None)
        return cls(attacker, runner_of(attacker.embedder, attacker.device, attacker.precision, batch_size))

    @property
    def sides(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the pictures its network takes."""
        return () if isinstance(self.attacker, Thumbnails) else (self.attacker.embedder.spec.sides,)

    def features(self, pictures: Sequence[Picture | None]) -> tuple[Features, NDArray[np.bool_]]:
        """(n, D) rows of length 1, and (n,) which pictures have one; zero where there is none, or no picture."""
        if isinstance(self.attacker, Thumbnails):
            black = np.zeros((SIDE, SIDE, 3), np.uint8)
            small = np.stack([black if each is None else each.thumbnail for each in pictures])
            made = self.attacker.of(small, np.array([each is not None for each in pictures]))
            return made.features, made.valid
        assert self.runner is not None
        [sides] = self.sides
        return features_of(
            [None if each is None else each.inputs[sides] for each in pictures], self.runner, self.attacker.dim
        )


class _Table:
    """Features of n faces by one viewer, filled batch by batch."""

    def __init__(self, viewer: Viewer, count: int) -> None:
        self.viewer = viewer
        self.features = np.zeros((count, viewer.attacker.dim), np.float32)
        self.valid = np.zeros(count, np.bool_)
        self.resized = np.zeros(count, np.bool_)  # whether the network takes another size

    def put(self, rows: slice, pictures: Sequence[Picture | None]) -> None:
        self.features[rows], self.valid[rows] = self.viewer.features(pictures)
        for sides in self.viewer.sides:
            self.resized[rows] = [each is not None and each.size != sides for each in pictures]

    def add(self, rows: slice, pictures: Sequence[Picture | None]) -> None:
        """What is added up over masks is brought to length 1 in the end."""
        self.features[rows] += self.viewer.features(pictures)[0]

    @property
    def arrays(self) -> list[NDArray[np.generic]]:
        return [self.features, self.valid, self.resized]


@dataclass(frozen=True)
class _Face:
    """Face number `at` of those asked for, decoded: its digest, its pictures by way, and its masked forms, by imitation
    and mask."""

    at: int
    digest: bytes | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    masked: Sequence[MaskedForm] = ()


@dataclass(frozen=True)
class _Made:
    """A face as each imitation makes it under each mask; None where there is none."""

    images: Sequence[Pixels | None]
    pictures: Sequence[Picture | None] = ()


class FaceStream:
    """Faces `rows` of `source`, numbers of them, in several `ways` by name, and as each of `imitations` makes them.

    `viewers`: who looks at the faces, by way and attacker; `watching`: who looks at imitations, by attacker.
    """

    def __init__(
        self,
        source: FaceSource,
        rows: Sequence[int],
        ways: Mapping[str, Way],
        viewers: Mapping[tuple[str, str], Viewer],
        imitations: Sequence[Imitation] = (),
        watching: Mapping[str, Viewer] | None = None,
    ) -> None:
        self.source, self.rows, self.ways, self.imitations = source, rows, ways, imitations
        self._masks = [each for each in imitations for _ in range(each.times)]
        everybody = [*viewers.values(), *(watching or {}).values()]
        self._sides = sorted({sides for each in everybody for sides in each.sides})
        runners = [*(each.runner for each in everybody), *(each.runner for each in imitations)]
        self._batch = max((runner.batch_size for runner in runners if runner is not None), default=CPU_BATCH)
        count = len(rows)
        self._tables = {key: _Table(viewer, count) for key, viewer in viewers.items()}
        self._imitated = [
            {name: _Table(viewer, count) for name, viewer in (watching or {}).items()} for _ in imitations
        ]
        self._digests, self._read = np.zeros((count, 32), np.uint8), np.zeros(count, np.bool_)
        self._thumbnails, self._valid = np.zeros((count, SIDE, SIDE, 3), np.uint8), np.zeros(count, np.bool_)

    def run(self, threads: int, label: str, progress: Progress) -> None:
        """Read every face; each of several ranks a share, and all get all. Raises OutputError where the disk fails."""
        count = len(self.rows)
        units = units_of(count, self._batch)
        progress.start(label, count)
        with closing(pipeline(units, self._load, self._compute, self._publish, threads=threads)) as made:
            for unit, faces in with_units(made, units, count, progress):
                self._look_at_imitations(slice(unit.start, unit.stop), faces)
        tables = [*self._tables.values(), *(each for by in self._imitated for each in by.values())]
        scanned = [self._digests, self._read, self._thumbnails, self._valid]
        join_ranks([*scanned, *(array for table in tables for array in table.arrays)], units)

    def _load(self, at: int) -> _Face:
        index = self.rows[at]
        try:
            data = self.source.read(index)
        except FaceError:
            return _Face(at)
        digest = hashlib.sha256(data).digest()
        try:
            image = decode_any(data)
            shown = visible(image)
        except FaceError:
            return _Face(at, digest)
        pictures = {name: Picture.of(np.ascontiguousarray(way(shown)), self._sides) for name, way in self.ways.items()}
        masked = [form for each in self.imitations for form in each.masked(index, data, image)]
        return _Face(at, digest, pictures, masked)

    def _compute(self, faces: Sequence[_Face]) -> list[_Made]:
        self._keep(faces)
        rows = slice(faces[0].at, faces[-1].at + 1)
        for (way, _), table in self._tables.items():
            table.put(rows, [face.pictures.get(way) for face in faces])
        made = [
            imitation.reconstruct([face.masked[number] if face.masked else None for face in faces])
            for number, imitation in enumerate(self._masks)
        ]
        return [_Made([images[row] for images in made]) for row in range(len(faces))]

    def _keep(self, faces: Sequence[_Face]) -> None:
        for face in faces:
            if face.digest is not None:
                self._digests[face.at], self._read[face.at] = np.frombuffer(face.digest, np.uint8), True
            if face.pictures:
                self._thumbnails[face.at], self._valid[face.at] = next(iter(face.pictures.values())).thumbnail, True

    def _publish(self, face: _Made) -> _Made:
        """Encoded and decoded again, as a released face is."""
        pictures = [
            None if image is None else Picture.of(imitation.published(image), self._sides)
            for imitation, image in zip(self._masks, face.images, strict=True)
        ]
        return _Made((), pictures)

    def _look_at_imitations(self, rows: slice, faces: Sequence[_Made]) -> None:
        for number, imitation in enumerate(self._masks):
            pictures = [face.pictures[number] for face in faces]
            for table in self._imitated[self.imitations.index(imitation)].values():
                table.add(rows, pictures)

    def scan(self) -> Scan:
        """Digests and thumbnails of the faces in the first of the ways."""
        digests = [row.tobytes() if read else None for row, read in zip(self._digests, self._read, strict=True)]
        return Scan(digests, join_digests(digests), self._thumbnails, self._valid)

    def seen(self, way: str, attacker: str) -> Embeddings:
        """The faces as an attacker sees them in a way; refused are those its network sees nothing in."""
        table = self._tables[way, attacker]
        network = table.viewer.runner is not None
        lost = (self.rows[at] for at in np.flatnonzero(~table.valid).tolist()) if network else ()
        return Embeddings(table.features, table.valid, refusals(self.source, lost), int(table.resized.sum()))

    def imitated(self, number: int) -> dict[str, Embeddings]:
        """Imitation `number` as each attacker sees it; a face that was made under no mask is not valid, and none is
        refused, since the photos themselves can be read."""
        return {name: Embeddings(*normalised(table.features), []) for name, table in self._imitated[number].items()}
