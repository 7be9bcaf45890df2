"""RecordIO framing (dmlc-core recordio.h), scanned as a whole by numpy over a memory map.

A framed part is `u32 magic, u32 lrec, data, zero padding to 4 bytes`, little endian, with `cflag = lrec >> 29`
and `length = lrec & (2^29 - 1)`. A payload in which the magic stands at a 4-byte-aligned offset is split there
and the magic dropped: cflag 0 is a whole payload, 1 its start, 2 a middle part, 3 its end. So every aligned
magic of a sound file starts a part, and a damaged file is entered again at the next one.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.names import one_line
from facemae_cli.data.reading import unreadable
from facemae_cli.errors import InputError

MAGIC = 0xCED7230A
MAX_LENGTH = 2**29 - 1
_WINDOW = 2**18  # words looked at in one go: 1 MiB stays in the cache
_NEAR = 4  # a word with at most so many bits off is taken for a damaged magic; one random word in 100,000 is
_SECTOR = 512  # bytes
_FLAGS = 2**16  # a payload header's `flag` stays below: nobody has so many labels, and few random words do

Words = NDArray[np.uint32]
Offsets = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Problem(NamedTuple):
    """A stretch of a `.rec` that is not a record: its byte offset, a stable reason code, and what was met there."""

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


@dataclass(slots=True)
class _Parts:
    """Columns, one row an aligned magic with an lrec behind it."""

    starts: Offsets  # bytes
    lengths: Offsets  # bytes of data
    cflags: NDArray[np.int8]
    joined: Flags  # the part ends where the next one starts
    broken: dict[int, Problem]  # rows whose own length is wrong


def open_regular(path: Path) -> int:
    """A descriptor of a file, opened for reading. Raises OSError; InputError where it is something else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise InputError(f"{one_line(str(path))} is a folder, a pipe or a device: give a .rec file")


@contextmanager
def mapped(path: Path) -> Iterator[tuple[Words, int]]:
    """A file as little-endian words (a last incomplete word left out) and its size in bytes.

    Raises InputError where the file is missing or cannot be read.
    """
    try:
        with open(open_regular(path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    except OSError as error:
        raise unreadable(path, error, "give a .rec file") from error
    # The map is not closed by hand: arrays may still look into it, and it goes with the last of them.
    yield np.frombuffer(view, "<u4", count=size // 4), size


def scan(path: Path) -> ScanResult:
    """Every record of a `.rec` and everything in it that is none; looks at each byte of the file once.

    Raises InputError where the file is missing or cannot be read; damage is listed in `problems`.
    """
    with mapped(path) as (words, size):
        return scan_words(words, size)


def scan_words(words: Words, size: int) -> ScanResult:
    """`scan` over a file already mapped: `words` (size // 4,) uint32."""
    heads = _magics(words)
    stub = size  # where a record's head begins that the file's end cuts off
    if len(heads) and heads[-1] + 1 >= len(words):
        stub = 4 * int(heads[-1])
        heads = heads[:-1]
    problems = []
    following = np.append(4 * heads, stub)
    if 0 < size < 8:
        stub = 0
    elif following[0] != 0:
        problems += _explain_gap(words, 0, int(following[0])) or [_bad_magic(words, 0, int(following[0]))]
    lrec = words[heads + 1]
    lengths = (lrec & MAX_LENGTH).astype(np.int64)
    ends = 4 * heads + 8 + (lengths + 3 & ~3)
    if len(ends) and 0 < stub - ends[-1] < 4:  # ends are multiples of 4, so it is not the last length that is wrong
        stub = following[-1] = int(ends[-1])
    parts = _Parts(4 * heads, lengths, (lrec >> 29).astype(np.int8), ends == following[1:], {})
    for row in np.flatnonzero(_nonzero_padding(words, parts) & parts.joined).tolist():
        parts.broken[row] = Problem(0, "bad-length", "its last bytes lie in its padding")
    for row in np.flatnonzero(~parts.joined).tolist():
        end, after = int(ends[row]), int(following[row + 1])
        gap = _explain_gap(words, end, after) if end < after else []
        problems += gap
        if not gap:
            parts.broken[row] = _wrong_length(end, after, size)
    if stub < size and not (len(heads) and parts.cflags[-1] in (1, 2) and parts.joined[-1]):
        problems.append(Problem(stub, "truncated-record", f"the file ends inside the record's head, at byte {size}"))
    return _group(words, parts, problems)


def _magics(words: Words) -> Offsets:
    """Indexes of the words that are the magic, found window by window so that no file-sized array is made."""
    found = [np.flatnonzero(words[at : at + _WINDOW] == np.uint32(MAGIC)) + at for at in range(0, len(words), _WINDOW)]
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)


def _nonzero_padding(words: Words, parts: _Parts) -> Flags:
    """Which parts have padding other than zeros: a length that is some bytes short looks like this."""
    last = parts.starts // 4 + 2 + parts.lengths // 4
    padded = np.flatnonzero((parts.lengths % 4 != 0) & (last < len(words)))
    dirty = np.zeros(len(last), bool)
    dirty[padded] = words[last[padded]] >> (8 * (parts.lengths[padded] % 4)).astype(np.uint32) != 0
    # A writer that never clears its padding is not damage.
    return dirty if 2 * dirty.sum() < len(padded) else np.zeros_like(dirty)


def _wrong_length(end: int, after: int, size: int) -> Problem:
    if end > after and after == size:
        return Problem(0, "truncated-record", f"the record ends at byte {end}, the file at {size}")
    where = "past a record" if end > after else "where no record starts; the next one is"
    return Problem(0, "bad-length", f"its length leads to byte {end}, {where} at {after}")


def _explain_gap(words: Words, start: int, stop: int) -> list[Problem]:
    """The damaged record heads that fill the bytes from `start` to `stop`, where no magic stands; [] if none do."""
    if stop - start >= _SECTOR and not words[start // 4 : (start + _SECTOR) // 4].any():
        return [_bad_magic(words, start, stop)]  # a block lost on the disk, or never written
    heads = []
    at = start
    while at + 8 <= stop:
        magic, lrec = int(words[at // 4]), int(words[at // 4 + 1])
        heads.append(at)
        length = lrec & MAX_LENGTH
        following = at + 8 + (length + 3 & ~3)
        if lrec >> 31 or following > stop or (length == 0 and not _near_magic(magic)):
            break
        at = following
    if at != stop:  # not a chain of records: still one, if this looks like a magic with a few bits off
        heads = heads[:1] if heads and _near_magic(int(words[start // 4])) else []
    return [_bad_magic(words, head, stop) for head in heads]


def _near_magic(word: int) -> bool:
    return (word ^ MAGIC).bit_count() <= _NEAR


def _bad_magic(words: Words, head: int, stop: int) -> Problem:
    found = int(words[head // 4])
    return Problem(head, "bad-magic", f"0x{found:08x} where a record starts with 0x{MAGIC:08x}; next record by {stop}")


def _group(words: Words, parts: _Parts, problems: list[Problem]) -> ScanResult:
    """Parts put together to logical records; what the flags or a broken part spoil goes to `problems`."""
    cflags, joined = parts.cflags, parts.joined
    if not len(cflags):
        return ScanResult(parts.starts, parts.lengths, np.zeros(0, np.int32), sorted(problems))
    opens = (cflags == 1) | (cflags == 2)
    goes_on = np.zeros(len(cflags), bool)
    goes_on[1:] = ((cflags[1:] == 2) | (cflags[1:] == 3)) & opens[:-1] & joined[:-1]
    first = np.flatnonzero(~goes_on)
    last = np.append(first[1:], len(cflags)) - 1
    whole = (cflags[first] == 0) | ((cflags[first] == 1) & (cflags[last] == 3))
    # Where parts do not fit together, one that cannot start a payload is what is left of the record before it.
    misfit = (cflags[first] != 0) & (cflags[first] != 1)
    misfit[1:] |= opens[last[:-1]]
    misfit[1:] &= joined[last[:-1]]
    misfit[0] = False
    rest = np.flatnonzero(misfit)
    rest = rest[~_starts_record(words, parts, first[rest])]
    whole[rest] = whole[rest - 1] = False
    spoilt = np.zeros(len(first), bool)
    spoilt[np.searchsorted(first, sorted(parts.broken), side="right") - 1] = True
    sizes = (last - first + 1).astype(np.int32)
    for g in np.setdiff1d(np.flatnonzero(~whole | spoilt), rest).tolist():
        problems += _spoilt_record(parts, int(first[g]), int(last[g]))
    sound = whole & ~spoilt
    totals = np.add.reduceat(parts.lengths, first) + 4 * (sizes - 1)
    return ScanResult(parts.starts[first][sound], totals[sound], sizes[sound], sorted(problems))


def _starts_record(words: Words, parts: _Parts, rows: Offsets) -> Flags:
    """Whether a part's data can be the start of a payload, by the `flag` of its header."""
    at = np.minimum(parts.starts[rows] // 4 + 2, len(words) - 1)
    return (parts.lengths[rows] >= 4) & (words[at] < _FLAGS)


def _spoilt_record(parts: _Parts, head: int, tail: int) -> list[Problem]:
    """What is wrong with the record of parts `head` to `tail`; [] where a gap beside it has been listed already."""
    start = int(parts.starts[head])
    for row in range(head, tail + 1):
        if row in parts.broken:
            return [parts.broken[row]._replace(offset=start)]
    after_gap = parts.cflags[head] in (2, 3) and (not parts.joined[head - 1] if head else start > 0)
    if after_gap or not parts.joined[tail]:
        return []
    if parts.cflags[tail] in (1, 2) and tail == len(parts.starts) - 1:
        return [Problem(start, "truncated-record", "the file ends before the record's last part")]
    return [Problem(start, "bad-flag", f"part flag {parts.cflags[head]} does not fit the parts beside it")]
