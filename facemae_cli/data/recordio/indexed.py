"""A `.rec` opened by its `.idx` alone: which index is sound enough for that, and what a record's head must then say.

Sound is an `.idx` whose keys leave no gap, whose offsets divide the whole file, and which agrees with every one of
`LOOKED_AT` records spread over the file, the first and the last among them, and, in InsightFace's layout, with the
counts in the header record. What the others say is seen when they are read: a head that does not fit its place in the
index is told of that face. So a line that an index lacks is seen at once, but for one from the end of the keys of a
file without header whose records stand in another order: that one is seen where the record before it is used.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.recordio.scan import MAGIC, MAX_LENGTH
from facemae_cli.data.recordio.sidecars import Index
from facemae_cli.errors import FaceError

LOOKED_AT = 256  # records, when an index is opened
MOST_PARTS = 2**16  # of a record; one in 2^32 words of an image is a magic, where it is split
RANGE_SPAN = 40  # bytes of a record of two labels and no image: an identity's range, or the header
_HEAD = struct.Struct("<IIIfQQ")  # magic and length of the first part, then the payload's header
_LABELS = 8  # bytes of the first two labels, where there are many
_PAYLOAD = 24  # bytes of a payload's header
_PLAIN = np.dtype("<u4, <u4, <u4, <f4, <u8, <u8, <f4, <f4")  # `_HEAD`, and the labels there may be
_PLAIN.names = ("magic", "lrec", "flag", "label", "own", "id2", "first", "second")

Longs = NDArray[np.int64]


class Head(NamedTuple):
    """What a record says of itself: bytes of payload, in how many parts, where in it the image begins, whose it is."""

    length: int
    parts: int
    body: int
    flag: int
    label: float
    label2: float
    own: int  # the number it carries


@dataclass(frozen=True, slots=True)
class Places:
    """Where records stand by a sound index, a row a record in the order of their keys: columns of (n,) int64."""

    keys: Longs
    offset: Longs
    span: Longs  # bytes to the next record, or to the end of the file
    numbered: bool  # each record carries its key
    header: Head | None  # of InsightFace's layout


def plain_heads(descriptor: int, offset: Longs, span: Longs) -> tuple[Longs, Longs, NDArray[np.float32], Longs]:
    """Bytes of payload, where in it the image begins, first label and own number, (n,) each, of records at `offset`.

    The bytes are -1 where a record is split or does not fit: `read_head` tells why. Raises OSError.
    """
    size = _PLAIN.itemsize
    data = b"".join([os.pread(descriptor, size, at).ljust(size, b"\0") for at in offset.tolist()])
    heads = np.frombuffer(data, _PLAIN)
    length, body = heads["lrec"].astype(np.int64), _PAYLOAD + 4 * heads["flag"].astype(np.int64)
    fits = (heads["magic"] == MAGIC) & (length <= MAX_LENGTH) & (8 + (length + 3 & ~3) == span) & (body <= length)
    label = np.where(heads["flag"] > 0, heads["first"], heads["label"])
    return np.where(fits, length, -1), body, label, heads["own"].astype(np.int64)


def read_head(descriptor: int, offset: int, span: int) -> Head:
    """The head of the record that fills `span` bytes from `offset` on, by the index.

    Raises FaceError where none does: `truncated-record`, `bad-magic`, `bad-flag`, `bad-length`, `bad-header`; OSError.
    """
    data = os.pread(descriptor, _HEAD.size + _LABELS, offset)
    if len(data) < _HEAD.size:
        raise FaceError("truncated-record", "the file was cut while it was being read")
    magic, lrec, flag, label, own, _ = _HEAD.unpack_from(data)
    if magic != MAGIC:
        raise FaceError("bad-magic", f"0x{magic:08x} where a record starts with 0x{MAGIC:08x}")
    if lrec >> 29 == 1:
        return _split_head(descriptor, offset, span)
    if lrec >> 29:
        raise FaceError("bad-flag", f"part flag {lrec >> 29} where a record starts")
    length = lrec & MAX_LENGTH
    _require_fits(8 + (length + 3 & ~3), span)
    body = _PAYLOAD + 4 * flag
    if length < body:
        raise _bad_header(length, flag)
    first, second = label, 0.0
    if flag:
        first, second = struct.unpack_from("<ff", data + bytes(_LABELS), _HEAD.size)
    return Head(length, 1, body, flag, first, second if flag > 1 else 0.0, own)


def _split_head(descriptor: int, offset: int, span: int) -> Head:
    """`read_head` of a record split at a magic, which may stand in the header itself."""
    start, length, parts, more = b"", -4, 0, True
    at = offset
    while more:
        if parts == MOST_PARTS:
            raise FaceError("too-large", f"a record of more than {MOST_PARTS} parts")
        magic, lrec = struct.unpack("<II", os.pread(descriptor, 8, at).ljust(8, b"\0"))
        if magic != MAGIC or at >= offset + span:
            raise FaceError("bad-length", f"its parts lead to byte {at}, where none starts")
        if lrec >> 29 not in ((2, 3) if parts else (1,)):
            raise FaceError("bad-flag", f"part flag {lrec >> 29} at byte {at} does not fit the parts before it")
        size = lrec & MAX_LENGTH
        if len(start) < _PAYLOAD + _LABELS:
            start += (struct.pack("<I", MAGIC) if parts else b"") + os.pread(descriptor, min(size, 64), at + 8)
        length, parts, more = length + 4 + size, parts + 1, lrec >> 29 != 3
        at += 8 + (size + 3 & ~3)
        if any(os.pread(descriptor, -size % 4, at - -size % 4)):
            raise padded()
    _require_fits(at - offset, span)
    start = start.ljust(_PAYLOAD + _LABELS, b"\0")
    flag, label, own, _ = struct.unpack_from("<IfQQ", start)
    body = _PAYLOAD + 4 * flag
    if length < body:
        raise _bad_header(length, flag)
    first, second = struct.unpack_from("<ff", start, _PAYLOAD) if flag else (label, 0.0)
    return Head(length, parts, body, flag, first, second if flag > 1 else 0.0, own)


def _require_fits(taken: int, span: int) -> None:
    """Raises FaceError unless a record ends where the index has the next one."""
    if taken > span:
        raise FaceError("bad-length", f"its length is of {taken} bytes, the next record starts after {span}")
    if taken < span:
        raise FaceError(
            "bad-index", f"{span - taken} bytes behind it are in no record of the .idx: without the .idx they are read"
        )


def padded() -> FaceError:
    """What is told of a record whose length is some bytes short."""
    return FaceError("bad-length", "its last bytes lie in its padding")


def _bad_header(length: int, flag: int) -> FaceError:
    taken = _PAYLOAD + 4 * flag
    return FaceError(
        "bad-header", f"a payload of {length} bytes, whose header and labels would take {taken} (flag {flag})"
    )


def places_of(index: Index, descriptor: int, size: int) -> Places | None:
    """Where every record of a file of `size` bytes stands; None where the index is not sound. Raises OSError."""
    divided = _divide(index, size)
    if divided is None:
        return None
    keys, offset, span, order = divided
    rows = order[np.linspace(0, len(order) - 1, min(len(order), LOOKED_AT)).round().astype(np.int64)].tolist()
    heads = {row: _sound_head(descriptor, int(offset[row]), int(span[row])) for row in {0, *rows, len(keys) - 1}}
    if None in heads.values():
        return None
    first, last = heads[0], heads[len(keys) - 1]
    assert first is not None
    assert last is not None
    header = first if keys[0] == 0 and first.flag > 0 and first.length == first.body else None
    if header is not None and np.float32(header.label2) != np.float32(len(keys)):
        return None
    if header is None and last.length == last.body:
        return None  # an identity's range, in a file that lost its header
    images = {row: head for row, head in heads.items() if head is not None and head.length > head.body}
    agree = {head.own == keys[row] for row, head in images.items() if keys[row] or len(images) == 1}  # 0 says nothing
    return Places(keys, offset, span, agree == {True}, header) if len(agree) == 1 else None


def _divide(index: Index, size: int) -> tuple[Longs, Longs, Longs, Longs] | None:
    """Keys, offsets and spans in the order of the keys, and the rows in that of the file; None where keys have a gap or
    come twice, or offsets do not divide the file in records."""
    count = len(index.keys)
    if index.bad_lines or not count or size % 4:
        return None
    first = index.keys.min()
    if index.keys.max() - first != count - 1:
        return None
    offset = np.full(count, -1, np.int64)
    offset[index.keys - first] = index.offsets
    order = np.argsort(offset, kind="stable")
    ends = np.append(offset[order[1:]], size)
    span = np.empty_like(offset)
    span[order] = ends - offset[order]
    if offset[order[0]] != 0 or span.min() < 8 + _PAYLOAD or (offset & 3).any():  # a key that is missing stands at -1
        return None
    return first + np.arange(count), offset, span, order


def _sound_head(descriptor: int, offset: int, span: int) -> Head | None:
    """The head of a record that is as the index has it, with zeros in its padding; else None."""
    try:
        head = read_head(descriptor, offset, span)
        unused = os.pread(descriptor, -head.length % 4, offset + span - -head.length % 4) if head.parts == 1 else b""
    except FaceError:
        return None
    return None if any(unused) else head
