"""Lists of people and photos that a dataset must not hold: whose consent was never given, or is withdrawn."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.faces import FaceSource, Name, no_faces
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.names import one_line
from facemae_cli.data.reading import read_small
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.data.subset import Subset
from facemae_cli.errors import InputError, UsageError
from facemae_cli.masking.key import Key
from facemae_cli.masking.pseudonyms import without_suffix

MAX_BYTES = 2**26
_BLANK = "/ \t\r\n"
_SUFFIXES = ("", *sorted({made for suffix in IMAGE_SUFFIXES for made in (suffix, suffix.upper())}))


@dataclass(frozen=True)
class PeopleList:
    """A text file of a person, a folder of people or a photo per line, as the raw dataset calls them: `Ann Smith`,
    `Ann Smith/holiday.jpg`. Spaces at the ends of a line count where somebody is called so; a newline in a name is
    written as %0A, as in a `.lst`. `lines` are in NFC, empty ones left out."""

    path: Path
    lines: tuple[str, ...]

    @classmethod
    def read(cls, path: Path, option: str) -> PeopleList:
        """The list at `path`, in UTF-8. Raises InputError where it cannot be read, and where nobody is in it."""
        data = read_small(path, f"{option} {path}", MAX_BYTES, "give a text file of one name per line")
        try:
            text = unicodedata.normalize("NFC", data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise InputError(f"{option} {path} is not UTF-8: save it as such, one name per line") from None
        lines = tuple(dict.fromkeys(line.rstrip("\r").strip("/") for line in text.split("\n") if line.strip(_BLANK)))
        if not lines:
            raise InputError(f"{option} {path} names nobody: write one person or photo per line")
        return cls(path, lines)

    @property
    def digest(self) -> str:
        """Equal for lists of the same people and photos, in whatever order."""
        return hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest()

    def find(self, names: Sequence[Name], key: Key | None, raw: Sequence[Name] = ()) -> dict[str, set[int]]:
        """For each line the numbers of the `names` it means, as they are or as `key` calls them; often none.

        Under `key` a person's subfolder is somebody of their own: those below a line are known by the `raw` names."""
        places, below = _Places(names), _below(raw)

        def called(name: str) -> set[int]:
            keyed = places.keyed(name, [name, *below.get(name, ())], key) if key is not None else set[int]()
            return places.called(name) | keyed

        return {line: next(filter(None, map(called, _spellings(line))), set[int]()) for line in self.lines}

    def require_found(self, found: Sequence[str], option: str, where: str) -> None:
        """Raises UsageError for a line that is not among `found`: who is misspelt would stay in the dataset."""
        if missing := [line for line in self.lines if line not in found]:
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UsageError(
                f"{option} {self.path}: {one_line(missing[0][:80])!r}{more} matches nobody in {where}: a person is "
                "named as their folder below it, a photo as folder/file; correct the line or remove it"
            )


class _Places:
    """Where each person's and photo's face stands among `names`."""

    def __init__(self, names: Sequence[Name]) -> None:
        self.people: dict[str, set[int]] = {}
        self.photos: dict[Name, set[int]] = {}
        for number, name in enumerate(names):
            stem = without_suffix(name)
            known = Name(_normal(stem.identity), _normal(stem.photo) or "")
            self.photos.setdefault(known, set()).add(number)
            for folder in _with_parents(known.identity):
                self.people.setdefault(folder, set()).add(number)

    def called(self, line: str) -> set[int]:
        photo = without_suffix(_photo(line))
        return self.people.get(line, set()) | self.photos.get(photo, set())

    def keyed(self, line: str, folders: Sequence[str], key: Key) -> set[int]:
        """By pseudonyms: of the `folders` that a line means as a person, or of a photo, which is made from a file's
        whole name, so that any suffix of an image is tried."""
        photo = _photo(line)
        identity = None if photo.identity is None else key.identity(photo.identity)
        names = {Name(identity, key.photo(photo.identity, photo.photo + suffix)) for suffix in _SUFFIXES}
        people = (self.people.get(key.identity(folder), set()) for folder in folders)
        return set[int]().union(*people, *(self.photos.get(name, set()) for name in names))


def _with_parents(identity: str | None) -> Iterator[str]:
    """`a/b/c`, `a/b`, `a`."""
    while identity:
        yield identity
        identity = os.path.dirname(identity)


def _spellings(line: str) -> dict[str, None]:
    """What a line may mean, the first that is somebody: as it is, less spaces at its ends, and with newlines."""
    escaped = re.sub("%0([AD])", lambda found: {"A": "\n", "D": "\r"}[found[1]], line)
    return dict.fromkeys((line, line.strip().strip("/"), escaped))


def _below(names: Sequence[Name]) -> dict[str, list[str]]:
    """By folder, the folders of people that lie below it."""
    below: dict[str, list[str]] = {}
    for identity in dict.fromkeys(_normal(name.identity) for name in names):
        for folder in _with_parents(identity and os.path.dirname(identity)):
            below.setdefault(folder, []).append(identity or "")
    return below


def _photo(line: str) -> Name:
    identity, _, photo = line.rpartition("/")
    return Name(identity or None, photo)


def is_photo(line: str) -> bool:
    """Whether a line is called like a photo, not like a folder."""
    name = _photo(line.strip())
    return without_suffix(name) != name


def _normal(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


def raw_names(source: FaceSource, option: str) -> list[Name]:
    """The names that a raw dataset gives its faces, from which pseudonyms are made. Raises UsageError for a dataset
    that was masked, whose names may be pseudonyms already, and InputError for one without faces."""
    manifest = read_manifest(source.path)
    if manifest is not None and (manifest.key_id is not None or manifest.mask_ratio is not None):
        raise UsageError(
            f"{option} {source.path} holds faces that were masked: give the raw dataset, whose names are the people's"
        )
    if not len(source):
        raise InputError(f"{option} {no_faces(source, 'give the raw dataset')}")
    return [source.name(index) for index in range(len(source))]


def without_people(source: FaceSource, path: Path, option: str) -> tuple[FaceSource, int]:
    """`source` without those whom the list at `path` names, and how many faces that leaves out.

    Raises InputError as `PeopleList.read` does, and UsageError where a line names nobody or nobody is left.
    """
    people = PeopleList.read(path, option)
    found = people.find([source.name(index) for index in range(len(source))], None)
    people.require_found([line for line, faces in found.items() if faces], option, str(source.path))
    left_out = set[int]().union(*found.values())
    if len(left_out) == len(source):
        raise UsageError(f"{option} {path} names everybody in {source.path}: nobody would be left")
    return Subset(source, left_out), len(left_out)
