"""What a CSV file says of people or photos: groups to report by, or attributes that might be inferred.

Its first row names the columns. One is the key: `name` (also `identity`, `person`) for people, `photo` (also `file`,
`path`, `image`) for photos, as `identity/photo` with or without its suffix, or the photo's own name where only one has
it; where both are there, the key is their path. The other columns hold values; an empty cell is an unknown value.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Name
from facemae_cli.data.names import one_line
from facemae_cli.data.reading import read_small
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.errors import InputError

NAME_COLUMNS = ("name", "identity", "person")
PHOTO_COLUMNS = ("photo", "file", "path", "image")
DELIMITERS = (",", ";", "\t", "|")
MOST_BYTES = 2**26
MOST_VALUES = 50  # a column with more does not name groups
UNKNOWN = -1


@dataclass(frozen=True)
class Column:
    """One column over n faces: `codes` (n,) int64 number its `values`, UNKNOWN where the file does not say."""

    name: str
    values: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Attributes:
    """The columns over a dataset's faces; `rows`: of the file, `unmatched`: of these, rows that name nobody here;
    `faces`: of the dataset, `without`: of these, faces without a row."""

    path: Path
    columns: tuple[Column, ...]
    rows: int
    unmatched: int
    faces: int
    without: int

    def lines(self, name: str = "") -> list[str]:
        """What did not match, for a person; empty where all did. The file goes by `name`, or else by its path."""
        where, said = name or one_line(str(self.path)), []
        if self.unmatched:
            said.append(f"{where}: {self.unmatched} of {self.rows} rows name nobody in the dataset")
        if self.without:
            said.append(f"{where}: {self.without} of {self.faces} faces have no row, and are in no group")
        return said


@dataclass(frozen=True)
class AttributeTable:
    """A file's `rows`: by the key in NFC, the values of its `columns`. `keys`: "name" or "photo"."""

    path: Path
    keys: str
    columns: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]

    def of(self, names: Sequence[Name]) -> Attributes:
        """The columns over faces of these names. Raises InputError where no row names any of them."""
        found = [self._key(name) for name in names] if self.keys == "name" else self._photos(names)
        used = {key for key in found if key is not None}
        if names and not used:
            example, whom = one_line(next(iter(self.rows), "")), "person" if self.keys == "name" else "photo"
            raise InputError(
                f"{one_line(str(self.path))}: none of its {len(self.rows)} rows, such as {example!r}, names a {whom} "
                "of the dataset: give names as the dataset has them"
            )
        columns = tuple(self._column(at, found) for at in range(len(self.columns)))
        without = sum(key is None for key in found)
        return Attributes(self.path, columns, len(self.rows), len(self.rows) - len(used), len(names), without)

    def _key(self, name: Name) -> str | None:
        key = None if name.identity is None else unicodedata.normalize("NFC", name.identity)
        return key if key in self.rows else None

    def _photos(self, names: Sequence[Name]) -> list[str | None]:
        """The key of each photo: its whole path, with its suffix or without, or its own name, if no other has it."""
        paths = [_normal(name.photo if name.identity is None else f"{name.identity}/{name.photo}") for name in names]
        own = Counter(_stem(path.rpartition("/")[2]) for path in paths)

        def keys(path: str) -> Iterator[str]:
            bare = path.rpartition("/")[2]
            yield from (path, _stem(path))
            if own[_stem(bare)] == 1:
                yield from (bare, _stem(bare))

        by_stem = {_stem(key): key for key in self.rows}
        return [next((by_stem[key] for key in map(_stem, keys(path)) if key in by_stem), None) for path in paths]

    def _column(self, at: int, found: Sequence[str | None]) -> Column:
        said = ["" if key is None else self.rows[key][at] for key in found]
        values = tuple(sorted({value for value in said if value}))
        place = {value: code for code, value in enumerate(values)}
        return Column(self.columns[at], values, np.array([place.get(value, UNKNOWN) for value in said], np.int64))


def read_attributes(path: Path, option: str) -> AttributeTable:
    """The file at `path`, which `option` named: UTF-8 or, with its mark, UTF-16; separated by commas, semicolons, tabs
    or bars. Raises InputError for what is not such a file, for a key that is there twice, and for a column of more than
    MOST_VALUES values."""
    where = f"{option} {one_line(str(path))}"
    records = list(csv_records(path, where))
    if len(records) < 2:
        raise InputError(
            f"{where} has no rows below its headings: name the columns in the first row, then one row each"
        )
    _, header = records[0]
    keys, at = _key_columns(header, where)
    columns = [place for place in range(len(header)) if place not in at]
    rows: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for line, cells in records[1:]:
        if len(cells) != len(header):
            raise InputError(f"{where}, line {line}: {len(cells)} cells under {len(header)} headings")
        if not all(cells[place] for place in at):
            raise InputError(f"{where}, line {line}: no {header[at[0]]}")
        key = _normal("/".join(cells[place] for place in at))
        same = key if keys == "name" else _stem(key)
        if same in lines:
            raise InputError(
                f"{where}, line {line}: {one_line(key)!r} is there already, on line {lines[same]}: give one"
            )
        lines[same], rows[key] = line, tuple(cells[place] for place in columns)
    for place, column in enumerate(columns):
        values = len({row[place] for row in rows.values()} - {""})
        if values > MOST_VALUES:
            raise InputError(
                f"{where}: column {header[column]!r} has {values} values, more than {MOST_VALUES}: write groups, such "
                "as 20-29 for an age, or leave the column out"
            )
    return AttributeTable(path, keys, tuple(header[column] for column in columns), rows)


def csv_records(path: Path, where: str) -> Iterator[tuple[int, list[str]]]:
    """The line each record of a CSV file ends on, and its cells, stripped; empty ones are passed over. `where` is what
    an error calls it. The file is as `read_attributes` takes it. Raises InputError for another."""
    yield from _records(_text(path, where), where)


def _text(path: Path, where: str) -> str:
    data = read_small(path, where, MOST_BYTES, "give a CSV file")
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"{where}, line {line}, is not {coding.removesuffix('-sig')}: save it as CSV in UTF-8"
        ) from None
    if "\0" in text:
        raise InputError(f"{where} holds NUL characters: give a CSV file")
    return text


def _records(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:  # a line of Excel's
        delimiter, text, skipped = first.strip()[4], rest, 1
    else:
        delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num + skipped, stripped
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num + skipped}: {error}") from None


def _key_columns(header: Sequence[str], where: str) -> tuple[str, list[int]]:
    """What the keys are, and the places of the columns that make them."""
    lower = [column.casefold() for column in header]
    if "" in lower or len(set(lower)) < len(lower):
        raise InputError(f"{where}: columns need names, each its own; there are {one_line(', '.join(header))}")
    people, photos = ([at for at, name in enumerate(lower) if name in known] for known in (NAME_COLUMNS, PHOTO_COLUMNS))
    if len(people) > 1 or len(photos) > 1 or not (people or photos):
        raise InputError(
            f"{where}: one column must be called name, for people, or photo, for photos; there are "
            f"{one_line(', '.join(header))}"
        )
    if len(header) == len(people) + len(photos):
        raise InputError(f"{where} has no column beside {one_line(', '.join(header))}: add one that says the group")
    return ("photo" if photos else "name"), people + photos


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _stem(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    return stem if suffix.lower() in IMAGE_SUFFIXES else path
