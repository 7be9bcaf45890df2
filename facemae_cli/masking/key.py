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
import shlex
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from facemae_cli.data.faces import Name
from facemae_cli.data.files import require_outside, sync_folder
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.runtime.progress import SILENT, Progress

KEY_BYTES = 32
DEFAULT_KEY_FILE = Path("facemae.key")


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
        """The key in the file `path`: 64 hexadecimal digits and a newline, a form that survives a text editor.

        With `create` a missing file is made (mode 0600, never over an existing one) and one notice says so. Raises
        UsageError where the file is missing, is not a key, may be read by group or others, or lies inside one of the
        datasets `outside`; InputError where it cannot be read, OutputError where it cannot be made.
        """
        require_outside(path, outside, "--key")
        try:
            return _read(path)
        except FileNotFoundError:
            if not create:
                raise UsageError(
                    f"no key at {path}; --key FILE names the key that the faces were masked with"
                ) from None
        except OSError as error:
            raise InputError(f"the key {path} cannot be read: {error.strerror}") from error
        return _make(path, progress)

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


def _read(path: Path) -> Key:
    # Non-blocking, so that a named pipe can not hang the program; regular files do not notice.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise UsageError(f"the key {path} is not a file; --key FILE names a file of 64 hexadecimal digits")
        if os.name == "posix" and mode & 0o077:
            way_out = f"run: chmod 600 {shlex.quote(str(path))}"
            raise UsageError(f"the key {path} can be read by others (mode {mode & 0o777:04o}); {way_out}")
        text = os.read(handle, 1024).strip()
    finally:
        os.close(handle)
    if len(text) != 2 * KEY_BYTES or not all(digit in b"0123456789abcdefABCDEF" for digit in text):
        raise UsageError(f"{path} is not a facemae key: it must hold 64 hexadecimal digits and nothing else")
    return Key(bytes.fromhex(text.decode("ascii")))


def _make(path: Path, progress: Progress) -> Key:
    key = Key(secrets.token_bytes(KEY_BYTES))
    try:
        _write_new(path, f"{key.secret.hex()}\n".encode("ascii"))
        sync_folder(path.parent)  # a release whose key is lost can never be audited by name
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"the key {path} cannot be made: there is no folder {path.parent}") from None
    except FileExistsError:
        return _read(path)  # another process made it meanwhile
    except OSError as error:
        raise OutputError(f"the key {path} cannot be made: {error.strerror}") from error
    progress.notice(f"made the key {path} (key_id {key.key_id}): keep it, and keep it secret; only it tells who is who")
    return key


def _write_new(path: Path, content: bytes) -> None:
    """Writes a file that was not there, mode 0600: whole or not at all, and without a copy of the secret beside it
    at any time, where the system has files without a name. Raises OSError."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        handle, named = _open_new(path)
        try:
            os.write(handle, content)
            os.fsync(handle)
            if not named:
                os.link(f"/proc/self/fd/{handle}", path.name, dst_dir_fd=folder, follow_symlinks=True)
        except OSError:
            if named:
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
    finally:
        os.close(folder)


def _open_new(path: Path) -> tuple[int, bool]:
    """A new file, open for writing, and whether it stands at `path` already."""
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with suppress(OSError):  # a file system that has none
            return os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600), False
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), True
