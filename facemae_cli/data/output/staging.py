"""The folder beside an output in which it grows: a lock, a journal of what is finished, and the data.

`released/` grows in `released.facemae-part/`, `X.rec` in `X.rec.facemae-part/`, on the same file system, readable by
its owner alone. `lock` is held by flock while a process works, so a killed one holds nothing; what it says marks the
folder as ours, and nothing else of that name is ever entered, cleared or resumed. `journal` has a JSON object per line:
the header, one for each finished unit, and at last `{"sealed": true}`, written when the data is complete and only waits
to be moved into place. Behind each object stands a checksum of it and of all lines before, so that a changed, lost or
moved line is found. A last line without its end was being written when the run was killed, and does not count.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from facemae_cli.data.files import STAGING_SUFFIX, is_aside, make_folder, remove_tree, sync_folder, write_all
from facemae_cli.data.output.beside import BESIDE
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.errors import OutputError, UsageError

__all__ = ["SUFFIX", "DamagedJournal", "Staging", "check_staging"]

SUFFIX = STAGING_SUFFIX
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
# All that a run may leave in its staging folder, besides files half written.
_DATASET = {"faces", "faces.rec", "faces.idx", "faces.lst", "faces.parquet", "property", "facemae.json", *BESIDE}
_OWN = {"lock", "journal", "old", *_DATASET, "run", "run.samples.png"}
_SUM_BYTES = 16


class DamagedJournal(OutputError):
    """A journal that is not as it was written, so that nothing can be gone on with."""

    def __init__(self, path: Path, what: str, ways: WaysOut) -> None:
        super().__init__(f"{path} is damaged {what}: {ways.start_over}")


class Staging:
    """The staging folder of one output, locked. Every method raises OSError where the disk fails."""

    def __init__(self, folder: Path, ways: WaysOut = WAYS_OUT) -> None:
        """Makes the folder, and those it stands in, if they are missing, and locks it; `ways`: what messages advise.

        Raises UsageError at once where another process has it, or where what stands there was not made by us.
        """
        self.folder, self.ways = folder, ways
        self.journal = folder / "journal"
        self._journal: int | None = None
        self._end = 0  # bytes of the journal that count
        self._sum = b""  # checksum of the last line that counts
        self._above = make_folder(folder.parent)
        try:
            self._lock: int | None = _lock(folder, ways)
        except BaseException:
            self._remove_above()
            raise

    @property
    def old(self) -> Path:
        """Where what the output replaces stands while it is being replaced."""
        return self.folder / "old"

    def look(self) -> tuple[dict[str, Any] | None, bool]:
        """The journal's header, None where no run got so far as to write it, and whether the journal is sealed."""
        header, last = None, {}
        for last in self.entries():
            header = header or last
        return header, "sealed" in last

    def entries(self) -> Iterator[dict[str, Any]]:
        """The journal's whole lines, the header first. Raises DamagedJournal where one is not as it was written."""
        self._end, self._sum = 0, b""
        try:
            journal = os.open(self.journal, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        with open(journal, "rb") as file:
            end, before = 0, b""
            for line in file:
                if not line.endswith(b"\n"):
                    break
                entry, before = _parse(line, before)
                if entry is None:
                    raise DamagedJournal(self.journal, f"at byte {end}", self.ways)
                end += len(line)
                self._end, self._sum = end, before
                yield entry

    def begin(self, header: dict[str, Any]) -> None:
        """Clears the folder of an earlier run and starts the journal."""
        self.clear()
        self.append(header)
        sync_folder(self.folder)
        sync_folder(self.folder.parent)

    def append(self, entry: dict[str, Any]) -> None:
        """Adds a line behind those that count; durable on return."""
        if self._journal is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._journal = os.open(self.journal, flags, 0o600)
            os.ftruncate(self._journal, self._end)
            os.lseek(self._journal, self._end, os.SEEK_SET)
        line, after = _line(entry, self._sum)
        write_all(self._journal, line)
        os.fsync(self._journal)
        self._end, self._sum = self._end + len(line), after

    def clear(self) -> None:
        """Removes all but the lock; the journal first, so that a half-cleared folder is never taken for a run."""
        self._close_journal()
        self._end, self._sum = 0, b""
        names = sorted(os.listdir(self.folder), key=lambda name: name != "journal")
        for name in names:
            if name != "lock":
                remove_tree(self.folder / name)

    def close(self) -> None:
        """Ends the use of the folder; it goes if it holds nothing but the lock, and so do those it stands in that were
        made for it and are empty."""
        self._close_journal()
        if self._lock is None:
            return
        with suppress(OSError):
            if set(os.listdir(self.folder)) <= {"lock"}:
                (self.folder / "lock").unlink()
                self.folder.rmdir()
        self._remove_above()
        os.close(self._lock)
        self._lock = None

    def _remove_above(self) -> None:
        with suppress(OSError):  # there is something in it
            for folder in self._above:
                folder.rmdir()

    def _close_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None


def check_staging(folder: Path, ways: WaysOut = WAYS_OUT) -> None:
    """Raises UsageError unless `folder` is not there or was made by us, for an output to grow in; changes nothing."""
    with suppress(FileNotFoundError):
        mode = _own_mode(folder, ways)
        try:
            lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            _require(folder, not os.listdir(folder), ways)
            return
        except OSError:
            raise _not_ours(folder, ways) from None
        try:
            _check_marker(folder, lock, mode, ways)
        finally:
            os.close(lock)


def _own_mode(folder: Path, ways: WaysOut) -> int:
    """The mode of a folder that may be ours by its kind, its owner and what is in it."""
    state = folder.lstat()
    _require(folder, stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid(), ways)
    strange = [name for name in os.listdir(folder) if not (name in _OWN or is_aside(name) or name.startswith(".nfs"))]
    _require(folder, not strange, ways)
    return stat.S_IMODE(state.st_mode)


def _check_marker(folder: Path, lock: int, mode: int, ways: WaysOut) -> bool:
    """Whether the open lock marks the folder as ours; False where it stands alone and does so in part, after a kill.

    Raises UsageError where it is neither.
    """
    _require(folder, stat.S_ISREG(os.fstat(lock).st_mode), ways)
    said = os.pread(lock, 100, 0)
    whole = said == _marker(mode)
    _require(folder, whole or (_marker(mode).startswith(said) and os.listdir(folder) == ["lock"]), ways)
    return whole


def _marker(mode: int) -> bytes:
    """What the lock says. The mode is 0700 where file systems have modes; a folder that was opened up since differs."""
    return b"facemae staging folder, mode %04o\n" % mode


def _require(folder: Path, ours: bool, ways: WaysOut) -> None:
    if not ours:
        raise _not_ours(folder, ways)


def _not_ours(folder: Path, ways: WaysOut) -> UsageError:
    return UsageError(f"{folder} was not made by this facemae: {ways.or_elsewhere('move it away')}")


def _lock(folder: Path, ways: WaysOut) -> int:
    while True:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        path = folder / "lock"
        try:
            check_staging(folder, ways)
            mode = stat.S_IMODE(folder.lstat().st_mode)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except FileNotFoundError:
            if folder.parent.is_dir():
                continue  # the process before us removed the folder as it ended
            raise
        try:
            _hold(descriptor, folder, ways)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    if not _check_marker(folder, descriptor, mode, ways):
                        os.pwrite(descriptor, _marker(mode), 0)
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the lock of a folder that was removed as we took it


def _hold(descriptor: int, folder: Path, ways: WaysOut) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"{folder} is in use by another process: {ways.or_elsewhere('wait for it')}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # a network file system without locks: nobody to ask
            raise


def _line(entry: dict[str, Any], before: bytes) -> tuple[bytes, bytes]:
    """The journal's line of an entry that follows one of checksum `before`, and its own checksum."""
    text = json.dumps(entry, separators=(",", ":")).encode("ascii")
    after = _sum(text, before)
    return text + b"\t" + after + b"\n", after


def _parse(line: bytes, before: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """The entry of a whole line and its checksum; None where they do not belong together."""
    text, _, said = line[:-1].rpartition(b"\t")
    if said != _sum(text, before):
        return None, said
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None, said
    return (entry if isinstance(entry, dict) else None), said


def _sum(text: bytes, before: bytes) -> bytes:
    return hashlib.blake2b(before + b"\t" + text, digest_size=_SUM_BYTES).hexdigest().encode("ascii")
