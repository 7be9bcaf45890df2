"""Whether the same people stand in two datasets, as far as their names tell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.packs.source import PackSource
from facemae_cli.errors import InputError

_PSEUDONYM = re.compile(r"[a-z2-7]{26}")  # what `mask` calls people: it tells nothing without the key

_BY = "\0"  # between a key's id and a pseudonym; in no name


def names_in(training: FaceSource) -> frozenset[str]:
    """The names of a dataset's people, as they are compared: in NFC, without case, spaces and underscores alike.

    A number is not a name (the label of a `.rec` without a `.lst`, a folder called 0001). A pseudonym that `mask` gave
    is one beside those of the same key, where `facemae.json` tells which that was. Of `set/person` or `person/session`
    each part counts as a name. Empty where names are not known.
    """
    parts = (part for path in _identities(training) for part in path.split("/"))
    return frozenset(_names(parts, _key_id(training.path)))


def shared_people(pack: PackSource, names: frozenset[str]) -> int | None:
    """How many of a pack's people are among `names`; None where names are not known on both sides.

    The people of a `.bin` are numbered, so their names are not known.
    """
    folder = pack.path.parent if pack.path.name == "pairs.txt" else pack.path
    verified = set(_names((path.rpartition("/")[2] for path in _identities(pack)), _key_id(folder)))
    return len(verified & names) if {_kind(name) for name in verified} & {_kind(name) for name in names} else None


def _identities(source: FaceSource) -> set[str]:
    found = (source.name(index).identity for index in range(len(source)))
    return {identity for identity in found if identity is not None}


def _names(identities: Iterable[str], key_id: str | None) -> Iterator[str]:
    """The names among these; pseudonyms with the `key_id` that tells those of one key, none where that is not known."""
    for identity in identities:
        name = unicodedata.normalize("NFC", identity).casefold()
        name = unicodedata.normalize("NFC", " ".join(name.replace("_", " ").split()))
        if _PSEUDONYM.fullmatch(name):
            if key_id is not None:
                yield f"{key_id}{_BY}{name}"
        elif not name.replace(".", "").replace("-", "").isdecimal():
            yield name


def _kind(name: str) -> str:
    """Names of one kind can be compared: plain ones, and pseudonyms by one key."""
    return name.partition(_BY)[0] if _BY in name else ""


def _key_id(dataset: Path) -> str | None:
    """That of the key which a dataset's people are called by; None where it does not say, or not as a whole."""
    try:
        manifest = read_manifest(dataset)
    except InputError:
        return None
    return None if manifest is None or manifest.names == "kept" else manifest.key_id
