"""The files beside a `.rec`: where they stand, and reading `.idx` and `property`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.names import utf8
from facemae_cli.data.reading import unreadable

_LINE = re.compile(rb"(\d{1,18})\s*\t\s*(\d{1,18})\s*")
_LARGEST = 10**18
_PLAIN = frozenset(b"0123456789\t\n\r")


@dataclass(frozen=True, slots=True)
class Index:
    """An `.idx`: `keys` and `offsets`, (n,) int64 in the file's order; `bad_lines` as (byte offset, the line)."""

    keys: NDArray[np.int64]
    offsets: NDArray[np.int64]
    bad_lines: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Property:
    """The first line of a `property` file: `n_classes,H,W`."""

    identities: int
    height: int
    width: int


def rec_file(path: Path) -> Path:
    """The `.rec` itself: `path`, or `train.rec` in it where it is a folder."""
    return path / "train.rec" if path.is_dir() else path


def sidecar(rec: Path, kind: str) -> Path:
    """Where the `idx`, `lst` or `property` of a `.rec` stands, or would: `X.kind`, else `property` in its folder."""
    own = rec.with_suffix(f".{kind}")
    in_folder = rec.parent / "property"
    if kind == "property" and not own.is_file() and (in_folder.is_file() or rec.name == "train.rec"):
        return in_folder
    return own


def read_sidecar(rec: Path, kind: str) -> bytes | None:
    """The bytes of a sidecar, as UTF-8 without a byte order mark; None where there is none. Raises InputError where it
    cannot be read."""
    path = sidecar(rec, kind)
    if not path.is_file():
        return None
    try:
        return utf8(path.read_bytes())
    except OSError as error:
        raise unreadable(path, error, "repair it, or move it away") from error


def parse_index(text: bytes) -> Index:
    """An `.idx` from its bytes, lines of `key\\toffset`; lines of another form go to `bad_lines`."""
    fields = len(text.split(b"\n", 1)[0].split(b"\t"))
    lines = text.count(b"\n") + (not text.endswith(b"\n") and bool(text))
    if fields == 2 and _PLAIN.issuperset(text[:1]) and not text.translate(None, bytes(_PLAIN)):
        numbers = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
        # What is larger than any number of `_LINE` is cut to the largest that 64 bits hold.
        if len(numbers) == 2 * lines == 2 * text.count(b"\t") and numbers.max(initial=0) < _LARGEST:
            return Index(numbers[0::2].copy(), numbers[1::2].copy())
    return _parse_lines(text)


def _parse_lines(text: bytes) -> Index:
    good: list[tuple[int, int]] = []
    bad: list[tuple[int, str]] = []
    at = 0
    for line in text.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match:
            good.append((int(match[1]), int(match[2])))
        elif line.strip():
            bad.append((at, line[:60].decode("utf-8", "backslashreplace")))
        at += len(line) + 1
    numbers = np.array(good, np.int64).reshape(-1, 2)
    return Index(numbers[:, 0].copy(), numbers[:, 1].copy(), bad)


def parse_property(text: bytes) -> Property | None:
    """A `property` file from its bytes; only the first line counts. None where that is not three numbers."""
    match = re.fullmatch(rb"\s*(\d{1,9})\s*,\s*(\d{1,6})\s*,\s*(\d{1,6})\s*", text.split(b"\n", 1)[0])
    return Property(*map(int, match.groups())) if match else None
