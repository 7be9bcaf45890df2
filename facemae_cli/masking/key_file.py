"""Where a key is kept: a file of its owner's alone, or what comes through a pipe or standard input."""

from __future__ import annotations

import os
import select
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from facemae_cli.errors import OutputError, UsageError
from facemae_cli.runtime import launcher
from facemae_cli.runtime.mounts import mount_of
from facemae_cli.runtime.progress import Progress

MAX_BYTES = 1024  # of a key as it is written
STREAM_SECONDS = 60  # that a key may take to come through a pipe
WRITER_SECONDS = 2  # that a named pipe may be without a writer
WAYS = "--key FILE names a place that can be written"
_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")  # what the shell opened, whoever may read the file


def check_makeable(path: Path) -> None:
    """Raises UsageError where there is no folder to make the key `path` in, or a link to nothing stands there;
    OutputError where it cannot be written."""
    if path.is_symlink():
        raise UsageError(
            f"the key {path} is a link to {os.readlink(path)}, where nothing is: bring that back, or remove the link"
        )
    if not path.parent.is_dir():
        raise UsageError(f"the key {path} cannot be made: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"the key {path} cannot be made: the folder {path.parent.resolve()} cannot be written; {WAYS}"
        )


def read_text(path: Path, progress: Progress) -> bytes:
    """What is written in the key file, or comes through the pipe, `path`. Raises UsageError for what is neither, or may
    be read by others; OSError where it cannot be read. Where a mode cannot be changed, one notice says so."""
    # Non-blocking, so that a named pipe can not hang the program; regular files do not notice.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
            require_one_rank(path)
            return read_stream(handle, path)
        if not stat.S_ISREG(mode):
            raise UsageError(f"the key {path} is not a file; --key FILE names a file of 64 hexadecimal digits")
        if os.name == "posix" and mode & 0o077 and not str(path).startswith(_DESCRIPTORS):
            _accept_mode(path, handle, mode, progress)
        return os.read(handle, MAX_BYTES)
    finally:
        os.close(handle)


def _accept_mode(path: Path, handle: int, mode: int, progress: Progress) -> None:
    """Raises UsageError for a key that others may read, unless that is how its file system shows all files."""
    mount = mount_of(handle)
    if mount is None or mount.keeps_modes:
        quoted = shlex.quote(str(path))
        way_out = f"run: chmod 600 {quoted}, or give it on standard input: --key - < {quoted}"
        raise UsageError(f"the key {path} can be read by others (mode {mode & 0o777:04o}); {way_out}")
    why = "it is mounted read-only" if mount.read_only else f"{mount.kind} keeps no modes"
    progress.notice(
        f"the key {path} has mode {mode & 0o777:04o}, which cannot be changed there ({why}): taken as it is"
    )


def read_stream(handle: int, path: Path) -> bytes:
    """All that comes before the stream ends. Raises UsageError where nobody writes it, or nothing comes for long."""
    first = _at_hand(handle)
    text, seconds = first or b"", WRITER_SECONDS if first == b"" else STREAM_SECONDS
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    while len(text) < MAX_BYTES:
        if not poll.poll(1000 * seconds):
            raise UsageError(f"--key {path}: no key came within {seconds} s; is something writing it?")
        piece = os.read(handle, MAX_BYTES)
        if not piece:
            break
        text, seconds = text + piece, STREAM_SECONDS
    return text


def _at_hand(handle: int) -> bytes | None:
    """What can be read without waiting; nothing from a pipe that nobody writes, None where that is not known."""
    if os.get_blocking(handle):
        return None
    try:
        return os.read(handle, MAX_BYTES)
    except BlockingIOError:
        return None


def require_one_rank(path: Path) -> None:
    """Raises UsageError under torchrun, where each rank would need a stream of its own."""
    if launcher.world_size() > 1:
        raise UsageError(f"--key {path} can be read by one process alone: under torchrun give a file, or FACEMAE_KEY")


def write_new(path: Path, content: bytes) -> None:
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
