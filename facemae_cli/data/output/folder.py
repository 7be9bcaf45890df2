"""Faces written as a folder of folders, one identity each, with `facemae.json` at the top."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import unicodedata
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from facemae_cli.data.faces import Name
from facemae_cli.data.files import sync_folder, write_all, write_whole
from facemae_cli.data.manifest import Manifest, own_manifest, write_manifest
from facemae_cli.data.output.beside import BESIDE, beside_path, is_beside
from facemae_cli.data.output.names import check_file_name, with_suffix_of
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.errors import FaceError, OutputError, UsageError

SYNC_THREADS = 8  # many files synced at once share the file system's own journal writes: 5 times faster than in turn
MAX_OPEN = 128  # files written and not yet synced
_HASH_BYTES = 8
_BAD_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class FolderWriter:
    """The staged folder. A face is `identity/photo`, or `photo` at the top where its identity is None.

    Two faces that land in one file are `same-name`: the file system decides, so `A.jpg` and `a.jpg` are two files
    where it tells them apart. Where it does not, nor is an identity written that differs from another in case alone:
    two people would become one. No list of the faces is kept: a file is created only where there is none.
    """

    def __init__(self, staged: Path, target: Path, ways: WaysOut = WAYS_OUT) -> None:
        """`ways`: what messages advise."""
        self.faces = staged / "faces"
        self.target = target
        self.ways = ways
        self._pool = ThreadPoolExecutor(SYNC_THREADS, thread_name_prefix="sync")
        self._syncing: deque[Future[None]] = deque()
        self._touched: set[str] = set()
        self._written: list[bytes] = []  # hashes of the paths of this unit
        self._journaled: list[bytes] = []
        self._spellings: dict[str, str] | None = None  # of identities, by what a caseless file system sees

    @property
    def moves(self) -> list[tuple[Path, Path]]:
        """(staged, final) paths; the last is the one whose arrival completes the output."""
        return [(self.faces, self.target)]

    def begin(self) -> None:
        """An empty folder to write into."""
        self.faces.mkdir()
        self._look_at_case()

    def write(self, name: Name, image: bytes) -> None:
        """Stages one face. Raises FaceError (`bad-name`, `same-name`, no image) and OSError."""
        name = Name(name.identity, with_suffix_of(name.photo, image))
        check_file_name(name)
        self._check_spelling(name)
        folder = os.path.join(self.faces, name.identity) if name.identity is not None else str(self.faces)
        path = os.path.join(folder, name.photo)
        try:
            descriptor = self._create(folder, path)
        except FileExistsError as error:
            raise FaceError(
                "same-name", f"{_relative(name)!r} is in the output already: rename one of the two"
            ) from error
        except NotADirectoryError as error:
            raise FaceError(
                "same-name", f"{_relative(name)!r} needs a folder where a photo stands: rename it"
            ) from error
        except OSError as error:
            if error.errno not in _BAD_NAME:
                raise
            self._unmake(folder)
            raise FaceError("bad-name", f"{_relative(name)!r}: {error.strerror}; rename it") from error
        self._written.append(_hash(_relative(name)))
        self._keep_spelling(name.identity)
        try:
            write_all(descriptor, image)
        except BaseException:
            os.close(descriptor)
            raise
        self._syncing.append(self._pool.submit(_sync, descriptor))
        while len(self._syncing) > MAX_OPEN:
            self._syncing.popleft().result()

    def _create(self, folder: str, path: str) -> int:
        self._touched.add(folder)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileNotFoundError:
            self._make(folder)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)

    def _make(self, folder: str) -> None:
        above = os.path.dirname(folder)
        if above != str(self.faces) and not os.path.isdir(above):
            self._make(above)
        self._touched.add(above)
        with suppress(FileExistsError):
            os.mkdir(folder)

    def _unmake(self, folder: str) -> None:
        """Removes the folders that were made for a face which then could not be."""
        with suppress(OSError):  # there are other faces in it
            while folder.startswith(os.path.join(self.faces, "")) and os.path.basename(folder):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def flush(self) -> dict[str, Any]:
        """Makes the unit durable; returns what the journal must hold of it. Raises OSError."""
        while self._syncing:
            self._syncing.popleft().result()
        for done in [self._pool.submit(sync_folder, folder) for folder in self._touched if os.path.isdir(folder)]:
            done.result()
        mark = {"files": base64.b64encode(b"".join(self._written)).decode("ascii")}
        self._touched.clear()
        self._written.clear()
        return mark

    def recall(self, mark: dict[str, Any]) -> None:
        """Takes in what `flush` returned for one unit of an interrupted run, in order. Raises ValueError and KeyError
        for what it did not return."""
        hashes = base64.b64decode(mark["files"], validate=True)
        if len(hashes) % _HASH_BYTES:
            raise ValueError("files of another form")
        self._journaled.append(hashes)

    def restore(self) -> None:
        """Removes what was staged after the last journaled unit. Raises OutputError where a journaled face is gone."""
        known = np.sort(np.frombuffer(b"".join(self._journaled), "<u8"))
        self._journaled.clear()
        found = sum(_holds(known, _hash(_relative(name))) for name, _ in self._staged())
        if found != len(known):
            raise OutputError(
                f"{self.faces}: {len(known) - found} of {len(known)} finished faces are gone: --overwrite starts over"
            )
        self.faces.mkdir(exist_ok=True)  # it may have been stopped before its folder was made
        self._look_at_case()
        for name, path in self._staged():
            if _holds(known, _hash(_relative(name))):
                self._keep_spelling(name.identity)
            else:
                os.unlink(path)
        for at, folders, _ in os.walk(self.faces, topdown=False):
            for inner in folders:
                with suppress(OSError):  # not empty
                    os.rmdir(os.path.join(at, inner))

    def _staged(self) -> Iterator[tuple[Name, str]]:
        """Every file that is staged, with the name it has as a face."""
        for at, _, files in os.walk(self.faces):
            identity = None if at == str(self.faces) else os.path.relpath(at, self.faces)
            yield from ((Name(identity, file), os.path.join(at, file)) for file in files)

    def _look_at_case(self) -> None:
        if _folds_case(self.faces):
            self._spellings = {}

    def _check_spelling(self, name: Name) -> None:
        if self._spellings is not None and name.identity is not None:
            other = self._spellings.get(_folded(name.identity), name.identity)
            if other != name.identity:
                raise FaceError("same-name", f"{name.identity!r} and {other!r} are one folder here: rename one of them")

    def _keep_spelling(self, identity: str | None) -> None:
        if self._spellings is not None and identity is not None:
            self._spellings.setdefault(_folded(identity), identity)

    def add(self, name: str, text: str) -> None:
        """Stages a file for readers. Raises OutputError."""
        write_whole(beside_path(self.faces, name), text, 0o666)

    def seal(self, manifest: Manifest) -> None:
        """Completes the staged folder. Raises OSError and OutputError."""
        write_manifest(self.faces / "facemae.json", manifest)

    def close(self) -> None:
        """Waits for what is under way; stays silent about its errors, since nothing is promised."""
        self._pool.shutdown(wait=True)

    def occupied(self) -> Path | None:
        """What stands where the output will, if anything; an empty folder counts as nothing."""
        if self.target.is_dir() and not any(self.target.iterdir()):
            return None
        return self.target if os.path.lexists(self.target) else None

    def check_replaceable(self) -> None:
        """Raises UsageError unless all that stands in the output's place is an output of ours, and nothing else."""
        if not self.target.is_dir():
            raise UsageError(f"{self.target} is a file, not a dataset: {self.ways.elsewhere_or_removed}")
        if (self.target / "train.rec").is_file():
            raise UsageError(f"{self.target} holds a .rec: use --out {self.target / 'train.rec'} to replace that")
        manifest = own_manifest(self.target)
        if manifest is None:
            raise UsageError(
                f"{self.target} was not made by facemae (no facemae.json of ours in it): "
                + self.ways.elsewhere_or_removed
            )
        faces = 0
        for path, is_face in _files(self.target):
            faces += is_face
            if not is_face:
                raise UsageError(
                    f"{path} is not a face: {self.ways.replacing} would remove it with {self.target}; "
                    + self.ways.or_elsewhere("move it away")
                )
        if faces > manifest.counts["out"]:
            raise UsageError(
                f"{self.target} holds {faces} faces, and its facemae.json speaks of {manifest.counts['out']}: "
                f"{self.ways.replacing} would remove what facemae did not make; "
                + self.ways.or_elsewhere("move that away")
            )


def _files(folder: Path) -> Iterator[tuple[str, bool]]:
    """Files in an old output beside its manifest, pairs and card, and whether each is called like a face."""
    ours = [beside_path(folder, name) for name in BESIDE]
    own = {str(path) for path in (folder / "facemae.json", folder / "pairs.txt", *filter(is_beside, ours))}
    for at, _, files in os.walk(folder):
        for file in files:
            path = os.path.join(at, file)
            if path not in own:
                yield path, os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hash(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(path), digest_size=_HASH_BYTES).digest()


def _holds(known: np.ndarray, digest: bytes) -> bool:
    value = np.frombuffer(digest, "<u8")[0]
    at = int(np.searchsorted(known, value))
    return at < len(known) and known[at] == value


def _relative(name: Name) -> str:
    return name.photo if name.identity is None else f"{name.identity}/{name.photo}"


def _folds_case(folder: Path) -> bool:
    """Whether the file system takes `faces` and `FACES` for one."""
    return folder.with_name(folder.name.swapcase()).exists()


def _folded(identity: str) -> str:
    return unicodedata.normalize("NFC", identity).casefold()
