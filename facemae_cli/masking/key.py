"""The steward's key: found, made and told from another, and what masks are made from, by it or by a seed.

Which patches it hides is in `masking.patches`, what people and photos are called under it in `masking.pseudonyms`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.faces import Name
from facemae_cli.data.files import require_outside, sync_folder
from facemae_cli.data.side_files import looks_like_key
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.masking import key_file
from facemae_cli.masking.pseudonyms import Pseudonyms, photo_bytes
from facemae_cli.runtime.progress import SILENT, Progress

KEY_BYTES = 32
DEFAULT_KEY_FILE = Path("facemae.key")
VARIABLE = "FACEMAE_KEY"
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Key(Pseudonyms):
    """A key of 32 secret bytes. It is never shown: neither `repr` nor any message holds it."""

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise UsageError(f"a key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @classmethod
    def load(cls, path: Path, *, outside: Sequence[Path] = (), progress: Progress = SILENT) -> Key:
        """The key that `find` finds. Raises UsageError where the file is missing, and as `find` does."""
        found = cls.find(path, outside=outside, progress=progress)
        if found is None:
            raise UsageError(f"no key at {path}; --key FILE names the key that the faces were masked with")
        return found

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
    def passing(cls) -> Key:
        """A new key, kept nowhere as yet."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def keep(self, path: Path, *, progress: Progress = SILENT) -> Key:
        """This key, kept in the new file `path` (mode 0600, never over an existing one), which one notice says; or the
        key that another process has put there meanwhile.

        Raises UsageError where there is no folder for it, OutputError where it cannot be written there.
        """
        key_file.check_makeable(path)
        return _kept(self, path, progress)

    @property
    def key_id(self) -> str:
        """The key's public mark, 16 hexadecimal digits: equal keys have equal ones, and it says nothing else."""
        return self._digest(b"key-id")[:8].hex()

    @property
    def mask_key(self) -> bytes:
        """The HMAC key of the masks: the key itself, since the word `mask` tells its uses apart."""
        return self.secret


def seed_mask_key(seed: int) -> bytes:
    """The mask key that `--seed N` puts in the place of the key: SHA-256 of `facemae mask seed N`. It is not a
    secret."""
    return hashlib.sha256(b"facemae mask seed " + str(seed).encode("ascii")).digest()


def seed_payload(name: Name) -> bytes:
    """What a seeded permutation is made from: identity path, NUL, file name. Never pixels, so that what a mask hides
    can not influence the mask."""
    return photo_bytes(name.identity, name.photo)


def _parsed(text: bytes, where: str) -> Key:
    if not looks_like_key(text):
        raise UsageError(
            f"{where} is not a facemae key: it must hold {2 * KEY_BYTES} hexadecimal digits and nothing else"
        )
    return Key(bytes.fromhex(text.strip().decode("ascii")))


def _kept(key: Key, path: Path, progress: Progress) -> Key:
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
