"""A `.rec` as a source of faces, in InsightFace's layout or im2rec's."""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.content import describe_content, is_sagemaker
from facemae_cli.data.faces import FaceSource, Name, Portion, Refusal
from facemae_cli.data.images.headers.header import Limits, limits_in_use
from facemae_cli.data.names import one_line
from facemae_cli.data.reading import unreadable
from facemae_cli.data.recordio import sidecars
from facemae_cli.data.recordio.indexed import RANGE_SPAN, Places, places_of
from facemae_cli.data.recordio.keys import assign_keys
from facemae_cli.data.recordio.lst import Lst
from facemae_cli.data.recordio.reader import RecFile, RecordReader
from facemae_cli.data.recordio.records import HEADER_BYTES, read_payload, unpack_header
from facemae_cli.data.recordio.scan import ScanResult, Words, mapped, scan_words
from facemae_cli.data.scan import beside
from facemae_cli.errors import InputError

_EXACT = 2**24  # whole numbers above are rounded in float32
_LARGEST_KEY = 2**53


@dataclass(slots=True)
class _Table:
    """Columns, one row a record: where it stands and what its payload header says; sorted by key in the end."""

    offset: NDArray[np.int64]
    length: NDArray[np.int64]  # bytes of payload
    parts: NDArray[np.int32]
    body: NDArray[np.int64]  # bytes of header and labels before the image
    flag: NDArray[np.int64]
    label: NDArray[np.float32]  # the first, where there are many
    label2: NDArray[np.float32]  # the second; 0 where there is none
    own: NDArray[np.int64]  # the number the record carries; -1 where it cannot be a key

    def __len__(self) -> int:
        return len(self.offset)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> _Table:
        return _Table(*(getattr(self, column)[rows] for column in self.__slots__))

    @property
    def empty(self) -> NDArray[np.bool_]:
        return self.length == self.body

    @property
    def bare(self) -> NDArray[np.bool_]:
        """Whether a record has labels and no image, as header and ranges have."""
        return self.empty & (self.flag > 0)


class RecSource(FaceSource):
    """The faces of `X.rec` or `DIR/train.rec`, in the order of their keys.

    With a sound `.idx` opening looks at a few records alone (`indexed`), and at each other one when it is used: what is
    damaged is refused then, by `read`. Without one, or where `whole` asks for it, every byte is looked at on opening,
    so that what is damaged is known, and `refused` tells it by byte offset; what an `.idx` says otherwise than the file
    is in `remarks`, since no face is lost by it. Header and identity-range records are not faces. Identity: from the
    `.lst` where it names the key, else the label's digits, None where the label is negative or no number. Photo: from
    the `.lst`, else the key's digits.
    `layout` is "insightface" (a header record under key 0) or "im2rec". Bodies are read by `os.pread`, which shares
    no file position, releases the GIL and turns a failing disk into an error where a memory map would end the process.
    """

    kind = "rec"
    refused: list[Refusal]
    remarks: list[Refusal]
    ignored = 0

    def __init__(self, path: Path, limits: Limits | None = None, *, whole: bool = False) -> None:
        """Raises InputError where the file is missing, cannot be read, or holds no record."""
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        self.rec = sidecars.rec_file(self.path)
        self._shown = one_line(str(self.rec))
        self._file = RecFile(self.rec)
        self.passed_over = beside(self.path, self.rec.name) if self.path.is_dir() else {}
        text = sidecars.read_sidecar(self.rec, "idx")
        index = None if text is None else sidecars.parse_index(text)
        places = None if whole or index is None else self._places(index)
        self._records = self._scanned(index) if places is None else self._indexed(places)
        lst = sidecars.sidecar(self.rec, "lst")
        self._names = Lst(lst) if lst.is_file() else None

    def __len__(self) -> int:
        return len(self._records)

    def key(self, index: int) -> int:
        """The RecordIO key of face `index`."""
        return int(self._records.keys[index])

    def name(self, index: int) -> Name:
        label, key = self._records.label_of(index), int(self._records.keys[index])
        identity = _identity(label)
        named = self._names.name(key, label) if self._names is not None else None
        if named is None:
            return Name(identity, str(key))
        return Name(None if identity is None else named.identity or identity, named.photo)

    def names_digest(self) -> str:
        """Of all that names come from, which is quicker than of a million names."""
        digest = hashlib.sha256(self._records.keys.astype("<i8").tobytes())
        digest.update(self._records.labels().astype("<f4").tobytes())
        digest.update(self._names.text if self._names is not None else b"")
        return digest.hexdigest()

    def is_named(self, index: int) -> bool:
        """Whether the `.lst` names face `index`, rather than its label and key."""
        label, key = self._records.label_of(index), int(self._records.keys[index])
        return self._names is not None and self._names.name(key, label) is not None

    def where(self, index: int) -> str:
        return self._records.where(index)

    def read(self, index: int) -> bytes:
        """The image bytes of face `index`.

        Raises FaceError as `RecordReader.read` says; OutputError where the disk fails.
        """
        return self._records.read(index)

    def portion(self, indexes: Sequence[int]) -> Portion:
        return self._records.take(np.asarray(indexes, np.int64))

    def _refuse_sagemaker(self, scanned: ScanResult) -> None:
        first = read_payload(self._file.descriptor, int(scanned.offsets[0]), min(int(scanned.lengths[0]), 64), 1)
        if is_sagemaker(first):
            raise InputError(
                f"{self._shown} is SageMaker's RecordIO: its records hold arrays in protobuf and no images; give a "
                ".rec as InsightFace, im2rec or facemae writes it"
            )

    def _places(self, index: sidecars.Index) -> Places | None:
        try:
            return places_of(index, self._file.descriptor, os.fstat(self._file.descriptor).st_size)
        except OSError as error:
            raise unreadable(self.rec, error, "give a .rec file") from error

    def _indexed(self, places: Places) -> RecordReader:
        """The faces a sound index leads to; sets `layout`, `refused` and `remarks`."""
        self.refused, self.remarks = [], []
        self.layout = "im2rec" if places.header is None else "insightface"
        faces = np.ones(len(places.keys), bool)
        if places.header is not None:
            faces = (places.span != RANGE_SPAN) | (places.keys < _first_range(places.header.label))
            faces[0] = False
        return RecordReader.by_index(self._file, self._shown, self.limits, places, faces)

    def _scanned(self, index: sidecars.Index | None) -> RecordReader:
        """The faces of a file of which every byte is looked at; sets `layout`, `refused` and `remarks`."""
        with mapped(self.rec) as (words, size):
            scanned = scan_words(words, size)
            if not len(scanned.offsets):
                raise InputError(
                    f"{self._shown} is not a RecordIO file: no whole record in its {size} bytes"
                    f"{describe_content(self.rec)}; give a .rec as InsightFace, im2rec or facemae writes it"
                )
            table, misshapen = _read_headers(words, scanned, self._file.descriptor)
            if not len(table):
                self._refuse_sagemaker(scanned)
        damaged = [*scanned.problems, *misshapen]
        keys, complaints = assign_keys(
            table.offset, table.own, ~table.empty, index, {problem[0] for problem in damaged}, size
        )
        header = np.flatnonzero(table.bare & (keys == 0))
        self.layout = "insightface" if len(header) else "im2rec"
        ranges = _first_range(float(table.label[header[0]])) if len(header) else None
        self.remarks = self._bad_lines(index)
        self.refused = [self._refusal(*problem) for problem in damaged]
        for at, reason, detail, lost in complaints:
            is_face = lost >= 0 and not (ranges is not None and lost >= ranges)
            (self.refused if is_face else self.remarks).append(self._refusal(at, reason, detail))
        faces = _choose_faces(table, keys, ranges)
        found = table.take(faces)
        columns = found.offset, np.zeros_like(found.offset), found.length, found.parts, found.body, found.label
        return RecordReader(self._file, self._shown, self.limits, keys[faces], *columns)

    def _refusal(self, offset: int, reason: str, detail: str) -> Refusal:
        return Refusal(f"{self._shown} at byte {offset}", reason, detail)

    def _bad_lines(self, index: sidecars.Index | None) -> list[Refusal]:
        where = one_line(str(sidecars.sidecar(self.rec, "idx")))
        return [
            Refusal(f"{where} at byte {at}", "bad-index", f"a line that is not a key and an offset: {line!r}")
            for at, line in (index.bad_lines if index is not None else [])
        ]


def _choose_faces(table: _Table, keys: NDArray[np.int64], ranges: float | None) -> NDArray[np.int64]:
    """Rows of the records that are faces, by key; `ranges`: the key from which on those without an image are not, by
    the header, None where there is none. Empty ones stay, to be refused on reading."""
    if ranges is not None:
        other = table.bare & ((keys == 0) | (keys >= ranges))
    else:
        # The header may be missing from a damaged file: ranges are known by [first, last) before their own key.
        last_image = keys[~table.empty].max(initial=-1)
        is_range = (table.flag == 2) & (table.label >= 1) & (table.label < table.label2) & (table.label2 <= keys)
        other = table.bare & is_range & (keys > last_image)
    rows = np.flatnonzero(~other)
    return rows[np.argsort(keys[rows], kind="stable")]


def _read_headers(words: Words, scanned: ScanResult, descriptor: int) -> tuple[_Table, list[tuple[int, str, str]]]:
    """Every record with a payload header, and (offset, reason, detail) of those whose header does not fit."""
    count = len(scanned.offsets)
    table = _Table(
        scanned.offsets,
        scanned.lengths,
        scanned.parts,
        body=np.zeros(count, np.int64),
        flag=np.zeros(count, np.int64),
        label=np.zeros(count, np.float32),
        label2=np.zeros(count, np.float32),
        own=np.zeros(count, np.int64),
    )
    whole = np.flatnonzero((scanned.parts == 1) & (scanned.lengths >= HEADER_BYTES))
    at = scanned.offsets[whole] // 4 + 2
    table.flag[whole] = words[at]
    table.label[whole] = words[at + 1].view("<f4")
    table.own[whole] = words[at + 2] | words[at + 3].astype(np.int64) << 32
    many = (words[at] > 0) & (scanned.lengths[whole] >= HEADER_BYTES + 4 * words[at].astype(np.int64))
    table.label[whole[many]] = words[at[many] + 6].view("<f4")
    two = many & (words[at] > 1)
    table.label2[whole[two]] = words[at[two] + 7].view("<f4")
    for row in np.flatnonzero(scanned.parts > 1).tolist():
        _read_split(table, row, descriptor)
    table.own[(table.own < 0) | (table.own > _LARGEST_KEY)] = -1
    table.body[:] = HEADER_BYTES + 4 * table.flag
    misshapen = table.body > table.length
    text = "a payload of {} bytes, whose header and labels would take {} (flag {})"
    complaints = [
        (int(table.offset[i]), "bad-header", text.format(table.length[i], table.body[i], table.flag[i]))
        for i in np.flatnonzero(misshapen)
    ]
    return table.take(~misshapen), complaints


def _read_split(table: _Table, row: int, descriptor: int) -> None:
    """The header of a record split at a magic, which may stand in the header itself."""
    where = int(table.offset[row]), int(table.length[row]), int(table.parts[row])
    payload = read_payload(descriptor, *where)
    if len(payload) < HEADER_BYTES:
        return
    flag, _, own = struct.unpack_from("<IfQ", payload)
    table.flag[row], table.own[row] = flag, min(own, _LARGEST_KEY + 1)  # a column holds no 64 bits without a sign
    if len(payload) >= HEADER_BYTES + 4 * flag:
        labels = unpack_header(payload)[0].label
        first, second, *_ = (labels, 0.0, 0.0) if isinstance(labels, float) else (*labels, 0.0, 0.0)
        table.label[row], table.label2[row] = first, second


def _first_range(end: float) -> float:
    """From which key on records without an image are not faces: the header's N + 1, which float32 may have rounded."""
    return end if end < _EXACT else end - float(np.spacing(np.float32(end)))


def _identity(label: float) -> str | None:
    """A label as an identity: its digits, None where it is negative (nobody) or no number."""
    if not math.isfinite(label) or label < 0:
        return None
    return str(int(label)) if label == int(label) else str(np.float32(label))
