"""RecordIO framing (dmlc-core recordio.h) and the payload header MXNet puts before an image (design section 3).

A framed part is `u32 magic, u32 lrec, data, zero padding to 4 bytes`, little endian, with `cflag = lrec >> 29`
and `length = lrec & (2^29 - 1)`. A payload in which the magic stands at a 4-byte-aligned offset is split there
and the magic dropped: cflag 0 is a whole payload, 1 its start, 2 a middle part, 3 its end. So every aligned
magic of a sound file starts a part, and a damaged file is entered again at the next one.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError

MAGIC = 0xCED7230A
MAX_LENGTH = 2**29 - 1
HEADER_BYTES = 24
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_HEADER = struct.Struct("<IfQQ")
_WINDOW = 2**22  # words looked at in one go: 16 MiB
_NEAR = 8  # a word with at most so many bits off is taken for a damaged magic; 0.35 % of random words are

Words = NDArray[np.uint32]
Offsets = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Problem(NamedTuple):
    """A stretch of a `.rec` that is no record: its byte offset, a stable reason code, and what was met there."""

    offset: int
    reason: str  # bad-magic | bad-length | bad-flag | truncated-record
    detail: str


@dataclass(frozen=True, slots=True)
class ScanResult:
    """The logical records of a `.rec` in file order.

    `offsets`: (n,) int64, byte offset of each record's first part; `lengths`: (n,) int64, payload bytes with
    the dropped magics counted; `parts`: (n,) int32, 1 unless split; `problems`: what is damaged, by offset.
    """

    offsets: Offsets
    lengths: Offsets
    parts: NDArray[np.int32]
    problems: list[Problem]


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
    framed = os.pread(descriptor, length + 4 * parts + 4, offset)  # each dropped magic comes back as one 8-byte header
    pieces = []
    at = 0
    for _ in range(parts):
        if at + 8 > len(framed):
            break
        size = struct.unpack_from("<I", framed, at + 4)[0] & MAX_LENGTH
        pieces.append(framed[at + 8 : at + 8 + size])
        at += 8 + size + -size % 4
    return _MAGIC_BYTES.join(pieces)


@contextmanager
def mapped(path: Path) -> Iterator[tuple[Words, int]]:
    """A file as little-endian words (a last incomplete word left out) and its size in bytes.

    Raises InputError where the file is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < 4:
                yield np.zeros(0, "<u4"), size
                return
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    # The map is not closed by hand: arrays may still look into it, and it goes with the last of them.
    yield np.frombuffer(view, "<u4", count=size // 4), size


def scan(path: Path) -> ScanResult:
    """Every record of a `.rec` and everything in it that is none; reads each byte of the file once.

    Raises InputError where the file is missing or cannot be read; damage is told in `problems`.
    """
    with mapped(path) as (words, size):
        return scan_words(words, size)


def scan_words(words: Words, size: int) -> ScanResult:
    """`scan` over a file already mapped: `words` (size // 4,) uint32."""
    heads = _magics(words)
    problems = []
    stop = size
    if len(heads) and heads[-1] + 1 >= len(words):  # a magic with nothing behind it
        stop = 4 * int(heads[-1])
        problems.append(Problem(stop, "truncated-record", f"the file ends inside the record's head, at byte {size}"))
        heads = heads[:-1]
    starts = 4 * heads
    following = np.append(starts, stop)
    if following[0] != 0:
        problems += _explain_gap(words, 0, int(following[0])) or [_bad_magic(words, 0, int(following[0]))]
    lrec = words[heads + 1]
    lengths = (lrec & MAX_LENGTH).astype(np.int64)
    ends = starts + 8 + (lengths + 3 & ~3)
    joined = ends == following[1:]
    broken = _nonzero_padding(words, starts, lengths) & joined
    problems += [
        Problem(int(starts[j]), "bad-length", "its last bytes lie in its padding") for j in np.flatnonzero(broken)
    ]
    for j in np.flatnonzero(~joined).tolist():
        found = _explain_break(words, size, int(starts[j]), int(ends[j]), int(following[j + 1]))
        broken[j] = any(problem.offset == starts[j] for problem in found)
        problems += found
    return _group(starts, lengths, (lrec >> 29).astype(np.int8), joined, broken, problems)


def _magics(words: Words) -> Offsets:
    """Indexes of the words that are the magic, found window by window so that no file-sized array is made."""
    found = [np.flatnonzero(words[at : at + _WINDOW] == np.uint32(MAGIC)) + at for at in range(0, len(words), _WINDOW)]
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def _nonzero_padding(words: Words, starts: Offsets, lengths: Offsets) -> Flags:
    """Which parts have padding other than zeros: a length that is some bytes short looks like this."""
    last = starts // 4 + 2 + lengths // 4
    padded = (lengths % 4 != 0) & (last < len(words))
    dirty = np.zeros(len(starts), bool)
    dirty[padded] = words[last[padded]] >> (8 * (lengths[padded] % 4)).astype(np.uint32) != 0
    # A writer that never clears its padding is not damage.
    return dirty if 2 * dirty.sum() < max(padded.sum(), 1) else np.zeros_like(dirty)


def _explain_break(words: Words, size: int, start: int, end: int, following: int) -> list[Problem]:
    """Why the part at `start`, which should end at `end`, does not meet the next one at `following`."""
    if end > following:
        if following == size:
            detail = f"the record ends at byte {end}, the file at {size}"
            return [Problem(start, "truncated-record", detail)]
        return [Problem(start, "bad-length", f"its length leads to byte {end}, past the record at {following}")]
    return _explain_gap(words, end, following) or [
        Problem(start, "bad-length", f"its length leads to byte {end}, where no record starts; next at {following}")
    ]


def _explain_gap(words: Words, start: int, stop: int) -> list[Problem]:
    """The damaged record heads that fill the bytes from `start` to `stop`, where no magic stands; [] if none do."""
    if stop - start < 8:
        return [Problem(start, "truncated-record", f"{stop - start} bytes that are no record")]
    heads = []
    at = start
    while at + 8 <= stop:
        magic, lrec = int(words[at // 4]), int(words[at // 4 + 1])
        heads.append(at)
        if magic == lrec == 0:  # a block of zeros: lost on the disk, or never written
            at = stop
            break
        length = lrec & MAX_LENGTH
        following = at + 8 + (length + 3 & ~3)
        if lrec >> 31 or following > stop or (length == 0 and not _near_magic(magic)):
            break
        at = following
    if at != stop:  # not a chain of records: still one, if this looks like a magic with a few bits off
        heads = [start] if _near_magic(int(words[start // 4])) else []
    return [_bad_magic(words, head, stop) for head in heads]


def _near_magic(word: int) -> bool:
    return (word ^ MAGIC).bit_count() <= _NEAR


def _bad_magic(words: Words, head: int, stop: int) -> Problem:
    found = int(words[head // 4])
    return Problem(head, "bad-magic", f"0x{found:08x} where a record starts with 0x{MAGIC:08x}; next record by {stop}")


def _group(
    starts: Offsets, lengths: Offsets, cflags: NDArray[np.int8], joined: Flags, broken: Flags, problems: list[Problem]
) -> ScanResult:
    """Parts put together to logical records; what the flags or a broken part spoil goes to `problems`."""
    if not len(starts):
        return ScanResult(starts, lengths, np.zeros(0, np.int32), sorted(problems))
    opens = (cflags == 1) | (cflags == 2)
    goes_on = np.zeros(len(starts), bool)
    goes_on[1:] = ((cflags[1:] == 2) | (cflags[1:] == 3)) & opens[:-1] & joined[:-1]
    first = np.flatnonzero(~goes_on)
    last = np.append(first[1:], len(starts)) - 1
    whole = (cflags[first] == 0) | ((cflags[first] == 1) & (cflags[last] == 3))
    stray = np.isin(cflags[first], (2, 3))
    # A whole part between an open start and a stray end is the middle of a split payload with its flag damaged.
    whole[1:-1] &= ~((cflags[first[1:-1]] == 0) & opens[last[:-2]] & joined[last[:-2]] & stray[2:])
    for g in np.flatnonzero(~whole).tolist():
        problem = _flag_problem(g, first, last, starts, cflags, joined, broken, bool(stray[g]))
        problems += [problem] if problem else []
    parts = (last - first + 1).astype(np.int32)
    sound = whole & ~np.logical_or.reduceat(broken, first)
    totals = np.add.reduceat(lengths, first) + 4 * (parts - 1)
    return ScanResult(starts[first][sound], totals[sound], parts[sound], sorted(problems))


def _flag_problem(
    g: int,
    first: Offsets,
    last: Offsets,
    starts: Offsets,
    cflags: NDArray[np.int8],
    joined: Flags,
    broken: Flags,
    stray: bool,
) -> Problem | None:
    """What is wrong with the flags of group `g`; None where a break beside it has already been told."""
    head, tail = int(first[g]), int(last[g])
    after_break = stray and (head == 0 or not joined[head - 1] or broken[head - 1])
    before_break = not joined[tail] or broken[head : tail + 1].any()
    if after_break or before_break:
        return None
    if cflags[tail] in (1, 2) and tail == len(starts) - 1:
        return Problem(int(starts[head]), "truncated-record", "the file ends before the record's last part")
    return Problem(int(starts[head]), "bad-flag", f"part flag {cflags[head]} does not fit the parts beside it")
