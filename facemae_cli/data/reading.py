"""Reading files that anybody gives: never waiting, never following a swapped link, with errors of one line."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from facemae_cli.data.names import one_line
from facemae_cli.errors import FaceError, InputError, OutputError

_VANISHED = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR}
EXHAUSTED = {errno.EMFILE, errno.ENFILE}
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

NAME_TOO_LONG = "the name is too long for the file system, or would be while it is written: give a shorter one"


def read_file(path: str, max_bytes: int) -> bytes:
    """The bytes of a regular file; never waits for a pipe, never follows a link put in the file's place.

    Raises FaceError: `vanished`, `unreadable`, `not-a-file`, `too-large`; OutputError as `face_error` says.
    """
    try:
        handle = os.open(path, _FLAGS)
        with open(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise not_a_file()
            if state.st_size > max_bytes:
                raise FaceError(
                    "too-large", f"{state.st_size} bytes are over the limit of {max_bytes}: make it smaller"
                )
            return file.read(state.st_size + 1)
    except OSError as error:
        raise face_error(error, path) from error


def read_head(path: str, count: int = 64) -> bytes:
    """The first bytes of a regular file, to tell what it is. Raises OSError; FaceError `not-a-file`."""
    with open(os.open(path, _FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise not_a_file()
        return file.read(count)


def read_small(path: Path, what: str, max_bytes: int, way_out: str) -> bytes:
    """The whole of a file that somebody names, which may be a pipe; `what` names it, `way_out` says what to give.

    Raises InputError where it cannot be read or holds more than `max_bytes`, OutputError as `unreadable` says.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise unreadable(what, error, way_out) from error
    if len(data) > max_bytes:
        raise InputError(f"{one_line(what)} is larger than {max_bytes / 2**20:g} MiB: {way_out}")
    return data


def unreadable(path: Path | str, error: OSError, way_out: str) -> InputError | OutputError:
    """The error to raise where a whole dataset, or a file of it, cannot be opened: an InputError with `way_out`, or an
    OutputError where it is this process that can open nothing more."""
    shown = one_line(str(path))
    if error.errno in EXHAUSTED:
        return OutputError(f"{shown} cannot be opened: {exhausted(error)}")
    return InputError(f"{shown} cannot be read: {error.strerror or error}; {way_out}")


def exhausted(error: OSError) -> str:
    """Why no file can be opened any more, and what to do about it."""
    import resource  # here, since every command's --help would pay for it

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    reason = (error.strerror or str(error)).lower()
    return f"{reason}, the limit is {limit} for this process; raise it by `ulimit -n`, or lower --workers"


def face_error(error: OSError, path: str) -> FaceError:
    """What `error` says of the one file at `path`.

    Raises OutputError instead where the disk or this process fails (an I/O error, no more file handles): going on
    would only count every other face as broken.
    """
    if error.errno in _VANISHED:
        return FaceError("vanished", "it was listed and is gone now: run again on a folder that nobody changes")
    if error.errno in _FORBIDDEN:
        return FaceError("unreadable", "there is no permission to read it: grant it, or run as its owner")
    if error.errno in _NO_FILE:
        return not_a_file()
    reason = exhausted(error) if error.errno in EXHAUSTED else error.strerror
    raise OutputError(f"reading {one_line(path)} fails: {reason}") from error


def not_a_file() -> FaceError:
    """Refuses a folder, pipe, socket or device with an image's name."""
    return FaceError(
        "not-a-file", "it has an image's name but is a folder, a pipe or a device: rename it or move it out"
    )
