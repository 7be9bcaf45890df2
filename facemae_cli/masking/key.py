"""The steward's key: which patches are hidden, what people and photos are called in an output, and in which order.

Everything is HMAC-SHA256 under the 32 bytes of the key, told apart by an ASCII word in front (design, section 3):
`key-id`; `identity` + path; `photo` + identity path + NUL + file name; `order` + identity path, and `order` + identity
path + NUL + file name; `mask` + height + width + RGB bytes (see `masking.permutation`). Names are NFC UTF-8; a face
without an identity has the empty path. A pseudonym is the first 128 bits in RFC 4648 base32, lower case, unpadded:
26 characters that any file system keeps apart.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from facemae_cli.data.faces import Name
from facemae_cli.data.files import require_outside, sync_folder
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.data.side_files import looks_like_key
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.masking import key_file
from facemae_cli.runtime.progress import SILENT, Progress

KEY_BYTES = 32
DEFAULT_KEY_FILE = Path("facemae.key")
VARIABLE = "FACEMAE_KEY"
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Key:
    """A key of 32 secret bytes. It is never shown: neither `repr` nor any message holds it."""

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise UsageError(f"a key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def load(
        cls, path: Path, *, create: bool = False, outside: Sequence[Path] = (), progress: Progress = SILENT
    ) -> Key:
        """The key that `find` finds. With `create` a missing file is made, as `make` does.

        Raises UsageError where the file is missing, and as `find` and `make` do.
        """
        found = cls.find(path, outside=outside, progress=progress)
        if found is None and not create:
            raise UsageError(f"no key at {path}; --key FILE names the key that the faces were masked with")
        return found or cls.make(path, progress=progress)

    @classmethod
    def find(cls, path: Path, *, outside: Sequence[Path] = (), progress: Progress = SILENT) -> Key | None:
        """The key at `path`: 64 hexadecimal digits and a newline, a form that survives a text editor.

        `path` is a file, `-` for standard input, or a pipe such as /dev/fd/3; for `facemae.key`, the default, the
        variable FACEMAE_KEY may hold the digits. None where there is no such file. Raises UsageError where it is not a
        key, may be read by group or others, lies inside one of the datasets `outside` or is not the one in FACEMAE_KEY;
        InputError where it cannot be read. Where the mode of a file cannot be changed, one notice says so.
        """
        if str(path) == STANDARD_INPUT:
            key_file.require_one_rank(path)
            return _parsed(key_file.read_stream(0, path), "standard input")
        require_outside(path, outside, "--key")
        held = os.environ.get(VARIABLE) if path == DEFAULT_KEY_FILE else None
        try:
            found = _parsed(key_file.read_text(path, progress), str(path))
        except FileNotFoundError:
            found = None
        except OSError as error:
            raise InputError(f"the key {path} cannot be read: {error.strerror}") from error
        if held is None:
            return found
        key = _parsed(held.encode("utf-8", "surrogateescape"), VARIABLE)
        if found not in (None, key):
            raise UsageError(f"{VARIABLE} and {path} are two keys: unset {VARIABLE}, or move the file away")
        progress.notice(f"the key is the one in {VARIABLE} (key_id {key.key_id})")
        return key

    @classmethod
    def make(cls, path: Path, *, progress: Progress = SILENT) -> Key:
        """A new key in the new file `path` (mode 0600, never over an existing one); one notice says so.

        Raises UsageError where there is no folder for it, OutputError where it cannot be written there.
        """
        key_file.check_makeable(path)
        return _make(path, progress)

    @classmethod
    def passing(cls) -> Key:
        """A key that is kept nowhere, to try with."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def key_id(self) -> str:
        """The key's public mark, 16 hexadecimal digits: equal keys have equal ones, and it says nothing else."""
        return self._digest(b"key-id")[:8].hex()

    @property
    def mask_key(self) -> bytes:
        """The HMAC key of the masks: the key itself, since the word `mask` tells its uses apart."""
        return self.secret

    def identity(self, path: str | None) -> str:
        """The pseudonym of a person: nested folders (`a/b`) become one name."""
        return _pseudonym(self._digest(b"identity" + encoded(path)))

    def photo(self, identity: str | None, file_name: str) -> str:
        """The pseudonym of a photo, from its person's path and its file name with suffix; it has no suffix itself."""
        return _pseudonym(self._digest(b"photo" + _photo_bytes(identity, file_name)))

    def order(self, identity: str | None, file_name: str | None = None) -> bytes:
        """32 bytes to sort by: of a person, or of one photo among the person's."""
        name = encoded(identity) if file_name is None else _photo_bytes(identity, file_name)
        return self._digest(b"order" + name)

    def name(self, name: Name) -> Name:
        """What a face is called in an output; faces without identity stay without."""
        identity = None if name.identity is None else self.identity(name.identity)
        return Name(identity, self.photo(name.identity, name.photo))

    def _digest(self, message: bytes) -> bytes:
        return hmac.digest(self.secret, message, hashlib.sha256)


def encoded(text: str | None) -> bytes:
    """A name's bytes: NFC UTF-8, so that one name typed on two systems is one name; file names that are not
    valid text keep their undecodable bytes apart as surrogates."""
    return unicodedata.normalize("NFC", text or "").encode("utf-8", "surrogatepass")


def seed_mask_key(seed: int) -> bytes:
    """The mask key that `--seed N` puts in the place of the key: SHA-256 of `facemae mask seed N`. It is not a
    secret."""
    return hashlib.sha256(b"facemae mask seed " + str(seed).encode("ascii")).digest()


def seed_payload(name: Name) -> bytes:
    """What a seeded permutation is made from: identity path, NUL, file name. Never pixels, so that what a mask hides
    can not influence the mask."""
    return _photo_bytes(name.identity, name.photo)


def recover_names(names: Iterable[Name], key: Key) -> dict[Name, Name]:
    """Who is who in an output: from the name each raw face has there to its real name.

    Keys have photo names without suffix, since the output's format decides on that (`Name(identity, stem)`).
    """
    return {key.name(name): name for name in names}


def without_suffix(name: Name) -> Name:
    """A name less the suffix of an image, if it has one: what `recover_names` calls a face of an output."""
    stem, suffix = os.path.splitext(name.photo)
    return Name(name.identity, stem) if suffix.lower() in IMAGE_SUFFIXES else name


def keyed_order(names: Sequence[Name], key: Key) -> tuple[list[int], set[int]]:
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


def _photo_bytes(identity: str | None, file_name: str) -> bytes:
    return encoded(identity) + b"\0" + encoded(file_name)


def _pseudonym(digest: bytes) -> str:
    return base64.b32encode(digest[:16]).decode("ascii").rstrip("=").lower()


def _parsed(text: bytes, where: str) -> Key:
    if not looks_like_key(text):
        raise UsageError(
            f"{where} is not a facemae key: it must hold {2 * KEY_BYTES} hexadecimal digits and nothing else"
        )
    return Key(bytes.fromhex(text.strip().decode("ascii")))


def _make(path: Path, progress: Progress) -> Key:
    key = Key(secrets.token_bytes(KEY_BYTES))
    try:
        key_file.write_new(path, f"{key.secret.hex()}\n".encode("ascii"))
        sync_folder(path.parent)  # a release whose key is lost can never be audited by name
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"the key {path} cannot be made: there is no folder {path.parent}") from None
    except FileExistsError:
        return _parsed(key_file.read_text(path, progress), str(path))  # another process made it meanwhile
    except OSError as error:
        raise OutputError(f"the key {path} cannot be made: {error.strerror}; {key_file.WAYS}") from error
    progress.notice(f"made the key {path} (key_id {key.key_id}): keep it, and keep it secret; only it tells who is who")
    return key
