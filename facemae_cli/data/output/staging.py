"""The folder beside an output in which it grows: a lock, a journal of what is finished, and the data.

`released/` grows in `released.facemae-part/`, `X.rec` in `X.rec.facemae-part/`, on the same file system, readable by
its owner alone. `lock` is held by flock while a process works, so a killed one holds nothing. `journal` has one JSON
object a line: the header, one for each finished unit, and at last `{"sealed": true}`, written when the data is complete
and only waits to be moved into place. A last line without its end was being written when the run was killed, and does
not count.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from facemae_cli.data.files import remove_tree, sync_folder
from facemae_cli.errors import OutputError, UsageError

SUFFIX = ".facemae-part"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Staging:
    """The staging folder of one output, locked. Every method raises OSError where the disk fails."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder if it is missing and locks it. Raises UsageError at once where another process has it."""
        self.folder = folder
        self._journal: int | None = None
        self._end = 0  # bytes of the journal that count
        self._lock: int | None = _lock(folder)

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
        """The journal's whole lines, the header first. Raises OutputError where one in the middle is damaged."""
        try:
            file = (self.folder / "journal").open("rb")
        except FileNotFoundError:
            return
        with file:
            end = 0
            for line in file:
                entry = _parse(line)
                if entry is None:
                    if file.read(1):
                        raise OutputError(f"{file.name} is damaged at byte {end}: start over with --overwrite")
                    break
                end += len(line)
                self._end = end
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
            self._journal = os.open(self.folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._journal, self._end)
            os.lseek(self._journal, self._end, os.SEEK_SET)
        line = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        view = memoryview(line)
        while view:
            view = view[os.write(self._journal, view) :]
        os.fsync(self._journal)
        self._end += len(line)

    def clear(self) -> None:
        """Removes all but the lock; the journal first, so that a half-cleared folder is never taken for a run."""
        self._close_journal()
        self._end = 0
        names = sorted(os.listdir(self.folder), key=lambda name: name != "journal")
        for name in names:
            if name != "lock":
                remove_tree(self.folder / name)

    def leave(self) -> None:
        """Ends the use of the folder; it goes if it holds nothing but the lock."""
        self._close_journal()
        if self._lock is None:
            return
        with suppress(OSError):
            if set(os.listdir(self.folder)) <= {"lock"}:
                (self.folder / "lock").unlink()
                self.folder.rmdir()
        os.close(self._lock)
        self._lock = None

    def _close_journal(self) -> None:
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None


def _lock(folder: Path) -> int:
    while True:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        path = folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            if folder.parent.is_dir():
                continue  # the process before us removed the folder as it ended
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(f"{folder} is in use by another process: wait for it, or choose another --out") from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # a network file system without locks: nobody to ask
                os.close(descriptor)
                raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)  # the lock of a folder that was removed as we took it


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
