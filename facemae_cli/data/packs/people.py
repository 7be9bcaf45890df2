"""Whether the same people stand in two datasets, as far as their names tell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.packs.source import PackSource

_PSEUDONYM = re.compile(r"[a-z2-7]{26}")  # what `mask` calls people: it tells nothing without the key


def names_in(training: FaceSource) -> frozenset[str]:
    """The names of a dataset's people, as they are compared: in NFC, without case, spaces and underscores alike.

    A number is not a name (the label of a `.rec` without a `.lst`, a folder called 0001), nor is a pseudonym that
    `mask` gave. Of `set/person` or `person/session` each part counts as a name. Empty where names are not known.
    """
    return frozenset(_names(part for path in _identities(training) for part in path.split("/")))


def shared_people(pack: PackSource, names: frozenset[str]) -> int | None:
    """How many of a pack's people are among `names`; None where names are not known on both sides.

    The people of a `.bin` are numbered, so their names are not known.
    """
    verified = set(_names(path.rpartition("/")[2] for path in _identities(pack)))
    return len(verified & names) if verified and names else None


def _identities(source: FaceSource) -> set[str]:
    found = (source.name(index).identity for index in range(len(source)))
    return {identity for identity in found if identity is not None}


def _names(identities: Iterable[str]) -> Iterator[str]:
    for identity in identities:
        name = unicodedata.normalize("NFC", identity).casefold()
        name = unicodedata.normalize("NFC", " ".join(name.replace("_", " ").split()))
        if not name.replace(".", "").replace("-", "").isdecimal() and not _PSEUDONYM.fullmatch(name):
            yield name
