"""What people and photos are called in an output, and in which order they come: by a key, or as they were.

Everything is HMAC-SHA256 under the 32 bytes of the key, told apart by an ASCII word in front:
`key-id`; `identity` + path; `photo` + identity path + NUL + file name; `order` + identity path, and `order` + identity
path + NUL + file name; `cycle` + copy (little-endian u32) + identity path; `mixture` + copy + identity path, and the
same + NUL + file name (`masking.mixing`); `sources` + the list of whom mixed faces are made of; `mask` + height + width
+ RGB bytes (`masking.patches.photo_digest`). Names are NFC UTF-8; a face without an identity has the empty path. A
pseudonym is the first 128 bits in RFC 4648 base32, lower case, unpadded: 26 characters that any file system keeps
apart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from facemae_cli.data.faces import Name
from facemae_cli.data.scan import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Pseudonyms:
    """The names and the order that one secret gives; `masking.key.Key` inherits them. `repr` never shows the secret."""

    secret: bytes = field(repr=False)

    def identity(self, path: str | None) -> str:
        """The pseudonym of a person: nested folders (`a/b`) become one name."""
        return _pseudonym(self._digest(b"identity" + encoded(path)))

    def photo(self, identity: str | None, file_name: str) -> str:
        """The pseudonym of a photo, from its person's path and its file name with suffix; it has no suffix itself."""
        return _pseudonym(self._digest(b"photo" + photo_bytes(identity, file_name)))

    def order(self, identity: str | None, file_name: str | None = None) -> bytes:
        """32 bytes to sort by: of a person, or of one photo among the person's."""
        name = encoded(identity) if file_name is None else photo_bytes(identity, file_name)
        return self._digest(b"order" + name)

    def name(self, name: Name) -> Name:
        """What a face is called in an output; faces without identity stay without."""
        identity = None if name.identity is None else self.identity(name.identity)
        return Name(identity, self.photo(name.identity, name.photo))

    def cycle(self, copy: int, identity: str) -> bytes:
        """32 bytes to sort people by: who is mixed with whom in a copy of the dataset (`masking.mixing`)."""
        return self._digest(b"cycle" + struct.pack("<I", copy) + encoded(identity))

    def mixture(self, copy: int, identity: str, file_name: str | None = None) -> bytes:
        """32 bytes of the mixtures in which a person comes first in a copy of the dataset, or of one such photo."""
        name = encoded(identity) if file_name is None else photo_bytes(identity, file_name)
        return self._digest(b"mixture" + struct.pack("<I", copy) + name)

    def sources(self, table: str) -> str:
        """What binds a list of whom mixed faces are made of to its dataset; it says nothing to who lacks the key."""
        return _pseudonym(self._digest(b"sources" + encoded(table)))

    @staticmethod
    def mixture_name(label: bytes, face: bytes) -> Name:
        """What a mixed face is called in an output, from the bytes of its label and its own."""
        return Name(
            _pseudonym(hashlib.sha256(b"name" + label).digest()), _pseudonym(hashlib.sha256(b"name" + face).digest())
        )

    def _digest(self, message: bytes) -> bytes:
        return hmac.digest(self.secret, message, hashlib.sha256)


def encoded(text: str | None) -> bytes:
    """A name's bytes: NFC UTF-8, so that one name typed on two systems is one name; file names that are not
    valid text keep their undecodable bytes apart as surrogates."""
    return unicodedata.normalize("NFC", text or "").encode("utf-8", "surrogatepass")


def photo_bytes(identity: str | None, file_name: str) -> bytes:
    """The bytes of a photo's name: identity path, NUL, file name, each as `encoded` gives it."""
    return encoded(identity) + b"\0" + encoded(file_name)


def recover_names(names: Iterable[Name], key: Pseudonyms) -> dict[Name, Name]:
    """Who is who in an output: from the name each raw face has there to its real name, in the order of `names`.

    Keys have photo names without suffix, since the output's format decides on that (`Name(identity, stem)`). Of faces
    that get one name there, as where a `.lst` repeats it, the first is told of: `mask` takes it and refuses the others.
    """
    who: dict[Name, Name] = {}
    for name in names:
        who.setdefault(key.name(name), name)
    return who


def without_suffix(name: Name) -> Name:
    """A name less the suffix of an image, if it has one: what `recover_names` calls a face of an output."""
    stem, suffix = os.path.splitext(name.photo)
    return Name(name.identity, stem) if suffix.lower() in IMAGE_SUFFIXES else name


def keyed_order(names: Sequence[Name], key: Pseudonyms) -> tuple[list[int], set[int]]:
    """Numbers of `names` sorted by keyed person, then keyed photo; and those whose name an earlier one has."""
    people = {identity: key.order(identity) for identity in {name.identity for name in names}}
    digests = [(people[name.identity], key.order(*name)) for name in names]
    order = sorted(range(len(names)), key=digests.__getitem__)
    return order, {after for before, after in pairwise(order) if digests[before] == digests[after]}


def kept_order(names: Sequence[Name]) -> tuple[list[int], set[int]]:
    """Numbers of `names` as they come; and those whose name an earlier one has, suffixes left out: an output's
    images all have its own."""
    taken: set[tuple[bytes, bytes]] = set()
    repeated = set()
    for number, name in enumerate(names):
        identity, photo = without_suffix(name)
        place = encoded(identity), encoded(photo)
        if place in taken:
            repeated.add(number)
        taken.add(place)
    return list(range(len(names))), repeated


def _pseudonym(digest: bytes) -> str:
    return base64.b32encode(digest[:16]).decode("ascii").rstrip("=").lower()
