"""Of which people each released face was made, where a file says so: a face made of two people leads to either.

The file has the columns `released`, `person` and, where it is known, `photo`, and a row for each source of a face.
Released faces are called as in the release, people and photos as among the originals. A row without a person says that
a face was made of nobody at hand. The first row may be such a one, called by a code that the dataset bears too: then
the file is of no other. The file tells who is in the release, so it stays with the steward.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemae_cli.data.attributes import csv_records
from facemae_cli.data.faces import FaceSource, Name
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.names import one_line
from facemae_cli.data.side_files import SOURCES
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.matching import Matching, Names
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.masking.mixing import SOURCES_CODE, sources_code
from facemae_cli.masking.pseudonyms import without_suffix

Source = tuple[str, str]  # a person and a photo of the person's; "" where that is not said


@dataclass(frozen=True)
class Sources:
    """What the file at `path` says: by released face, called without its suffix, what it was made of; and the `code` of
    its dataset, where `mask` wrote it."""

    path: Path
    rows: Mapping[str, Sequence[Source]]
    code: str | None = None

    def match(self, original: FaceSource, released: FaceSource) -> Matching:
        """Who is who. Raises InputError for released faces without a row, and where nobody is among the originals."""
        real = [original.name(at) for at in range(len(original))]
        people = {label: at for at, label in enumerate(dict.fromkeys(map(_person, real)))}
        photos = {(_person(name), _stem(name.photo)): at for at, name in reversed(list(enumerate(real)))}
        known = len(people)
        made = [
            (face, people.setdefault(person, len(people)), photos.get((person, _own_name(photo)), -1))
            for face, said in enumerate(self.of(released))
            for person, photo in said
            if person
        ]
        if not any(number < known for _, number, _ in made):
            raise InputError(
                f"--sources {one_line(str(self.path))}: none of its {len({number for _, number, _ in made})} people is "
                "among the originals: call people as these do"
            )
        whole = [(face, number) for face, number, at in made]
        own = [(at, face) for face, _, at in made if at >= 0]
        loose = [number for _, number, at in made if at < 0]
        numbers = np.array([people[_person(name)] for name in real], np.int64).reshape(len(real))
        names = _names(known, numbers, made, original, released)
        filed = {label: len(people) + at for at, label in enumerate(_identities(released))}
        own_faces = _rows(own, len(real))
        return Matching(
            numbers,
            np.array([filed[label] for label in _identities(released, each=True)], np.int64).reshape(len(released)),
            own_faces[:, 0],
            (own_faces[:, 0] < 0) & np.isin(numbers, loose),
            [*[""] * len(people), *filed],
            names,
            _rows(whole, len(released)),
            own_faces,
        )

    def of(self, released: FaceSource) -> list[Sequence[Source]]:
        """The rows of each released face: by its whole path, or its own name where no other face has that. Raises
        InputError for faces without a row, and where `mask` wrote the file for another dataset."""
        code = sources_code(read_manifest(released.path))
        if code not in (None, self.code):
            raise InputError(
                f"--sources {one_line(str(self.path))} is not of {one_line(str(released.path))}, but of another run of "
                "mask: give the list that came with this dataset; where that run was stopped, its --resume ends it"
            )
        paths = [_path(released.name(at)) for at in range(len(released))]
        own = Counter(_own_name(path) for path in paths)
        keys = [
            next((key for key in (path, _own_name(path)) if key in self.rows and (key == path or own[key] == 1)), None)
            for path in paths
        ]
        lost = [path for path, key in zip(paths, keys, strict=True) if key is None]
        if lost:
            raise InputError(
                f"--sources {one_line(str(self.path))}: {len(lost)} of {len(paths)} released faces have no row, such "
                f"as {one_line(lost[0])!r}: say of each what it was made of, of nobody by a row without a person"
            )
        return [self.rows[key] for key in keys if key is not None]


def read_sources(path: Path) -> Sources:
    """The file at `path`. Raises InputError for what is not such a file."""
    where = f"--sources {one_line(str(path))}"
    records = csv_records(path, where)
    _, header = next(records, (1, []))
    found = [column.casefold() for column in header]
    if found not in (list(SOURCES), list(SOURCES[:2])):
        raise InputError(f"{where}: the columns are {', '.join(SOURCES)}, the last may be left out; there are {header}")
    rows: dict[str, list[Source]] = {}
    for line, cells in records:
        if len(cells) != len(header) or not cells[0]:
            raise InputError(f"{where}, line {line}: give a released face and its person, under {len(header)} headings")
        face, person, photo = (unicodedata.normalize("NFC", cell) for cell in (*cells, "")[:3])
        rows.setdefault(_stem(face), []).append((person, photo))
    codes = (face.removeprefix(SOURCES_CODE) for face in rows if face.startswith(SOURCES_CODE))
    return Sources(path, rows, next(codes, None))


def _rows(pairs: Sequence[tuple[int, int]], count: int) -> People:
    """(count, S) by the first of each pair, the second ones, each once; -1 where there are fewer than S."""
    lists: list[list[int]] = [[] for _ in range(count)]
    for row, value in dict.fromkeys(pairs):
        lists[row].append(value)
    found = np.full((count, max(map(len, lists), default=0) or 1), -1, np.int64)
    for row, values in enumerate(lists):
        found[row, : len(values)] = values
    return found


def _names(
    known: int, numbers: People, made: Sequence[tuple[int, int, int]], original: FaceSource, released: FaceSource
) -> Names:
    """How the sources join the originals, whose people are the first `known` numbers, as counts; a photo that could
    join is one of a known person's source."""
    there = {number for _, number, _ in made}
    both = sum(number < known for number in there)
    return Names(
        by="sources" if both else None,
        people=both,
        only_original=known - both,
        only_released=len(there) - both,
        empty=0,
        joinable=sum(number < known for _, number, _ in made),
        joined=sum(at >= 0 for _, _, at in made),
        loose=sum(source.name(at).identity is None for source in (original, released) for at in range(len(source))),
        numbered=False,
    )


def _identities(source: FaceSource, each: bool = False) -> list[str]:
    """What people are called in a dataset; of `each` face, or once."""
    said = [_person(source.name(at)) for at in range(len(source))]
    return said if each else list(dict.fromkeys(said))


def _person(name: Name) -> str:
    """What a face's person is called: a face without an identity is one by itself."""
    return unicodedata.normalize("NFC", _stem(name.photo) if name.identity is None else name.identity)


def _path(name: Name) -> str:
    return unicodedata.normalize("NFC", _stem(name.photo if name.identity is None else f"{name.identity}/{name.photo}"))


def _own_name(path: str) -> str:
    return _stem(path.rpartition("/")[2])


def _stem(path: str) -> str:
    return without_suffix(Name(None, path)).photo
