"""Records of an open `.rec` that hold faces: where each stands, what it says of itself, and its image."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.images.headers.header import Limits
from facemae_cli.data.reading import unreadable
from facemae_cli.data.recordio.indexed import Places, padded, plain_heads, read_head
from facemae_cli.data.recordio.records import read_payload
from facemae_cli.data.recordio.scan import open_regular
from facemae_cli.errors import FaceError, OutputError

Longs = NDArray[np.int64]
_TOGETHER = 64  # records
_COLUMNS = ("keys", "offset", "span", "length", "parts", "body", "label")


class RecFile:
    """An open file descriptor, closed with its owner and opened again where a copy is unpickled."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where the file is missing, cannot be read, or is no file."""
        self.path = path
        try:
            self.descriptor = open_regular(path)
        except OSError as error:
            raise unreadable(path, error, "give a .rec file") from error
        weakref.finalize(self, os.close, self.descriptor)

    def __reduce__(self) -> tuple[type[RecFile], tuple[Path]]:
        return RecFile, (self.path,)


@dataclass(frozen=True)
class RecordReader:
    """Columns, (n,) each, a row a record; of records that an index alone has told of, what they say themselves is read
    when it is asked for, and held to the index."""

    file: RecFile
    shown: str
    limits: Limits
    keys: Longs
    offset: Longs  # bytes
    span: Longs  # bytes to the next record, by the index; 0 where the file was scanned
    length: Longs  # bytes of payload; -1: not looked at yet
    parts: NDArray[np.int32]
    body: Longs  # bytes of header and labels before the image
    label: NDArray[np.float32]  # the first, where there are many
    numbered: bool = False  # each record carries its key

    @classmethod
    def by_index(
        cls, file: RecFile, shown: str, limits: Limits, places: Places, faces: NDArray[np.bool_]
    ) -> RecordReader:
        """Those of `places` that are `faces`."""
        keys, offset, span = (column[faces] for column in (places.keys, places.offset, places.span))
        count = len(keys)
        length, parts, body = np.full(count, -1, np.int64), np.ones(count, np.int32), np.zeros(count, np.int64)
        label = np.full(count, np.nan, np.float32)
        return cls(file, shown, limits, keys, offset, span, length, parts, body, label, places.numbered)

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: Longs) -> RecordReader:
        """Those at `rows` alone, as quick to copy as they are few."""
        return replace(self, **{column: getattr(self, column)[rows] for column in _COLUMNS})

    def where(self, row: int) -> str:
        """Where a record stands, for a message."""
        return f"{self.shown} key {self.keys[row]} at byte {self.offset[row]}"

    def label_of(self, row: int) -> float:
        """A record's first label; no number where the record is damaged, which `read` tells. Raises OutputError."""
        if self.length[row] < 0:
            try:
                self._look(row)
            except FaceError:
                return float("nan")
        return float(self.label[row])

    def labels(self) -> NDArray[np.float32]:
        """Of every record what `label_of` says."""
        for row in np.flatnonzero(self.length < 0).tolist():
            self.label_of(row)
        return self.label

    def read(self, row: int) -> bytes:
        """The image in a record. Raises FaceError: `empty`, `too-large`, `truncated-record`, and where an index alone
        has told of it what `indexed.read_head` finds, or `bad-index`; OutputError where the disk fails."""
        if self.length[row] < 0:
            self._look(row)
        length, body = int(self.length[row]), int(self.body[row])
        size = length - body
        if not size:
            raise FaceError("empty", "the record holds no image")
        if size > self.limits.max_bytes:
            raise FaceError("too-large", f"{size} bytes, over the limit of {self.limits.max_bytes}")
        try:
            data = self._image(row, length, body)
        except OSError as error:
            raise OutputError(f"{self.where(row)}: {error.strerror or error}") from error
        if len(data) != size:
            raise FaceError("truncated-record", "the file was cut while it was being read")
        return data

    def _image(self, row: int, length: int, body: int) -> bytes:
        offset, parts = int(self.offset[row]), int(self.parts[row])
        if parts > 1:
            return read_payload(self.file.descriptor, offset, length, parts)[body:]
        padding = -length % 4 if self.span[row] else 0
        data = os.pread(self.file.descriptor, length - body + padding, offset + 8 + body)
        if not padding:
            return data
        if any(data[length - body :]):
            raise padded()
        return data[: length - body]

    def _look(self, row: int) -> None:
        """Reads what a record and those beside it say of themselves. Raises FaceError as `read` does, OutputError."""
        try:
            self._look_at_plain(slice(row - row % _TOGETHER, row - row % _TOGETHER + _TOGETHER))
            if self.length[row] < 0:
                self._look_closely(row)
        except OSError as error:
            raise OutputError(f"{self.where(row)}: {error.strerror or error}") from error

    def _look_at_plain(self, rows: slice) -> None:
        length, body, label, own = plain_heads(self.file.descriptor, self.offset[rows], self.span[rows])
        known = length >= 0
        if self.numbered:
            known &= (own == self.keys[rows]) | (length == body)
        # The length comes last: other threads take the row as known by it.
        for column, found in ((self.body, body), (self.label, label), (self.length, length)):
            column[rows][known] = found[known]

    def _look_closely(self, row: int) -> None:
        head = read_head(self.file.descriptor, int(self.offset[row]), int(self.span[row]))
        if self.numbered and head.own != self.keys[row] and head.length > head.body:
            raise FaceError("bad-index", f"the index says key {self.keys[row]}, the record says {head.own}")
        self.parts[row], self.body[row], self.label[row] = head.parts, head.body, head.label
        self.length[row] = head.length
