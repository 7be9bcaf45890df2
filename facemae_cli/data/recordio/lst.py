"""The `.lst` beside a `.rec`: which photo of whom each key is. Both dialects are read, im2rec's is written.

im2rec: `key\\tlabel...\\tpath`, the path relative to the images' root. InsightFace: `aligned\\tpath\\tlabel[...]`,
images numbered from 1 in the order of the lines (unaligned ones without landmarks take no number).
"""

from __future__ import annotations

import codecs
import mmap
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Name
from facemae_cli.data.names import UTF16_MARKS, utf8
from facemae_cli.data.reading import unreadable

_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]|%(?=25|5C|[01][0-9A-F]|7F)")
_ESCAPED = re.compile(r"%(25|5C|[01][0-9A-F]|7F)")
_DRIVE = re.compile(r"[A-Za-z]:(?=\\)")
_NOWHERE = frozenset(("", ".", ".."))  # parts of a path that are no name
_MARK = codecs.BOM_UTF8
_BOX_COLUMNS = 7  # aligned, path, label and box of an InsightFace line; landmarks follow


def line(key: int, label: float, name: Name) -> bytes:
    """One line in im2rec's form, `key\\tlabel\\tidentity/photo\\n`.

    Control characters of a name (a newline, a tab) are written as `%0A`, and so is a back-slash, which elsewhere
    separates folders; a `%` that would read as such, as `%25`.
    """
    path = name.photo if name.identity is None else f"{name.identity}/{name.photo}"
    safe = _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", path)
    digits = str(int(label)) if label == int(label) else repr(float(label))
    return f"{key}\t{digits}\t{safe}\n".encode("utf-8", "surrogateescape")


class Lst:
    """An opened `.lst`: names are looked up by key, in the file, so that one of 42 million lines can be open.

    `text`: the file's bytes, in UTF-8."""

    def __init__(self, path: Path) -> None:
        """Raises InputError where the file cannot be read."""
        self.path = path
        self.text = _open(path)
        self._starts = _line_starts(self.text)
        first = self._fields(0) if len(self._starts) else []
        self.dialect = "im2rec" if len(first) > 2 and _is_number(first[1]) else "insightface"
        if self.dialect == "im2rec":
            keys = _leading_numbers(self.text, self._starts)
            order = np.argsort(keys, kind="stable")[np.count_nonzero(keys < 0) :]
            self._keys, self._starts = keys[order], self._starts[order]
        else:
            kept = [i for i in range(len(self._starts)) if _has_number(self._fields(i))]
            self._starts = self._starts[kept]
            self._keys = np.arange(1, len(kept) + 1, dtype=np.int64)
        self._first = int(self._keys[0]) if len(self._keys) else 0
        self._dense = len(self._keys) > 0 and int(self._keys[-1]) - self._first == len(self._keys) - 1
        self._root = self._common_root()

    def __len__(self) -> int:
        """How many keys it names."""
        return len(self._keys)

    def __reduce__(self) -> tuple[type[Lst], tuple[Path]]:
        return Lst, (self.path,)

    def name(self, key: int, label: float) -> Name | None:
        """The identity and photo of `key`; None where no line names it, or the line is of another label.

        Back-slashes separate folders as slashes do. Where all paths are absolute, or begin with `..`, what they have in
        common is left out. What leads elsewhere after that names nobody, since it comes from a file nobody vouches for.
        """
        at = self._row(key)
        if at is None:
            return None
        fields = self._fields(at)
        if len(fields) < 3:
            return None
        if not _says(fields[1] if self.dialect == "im2rec" else fields[2], label):
            return None
        return _split(_with_slashes(self._path(fields)).removeprefix(self._root))

    def _row(self, key: int) -> int | None:
        """Where `key` stands; keys without a gap, as they mostly are, need no search."""
        if not len(self._keys):
            return None
        at = key - self._first if self._dense else int(np.searchsorted(self._keys, key))
        return at if 0 <= at < len(self._keys) and self._keys[at] == key else None

    def _fields(self, row: int) -> list[str]:
        start = int(self._starts[row])
        end = self.text.find(b"\n", start)
        raw = self.text[start : end if end >= 0 else len(self.text)]
        return raw.decode("utf-8", "surrogateescape").rstrip("\r").split("\t")

    def _path(self, fields: list[str]) -> str:
        return fields[-1] if self.dialect == "im2rec" else fields[1]

    def _common_root(self) -> str:
        """The folder above all identities where no path begins in the images' folder, with its `/`; else nothing."""
        root: str | None = None
        for row in range(len(self._starts)):
            path = _with_slashes(self._path(self._fields(row)))
            if not path.startswith(("/", "../")):
                return ""
            above = os.path.dirname(os.path.dirname(path))
            if root is not None and root.startswith("/") != above.startswith("/"):
                return ""
            root = above if root is None else os.path.commonpath([root, above])
        return "" if root is None else root.rstrip("/") + "/"


def _open(path: Path) -> bytes | mmap.mmap:
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""
            text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return utf8(text[:]) if text[:2] in UTF16_MARKS else text
    except OSError as error:
        raise unreadable(path, error, "repair it, or move it away") from error


def _line_starts(text: bytes | mmap.mmap) -> NDArray[np.int64]:
    """Byte offset of every line that is not empty."""
    data = np.frombuffer(text, np.uint8)
    first = len(_MARK) if text[: len(_MARK)] == _MARK else 0
    starts = np.append(first, np.flatnonzero(data == ord("\n")) + 1).astype(np.int64)
    starts = starts[starts < len(data)]
    return starts[data[starts] != ord("\n")]


def _leading_numbers(text: bytes | mmap.mmap, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The key every line starts with; -1 where it starts with none."""
    data = np.frombuffer(text, np.uint8)
    keys = np.zeros(len(starts), np.int64)
    length = np.zeros(len(starts), np.int64)
    going = np.ones(len(starts), bool)
    for column in range(19):
        digit = data[np.minimum(starts + column, len(data) - 1)] - np.uint8(ord("0"))
        going &= (digit < 10) & (starts + column < len(data))
        keys[going] = keys[going] * 10 + digit[going]
        length += going
    after = data[np.minimum(starts + length, len(data) - 1)]
    keys[(length == 0) | (length > 18) | (after != ord("\t"))] = -1
    return keys


def _has_number(fields: list[str]) -> bool:
    """Whether InsightFace's packer gave the line of an image a number."""
    return len(fields) >= 3 and (fields[0].strip() not in ("", "0") or len(fields) > _BOX_COLUMNS)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _with_slashes(path: str) -> str:
    """A path as Windows writes it, `C:\\ann\\1.jpg` or `\\\\server\\ann\\1.jpg`, with slashes; `./` is left out."""
    if "\\" in path:
        path = _DRIVE.sub("", path, count=1).replace("\\", "/")
        path = path[1:] if path.startswith("//") else path
    return path.removeprefix("./")


def _says(stated: str, label: float) -> bool:
    """Whether a line's number is the label, which is a float32."""
    try:
        number = float(stated)
    except ValueError:
        return False
    if number == label:
        return True
    with np.errstate(over="ignore"):  # numbers too large for a label are infinite, and no label is
        return bool(np.float32(number) == np.float32(label))


def _split(path: str) -> Name | None:
    parts = path.split("/")
    if "%" in path:
        parts = [_ESCAPED.sub(lambda found: chr(int(found[1], 16)), part) for part in parts]
        if any("/" in part for part in parts):
            return None
    if not _NOWHERE.isdisjoint(parts) or "\x00" in "".join(parts):
        return None
    return Name("/".join(parts[:-1]) or None, parts[-1])
