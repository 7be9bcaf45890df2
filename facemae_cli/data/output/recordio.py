"""Faces written as RecordIO in InsightFace's layout, with `.idx`, `.lst`, `property` and `facemae.json` beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from facemae_cli.data.faces import Name
from facemae_cli.data.files import write_whole
from facemae_cli.data.images.codec import probe
from facemae_cli.data.manifest import Manifest, manifest_path, own_manifest, write_manifest
from facemae_cli.data.output.beside import BESIDE, beside_path, check_beside
from facemae_cli.data.output.names import check_face_name, with_suffix_of
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.data.recordio import lst
from facemae_cli.data.recordio.records import HEADER_BYTES, frame, pack_header
from facemae_cli.errors import FaceError, OutputError, UsageError

NO_IDENTITY = -1
_GROWING = ("rec", "idx", "lst")


class RecWriter:
    """The staged `.rec` and its sidecars.

    Images have keys 1..N in the order they come, flag 0 and a label by the order in which identities are first seen
    (-1 for none). Key 0 is the header record, keys N+1.. are ranges of keys: one for each stretch of images of one
    identity, so one an identity where its images come together. InsightFace's readers take images from 1..N or from
    all ranges and labels from the images, so both see every image of an identity, together or not.
    """

    def __init__(self, staged: Path, target: Path, ways: WaysOut = WAYS_OUT) -> None:
        """`ways`: what messages advise."""
        self.staged = staged
        self.target = target
        self.ways = ways
        self._files: dict[str, BinaryIO] = {}
        self._sizes = dict.fromkeys(_GROWING, 0)
        self._labels: dict[str, int] = {}
        self._new: list[str] = []  # identities first seen in this unit
        self._images = 0
        self._shape: tuple[int, int] | None = None  # height, width of the first image

    @property
    def moves(self) -> list[tuple[Path, Path]]:
        """(staged, final) paths; the last is the one whose arrival completes the output."""
        beside = self.target.parent / "property" if self.target.name == "train.rec" else None
        cards = [(self.staged / name, beside_path(self.target, name)) for name in BESIDE]
        return [
            *cards,
            (self.staged / "facemae.json", manifest_path(self.target)),
            (self.staged / "property", beside or self.target.with_suffix(".property")),
            (self.staged / "faces.lst", self.target.with_suffix(".lst")),
            (self.staged / "faces.idx", self.target.with_suffix(".idx")),
            (self.staged / "faces.rec", self.target),
        ]

    def begin(self) -> None:
        """Empty files, the `.rec` with room for the header record."""
        for kind in _GROWING:
            self._files[kind] = (self.staged / f"faces.{kind}").open("wb", buffering=2**20)
        self._append(_header_record(0, 0), 0, {})

    def write(self, name: Name, image: bytes) -> None:
        """Stages one face. Raises FaceError (`bad-name`, `too-large`, no image) and OSError."""
        name = Name(name.identity, with_suffix_of(name.photo, image))
        check_face_name(name)
        label = self._labels.get(name.identity, len(self._labels)) if name.identity is not None else NO_IDENTITY
        key = self._images + 1
        try:
            record = frame(pack_header(0, label, key) + image)
        except ValueError as error:
            raise FaceError("too-large", f"{len(image)} bytes do not fit into one record: {error}") from error
        if self._shape is None:
            with suppress(FaceError):
                info = probe(image)
                self._shape = info.height, info.width
        self._append(record, key, {"lst": lst.line(key, label, name)})
        self._images = key
        if name.identity is not None and name.identity not in self._labels:
            self._labels[name.identity] = label
            self._new.append(name.identity)

    def _append(self, record: bytes, key: int, lines: dict[str, bytes]) -> None:
        offset = self._sizes["rec"]
        for kind, data in {"rec": record, "idx": b"%d\t%d\n" % (key, offset), **lines}.items():
            self._files[kind].write(data)
            self._sizes[kind] += len(data)

    def flush(self) -> dict[str, Any]:
        """Makes the unit durable; returns what the journal must hold of it. Raises OSError."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        mark = {"sizes": dict(self._sizes), "images": self._images, "shape": self._shape, "identities": self._new}
        self._new = []
        return mark

    def recall(self, mark: dict[str, Any]) -> None:
        """Takes in what `flush` returned for one unit of an interrupted run, in order. Raises ValueError, TypeError and
        KeyError for what it did not return."""
        before = (*self._sizes.values(), self._images, 0, 0)
        shape = mark["shape"] or (0, 0)
        numbers = (*(mark["sizes"][kind] for kind in _GROWING), mark["images"], *shape)
        if len(numbers) != len(before) or not all(
            type(number) is int and least <= number < 2**63 for number, least in zip(numbers, before, strict=True)
        ):
            raise ValueError("sizes of another form")
        new = mark["identities"]
        if not all(isinstance(identity, str) for identity in new) or len({*new, *self._labels}) != len(new) + len(
            self._labels
        ):
            raise ValueError("identities of another form")
        self._sizes, self._images = dict(zip(_GROWING, numbers, strict=False)), numbers[len(_GROWING)]
        self._shape = (shape[0], shape[1]) if mark["shape"] else None
        for identity in new:
            self._labels[identity] = len(self._labels)

    def restore(self) -> None:
        """Cuts off what was staged after the last journaled unit. Raises OutputError where journaled bytes are gone."""
        if not self._sizes["rec"]:  # stopped before its first unit
            self.begin()
            return
        paths = {kind: self.staged / f"faces.{kind}" for kind in _GROWING}
        for kind, path in paths.items():
            if not path.is_file() or path.stat().st_size < self._sizes[kind]:
                raise OutputError(f"{path}: under the {self._sizes[kind]} bytes finished: --overwrite starts over")
        for kind, path in paths.items():
            os.truncate(path, self._sizes[kind])
            self._files[kind] = path.open("ab", buffering=2**20)

    def add(self, name: str, text: str) -> None:
        """Stages a file for readers. Raises OutputError."""
        write_whole(self.staged / name, text, 0o666)

    def seal(self, manifest: Manifest) -> None:
        """Completes the staged files: header and range records, `property`, `facemae.json`. Raises OSError."""
        self.flush()
        ranges = 0
        for first, last in self._stretches():
            ranges += 1
            key = self._images + ranges
            self._append(frame(pack_header(2, (first, last), key)), key, {})
        self.flush()
        self.close()
        with (self.staged / "faces.rec").open("r+b") as file:
            file.write(_header_record(self._images + 1, self._images + 1 + ranges))
            file.flush()
            os.fsync(file.fileno())
        height, width = self._shape or (0, 0)
        write_whole(self.staged / "property", f"{len(self._labels)},{height},{width}\n", 0o666)
        write_manifest(self.staged / "facemae.json", manifest)

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """[first, last) keys of each stretch of images of one identity, read back from the staged `.lst`."""
        first, before = 1, NO_IDENTITY
        with (self.staged / "faces.lst").open("rb") as lines:
            for key, line in enumerate(lines, 1):
                label = int(float(line.split(b"\t", 2)[1]))
                if label != before:
                    if before != NO_IDENTITY:
                        yield first, key
                    first, before = key, label
        if before != NO_IDENTITY:
            yield first, self._images + 1

    def close(self) -> None:
        """Closes the staged files; stays silent about their errors, since nothing is promised."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()
        self._files.clear()

    def occupied(self) -> Path | None:
        """What stands where the output will, if anything."""
        return next((final for _, final in reversed(self.moves) if os.path.lexists(final)), None)

    def check_replaceable(self) -> None:
        """Raises UsageError unless all that stands in the output's place is an output of ours."""
        for _, final in self.moves:
            if final.is_dir():
                raise UsageError(f"{final} is a folder, and a file has to go there: {self.ways.elsewhere}")
            if final.is_symlink():
                raise UsageError(f"{final} is a link: name the place it leads to, or remove it yourself")
        manifest = own_manifest(self.target)
        if manifest is None or not self._is_ours(manifest.counts["out"]):
            beside = manifest_path(self.target).name
            raise UsageError(
                f"{self.occupied()} was not made by facemae (no {beside} of ours that tells of {self.target.name}): "
                + self.ways.elsewhere_or_removed
            )
        check_beside(self.target, self.ways)

    def _is_ours(self, faces: int) -> bool:
        """Whether the old output begins with the header record we write for so many faces."""
        told = 8 + HEADER_BYTES + 4  # up to where the range records start
        try:
            with self.target.open("rb") as file:
                return file.read(told) == _header_record(faces + 1, 0)[:told]
        except OSError:
            return False


def _header_record(first: int, last: int) -> bytes:
    """Key 0: flag 2, where the range records start and end, no body. 40 bytes, whatever the numbers."""
    return frame(pack_header(2, (first, last), 0))
