"""RecordIO records and the payload header MXNet puts before an image (dmlc-core recordio.h).

A writer splits a payload where the magic stands at a 4-byte-aligned offset, and drops the magic there; a reader
puts it back between the parts. How parts are framed, and how a file of them is scanned, is in `scan`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from facemae_cli.data.recordio.scan import MAGIC, MAX_LENGTH, Problem, ScanResult, scan

__all__ = [
    "HEADER_BYTES",
    "MAGIC",
    "MAX_LENGTH",
    "Header",
    "Problem",
    "ScanResult",
    "frame",
    "pack_header",
    "read_payload",
    "scan",
    "unpack_header",
]

HEADER_BYTES = 24
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_HEADER = struct.Struct("<IfQQ")


class Header(NamedTuple):
    """The IRHeader of a payload; `label` is a tuple of `flag` labels when flag > 0."""

    flag: int
    label: float | tuple[float, ...]
    key: int
    id2: int


def pack_header(flag: int, label: float | Sequence[float], key: int, id2: int = 0) -> bytes:
    """The 24-byte payload header, followed by `flag` float32 labels when flag > 0 (else `label` is in the header).

    Raises ValueError when the number of labels is not `flag`.
    """
    if flag == 0:
        if not isinstance(label, int | float):
            raise ValueError(f"flag 0 takes one number as its label, not {label!r}; pass flag={len(label)}")
        return _HEADER.pack(0, label, key, id2)
    labels = [label] if isinstance(label, int | float) else list(label)
    if len(labels) != flag:
        raise ValueError(f"flag {flag} needs as many labels, not {len(labels)}")
    return _HEADER.pack(flag, 0.0, key, id2) + struct.pack(f"<{flag}f", *labels)


def unpack_header(payload: bytes) -> tuple[Header, int]:
    """The header of a payload and the offset at which its body starts. Raises ValueError on a payload too short."""
    if len(payload) < HEADER_BYTES:
        raise ValueError(f"{len(payload)} bytes of payload, but its header takes {HEADER_BYTES}")
    flag, label, key, id2 = _HEADER.unpack_from(payload)
    body = HEADER_BYTES + 4 * flag
    if len(payload) < body:
        raise ValueError(f"flag {flag} announces {body} bytes of header and labels, the payload has {len(payload)}")
    labels = struct.unpack_from(f"<{flag}f", payload, HEADER_BYTES) if flag else label
    return Header(flag, labels, key, id2), body


def frame(payload: bytes) -> bytes:
    """The framed record of a payload, byte for byte as dmlc's writer has it. Raises ValueError from 2^29 bytes on."""
    if len(payload) > MAX_LENGTH:
        raise ValueError(f"a payload of {len(payload)} bytes; RecordIO takes at most {MAX_LENGTH}")
    pieces = []
    start = 0
    for cut in _aligned_magics(payload):
        pieces += [_part_header(2 if start else 1, cut - start), payload[start:cut]]
        start = cut + 4
    pieces += [_part_header(3 if start else 0, len(payload) - start), payload[start:], bytes(-len(payload) % 4)]
    return b"".join(pieces)


def _part_header(cflag: int, length: int) -> bytes:
    return struct.pack("<II", MAGIC, cflag << 29 | length)


def _aligned_magics(payload: bytes) -> Iterator[int]:
    at = payload.find(_MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            yield at
        at = payload.find(_MAGIC_BYTES, at + 1)


def read_payload(descriptor: int, offset: int, length: int, parts: int) -> bytes:
    """The payload of the record at `offset` (as `scan` found it), joined again where it was split.

    Uses no file position, so threads and forks may share the descriptor. The result is shorter than `length`
    if the file was cut since the scan.
    """
    if parts == 1:
        return os.pread(descriptor, length, offset + 8)
    # Each dropped magic comes back as one 8-byte header; other writers may split, and pad, where no word ends.
    framed = os.pread(descriptor, length + 7 * parts + 4, offset)
    pieces = []
    at = 0
    for _ in range(parts):
        if at + 8 > len(framed):
            break
        size = struct.unpack_from("<I", framed, at + 4)[0] & MAX_LENGTH
        pieces.append(framed[at + 8 : at + 8 + size])
        at += 8 + size + -size % 4
    return _MAGIC_BYTES.join(pieces)
