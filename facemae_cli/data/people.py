"""Whether the same people stand in two datasets, as far as their names tell."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.packs import PackSource

_PSEUDONYM = re.compile(r"[a-z2-7]{26}")  # what `mask` calls people: it tells nothing without the key


def shared_people(pack: PackSource, training: FaceSource) -> int | None:
    """How many of a pack's people are in `training` too, by name; None where names are not known on both sides.

    Names are compared in NFC, without case, spaces and underscores alike. A number is no name: neither the label of a
    `.rec` without a `.lst`, nor the people of a `.bin`, nor a folder called 0001. Of `set/person` or `person/session`
    in `training` each part counts as a name.
    """
    verified = set(_names(path.rpartition("/")[2] for path in _identities(pack)))
    trained = set(_names(part for path in _identities(training) for part in path.split("/")))
    return len(verified & trained) if verified and trained else None


def _identities(source: FaceSource) -> set[str]:
    found = (source.name(index).identity for index in range(len(source)))
    return {identity for identity in found if identity is not None}


def _names(identities: Iterable[str]) -> Iterator[str]:
    """What of `identities` are names, in the form in which they are compared."""
    for identity in identities:
        name = unicodedata.normalize("NFC", identity).casefold()
        name = unicodedata.normalize("NFC", " ".join(name.replace("_", " ").split()))
        if not name.replace(".", "").replace("-", "").isdecimal() and not _PSEUDONYM.fullmatch(name):
            yield name
