"""Small files written whole, folders made durable, and disk errors told in one line."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facemae_cli.data.reading import EXHAUSTED, NAME_TOO_LONG, exhausted
from facemae_cli.errors import OutputError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_GONE = {errno.ENOENT, errno.ESTALE}
_LIMIT = {errno.EFBIG}
_ASIDE = ".facemae-", ".part"
STAGING_SUFFIX = ".facemae-part"  # of the folder beside an output in which it grows
_TAKEN = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY}


@contextmanager
def disk_errors(path: Path, again: str = "then run again") -> Iterator[None]:
    """Turns an OSError into an OutputError of one line; `again` says how to go on once the disk is repaired.

    An OSError that names no file is told of `path`. A name that is too long is a UsageError.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{error.filename or path}: {NAME_TOO_LONG}") from error
        raise OutputError(f"{error.filename or path}: {_reason(error)}, {again}") from error


def _reason(error: OSError) -> str:
    """What happened, and what to do about it."""
    reason = (error.strerror or str(error) or type(error).__name__).lower()
    if error.errno in EXHAUSTED:
        return exhausted(error)
    if error.errno in _FULL:
        return f"{reason}: free some space"
    if error.errno in _LIMIT:
        return f"{reason}: raise the limit on the size of files, or write to another file system"
    if error.errno in _DENIED:
        return f"{reason}: allow writing there or choose another place"
    if error.errno in _GONE:
        return f"{reason}: it was moved or removed while in use; bring it back"
    if error.errno in _TAKEN:
        return f"{reason}: something else stands there, move it away"
    return f"{reason}: repair the disk"


def write_whole(path: Path, data: bytes | str, mode: int = 0o644, *, replace: bool = True) -> None:
    """Writes a file that appears whole or not at all; an older one is replaced and takes the new `mode` (less umask).

    Without `replace` a file that is there stays, and UsageError is raised.
    Text is written as UTF-8. A pipe or a device is written to directly. Raises OutputError.
    """
    content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    with disk_errors(path):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        descriptor, aside = _open_aside(path, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                _put(aside, path, replace)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise
        sync_folder(path.parent)


def _put(aside: Path, path: Path, replace: bool) -> None:
    if replace:
        os.replace(aside, path)
        return
    try:
        os.link(aside, path)
    except FileExistsError:
        raise UsageError(f"{path} appeared meanwhile, and is left as it is: choose another place") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise UsageError(f"{path} appeared meanwhile, and is left as it is: choose another place") from None
        os.replace(aside, path)
        return
    aside.unlink()


def write_all(descriptor: int, data: bytes) -> None:
    """Writes `data` to an open file, however many calls it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def make_folder(folder: Path) -> list[Path]:
    """Makes a folder and those it stands in; returns those that were missing, the innermost first. Raises OSError."""
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def is_aside(name: str) -> bool:
    """Whether `name` is that of a file which `write_whole` left where it was killed."""
    return name.startswith(_ASIDE[0]) and name.endswith(_ASIDE[1])


def _open_aside(path: Path, mode: int) -> tuple[int, Path]:
    """A new file beside `path`, and its descriptor, which is locked while it is written.

    Its name follows from that of `path`: what a killed process left there gives way to the next who writes `path`.
    Who writes it while another does takes a random name.
    """
    fixed = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    _remove_abandoned(path.parent / fixed.join(_ASIDE))
    for middle in (fixed, secrets.token_hex(8)):
        aside = path.parent / middle.join(_ASIDE)
        with suppress(FileExistsError):
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            if _is_ours(descriptor, aside, otherwise=True):
                return descriptor, aside
            os.close(descriptor)  # another took it for abandoned before it was locked
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(aside))


def _remove_abandoned(aside: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(aside, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _is_ours(descriptor, aside, otherwise=False):
                aside.unlink()
        finally:
            os.close(descriptor)


def _is_ours(descriptor: int, aside: Path, otherwise: bool) -> bool:
    """Whether the open file is locked by us and still has its name; `otherwise` where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), aside.stat())
    return False


def sync_folder(path: Path | str) -> None:
    """Makes what was created in and renamed into a folder durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Raises OSError where nothing can be made in `folder`, or in what is there of it."""
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        number = errno.EROFS if read_only else errno.EACCES
        raise OSError(number, os.strerror(number), str(folder))


def require_outside(path: Path, datasets: Iterable[Path], option: str) -> None:
    """Raises UsageError where `path`, given as `option`, is a file of one of the `datasets` or inside one.

    A dataset is all that `whole_of` says; of `X.rec` only X and its sidecars count, of a `.bin` that file and its
    manifest. The folder in which a dataset grows is a part of it.
    """
    for dataset in datasets:
        if _is_single_file(dataset) and dataset.is_file() and same_place(path, dataset):
            raise UsageError(f"{option} {path} is {dataset} itself, which this command reads: choose another place")
        if _belongs(path, dataset):
            raise UsageError(f"{option} {path} is inside the dataset {dataset}: choose another place")


def _is_single_file(path: Path) -> bool:
    """Whether a file stands for itself, such as a key, a recipe or weights, and for no dataset."""
    return path.suffix.lower() not in (".rec", ".bin") and path.name != "pairs.txt"


def whole_of(dataset: Path) -> Path:
    """All that a dataset is: of `DIR/train.rec` and `DIR/pairs.txt` it is DIR, since that is what is handed on."""
    return dataset.parent if dataset.name in ("train.rec", "pairs.txt") and not dataset.is_dir() else dataset


def _belongs(path: Path, dataset: Path) -> bool:
    if whole_of(dataset) != dataset:
        return is_inside(path, dataset.parent)
    if is_inside(path, dataset) or is_inside(path, dataset.with_name(dataset.name + STAGING_SUFFIX)):
        return True
    stem = {".rec": dataset.stem, ".bin": dataset.name}.get(dataset.suffix.lower())
    return stem is not None and path.name.startswith(f"{stem}.") and same_place(path.parent, dataset.parent)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, which need not exist, is `folder` or lies below it, links and mounts seen through."""
    whole = path.resolve()
    return any(same_place(place, folder) for place in (whole, *whole.parents))


def same_place(first: Path, second: Path) -> bool:
    """Whether two paths, which need not exist, are one file or folder."""
    with suppress(OSError):
        return os.path.samestat(first.stat(), second.stat())
    return first.resolve() == second.resolve()


def remove_tree(path: Path) -> None:
    """Removes a file or a folder with all it holds, if it is there; links are removed, not followed. Raises OSError."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_folder:
        path.unlink()
        return
    for at, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(os.path.join(at, name))
        for name in folders:
            inner = os.path.join(at, name)
            if os.path.islink(inner):
                os.unlink(inner)
            else:
                os.rmdir(inner)
    path.rmdir()
