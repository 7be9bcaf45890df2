"""Who is who in an original and a released dataset: people and photos joined by their names, never by position.

Where a release has pseudonyms, they are computed again from the real names by the steward's key. A face without an
identity stands for a person of its own, known by its photo's name.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource, Name
from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.masking.key import DEFAULT_KEY_FILE, VARIABLE, Key
from facemae_cli.masking.pseudonyms import without_suffix

MIN_JOINED = 0.99  # of the photos that could join; below it, `other photos` would count a query's own reconstruction


@dataclass(frozen=True)
class Names:
    """How the names of two datasets join, as counts.

    `by`: "names" where they are alike on both sides, "key" where pseudonyms were computed, "sources" where a file says
    of whom a face was made, None where nobody joins.
    `people`: on both sides; `only_original`, `only_released`: on one; `empty`: folders of people without any face.
    `joinable`: photos that could join, the smaller number of each person's photos of both sides; `joined`: that do.
    `loose`: faces without an identity, of both sides. `numbered`: whether people are joined by bare numbers.
    """

    by: str | None
    people: int
    only_original: int
    only_released: int
    empty: int
    joinable: int
    joined: int
    loose: int
    numbered: bool

    @property
    def photos_join(self) -> bool:
        """Whether enough photos join to know which are a person's other photos."""
        return self.joinable > 0 and self.joined >= MIN_JOINED * self.joinable

    @property
    def unmatched(self) -> float:
        """The share of people who may be the same under other names: unknown ones of one side and of the other."""
        pairs = min(self.only_original, self.only_released)
        return pairs / (self.people + pairs) if pairs else 0.0

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return {**asdict(self), "photos_join": self.photos_join}

    def lines(self) -> list[str]:
        """The counts for a person."""
        how = {"names": " by their names", "key": " by the key", "sources": " by --sources", None: ""}[self.by]
        known = (
            f"{self.joined} of {self.joinable} photos that released faces were made of are among the originals"
            if self.by == "sources"
            else f"the released faces of {self.joined} of {self.joinable} photos are known"
        )
        lines = [f"{self.people} in both datasets{how}; {known}"]
        aside = {
            "only among the originals": self.only_original,
            "only in the release": self.only_released,
            "folders without a face": self.empty,
            "faces without identity, each taken for a person": self.loose,
        }
        lines += [f"{count} {what}" for what, count in aside.items() if count]
        if self.numbered:
            lines.append("they are bare numbers on both sides: that a number is one person in both is taken on trust")
        return lines


@dataclass(frozen=True)
class Matching:
    """The people of n original and m released faces.

    `real`: (n,), `released`: (m,) int64 numbers of people, equal for the same person. `same_photo`: (n,) int64, the
    released face of the very photo, -1 where none is known. `doubtful`: (n,) bool, photos without one although faces
    of their person in the release have none either: one of these may be theirs. `labels`: by number, what a person is
    called in the release, "" for people who are not in it.

    Where a file says of whom faces were made, `released` only tells who they are filed under in the release, people by
    themselves; `sources`: (m, S) the people each was made of, and `made`: (n, E) the released faces that each photo
    went into, -1 where there are fewer. Elsewhere a face has one source, its person, and these are None.
    """

    real: People
    released: People
    same_photo: People
    doubtful: NDArray[np.bool_]
    labels: Sequence[str]
    names: Names
    sources: People | None = None
    made: People | None = None

    @property
    def shown(self) -> People:
        """(m, S) the people whom each released face leads to, -1 for none."""
        return self.released[:, None] if self.sources is None else self.sources

    @property
    def own_faces(self) -> People:
        """(n, E) the released faces that were made of each photo, -1 for none."""
        return self.same_photo[:, None] if self.made is None else self.made

    @property
    def both(self) -> People:
        """The numbers of the people on both sides, ascending."""
        return np.intersect1d(self.real, self.shown)


def match_names(original: FaceSource, released: FaceSource, key: Key | None, keyed_only: bool = False) -> Matching:
    """Join two datasets by names alike, or by pseudonyms under `key`: whichever joins more people.

    `keyed_only`: the release's names are known to be pseudonyms, so names that are alike mean nothing.
    """
    real = [_normal(original.name(index)) for index in range(len(original))]
    theirs = [_normal(released.name(index)) for index in range(len(released))]
    ways: list[tuple[str, list[Name]]] = [] if keyed_only else [("names", real)]
    if key is not None:
        ways.append(("key", [key.name(name) for name in real]))
    people = {_person(name) for name in theirs}
    photos = {without_suffix(name) for name in theirs}

    def joined(way: tuple[str, list[Name]]) -> tuple[int, int]:
        common = len({_person(name) for name in way[1]} & people)
        return common, sum(without_suffix(name) in photos for name in way[1])

    by, called = max(ways, key=joined, default=("names", [Name(f"\0{at}", "") for at in range(len(real))]))
    return _joined(by, called, theirs, [_empty_folders(source) for source in (original, released)])


def _joined(by: str, real: list[Name], released: list[Name], empty: list[int]) -> Matching:
    numbers: dict[tuple[str, str], int] = {}
    theirs, ours = (
        np.array([numbers.setdefault(_person(name), len(numbers)) for name in side], np.int64)
        for side in (released, real)
    )
    labels = [key[1] for key in dict.fromkeys(map(_person, released))]
    same_photo = _same_photos(real, released)
    count = len(numbers)
    of_person = [np.bincount(side, minlength=count) for side in (ours, theirs)]
    met = np.bincount(theirs[np.unique(same_photo[same_photo >= 0])], minlength=count)
    single = of_person[1] - met  # released faces that are nobody's own
    doubtful = (same_photo < 0) & (single[ours] > 0)
    on_both = (of_person[0] > 0) & (of_person[1] > 0)
    names = Names(
        by=by if on_both.any() else None,
        people=int(on_both.sum()),
        only_original=int(((of_person[0] > 0) & ~on_both).sum()),
        only_released=int(((of_person[1] > 0) & ~on_both).sum()),
        empty=sum(empty),
        joinable=int(np.minimum(*of_person).sum()),
        joined=int(np.minimum(met, np.minimum(*of_person)).sum()),
        loose=sum(name.identity is None for name in (*real, *released)),
        numbered=by == "names" and bool(on_both.any()) and _all_numbers(real) and _all_numbers(released),
    )
    return Matching(ours, theirs, same_photo, doubtful, labels + [""] * (count - len(labels)), names)


def _same_photos(real: list[Name], released: list[Name]) -> People:
    """(n,) the released face that has each name: with its suffix as well, or else without."""
    whole = {name: at for at, name in reversed(list(enumerate(released)))}
    stems = {without_suffix(name): at for at, name in reversed(list(enumerate(released)))}
    found = [whole.get(name, stems.get(without_suffix(name), -1)) for name in real]
    return np.array(found, np.int64).reshape(len(real))


def _normal(name: Name) -> Name:
    identity = None if name.identity is None else unicodedata.normalize("NFC", name.identity)
    return Name(identity, unicodedata.normalize("NFC", name.photo))


def _person(name: Name) -> tuple[str, str]:
    return ("photo", without_suffix(name).photo) if name.identity is None else ("person", name.identity)


def _all_numbers(names: list[Name]) -> bool:
    return all(name.identity is not None and name.identity.isdecimal() for name in names)


def _empty_folders(source: FaceSource) -> int:
    """Folders that hold neither a face nor a folder; hidden ones do not count."""
    if source.kind != "folder" or not source.path.is_dir():
        return 0
    known = {name.identity for name in (source.name(index) for index in range(len(source)))}
    empty = 0
    for at, folders, _ in os.walk(source.path):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        inner = os.path.relpath(at, source.path).replace(os.sep, "/")
        empty += not folders and inner != "." and inner not in known
    return empty


def people_of(source: FaceSource) -> People:
    """(n,) numbers of the people of one dataset, by name."""
    numbers: dict[tuple[str, str], int] = {}
    found = [numbers.setdefault(_person(_normal(source.name(index))), len(numbers)) for index in range(len(source))]
    return np.array(found, np.int64)


def unmeasured(names: Names, key: Key | None) -> list[str]:
    """What cannot be measured for want of names, and what would help, one line each."""
    if not names.people:
        way_out = "--key FILE recomputes pseudonyms" if key is None else "the key does not lead to these names either"
        return [f"nothing that needs to know who is who: nobody is on both sides by name; {way_out}"]
    if not names.photos_join:
        return [
            f"other photos of a person: {names.joined} of {names.joinable} photos join by name, and under "
            f"{MIN_JOINED:.0%} a photo's own reconstruction would be taken for another photo"
        ]
    return []


def find_key(
    path: Path | None, manifest: Manifest | None, datasets: Sequence[Path], join_without: Callable[[], bool]
) -> Key | None:
    """The key in `path`, or in `facemae.key` or FACEMAE_KEY where one is there; None without one.

    `join_without`: whether the datasets' people join as they are, so that a `facemae.key` of other datasets is passed
    over. Raises UsageError for a key whose id is not the release's, and as `Key.load` does.
    """
    file = path or DEFAULT_KEY_FILE
    key = Key.find(file, outside=datasets) if path is None else Key.load(file, outside=datasets)
    if key is None:
        return None
    if manifest is None or manifest.key_id in (None, key.key_id):
        return key
    if path is None and join_without():
        return None
    place = VARIABLE if path is None and not os.path.lexists(file) else file
    raise UsageError(
        f"the key in {place} has key_id {key.key_id}, the release has {manifest.key_id}: --key FILE takes the "
        "release's own"
    )
