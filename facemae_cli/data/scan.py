"""One walk over a folder of images: what is in it that can be read, what is refused, what is not an image at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from facemae_cli.data.faces import Refusal
from facemae_cli.data.names import check_name, one_line
from facemae_cli.errors import FaceError, InputError, OutputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"})
FOREIGN_SUFFIXES = frozenset(  # images too, so they are refused and not ignored
    {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".psd", ".tga"}
    | {".ico", ".svg", ".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
PASSED_OVER = frozenset({"facemae.json", "pairs.txt"})

_VANISHED = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}
_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_FILE = {errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR}


class Scan:
    """The images below `root`. Nothing is opened but folders; symbolic links are resolved, never walked into.

    `photos`: file names by identity (a folder's path below `root`, joined by `/`; None for `root` itself).
    `links`: relative path of a linked photo -> the real path it leads to. `ignored`: files that are not images.
    Raises InputError where `root` is not a folder that can be listed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: dict[str | None, list[str]] = {}
        self.links: dict[str, str] = {}
        self.refused: list[Refusal] = []
        self.ignored = 0
        try:
            self._real_root = os.path.join(os.path.realpath(root, strict=True), "")
            os.scandir(root).close()
        except OSError as error:
            text = f"{one_line(str(root))} cannot be listed ({error.strerror}): give a folder of images"
            raise InputError(text) from error
        pending = [""]
        while pending:
            pending += self._list(pending.pop())
        self.refused.sort(key=lambda refusal: refusal.where)

    def _list(self, folder: str) -> list[str]:
        """Takes in the files of one folder and returns the folders in it; all paths are relative to the root."""
        inner: list[str] = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as entries:
                for entry in entries:
                    relative = os.path.join(folder, entry.name)
                    if not entry.name.startswith(".") and entry.name not in PASSED_OVER and self._take(entry, relative):
                        inner.append(relative)
        except OSError as error:
            self._refuse(folder, face_error(error, folder or str(self.root)))
        return inner

    def _take(self, entry: os.DirEntry[str], relative: str) -> bool:
        """Takes in one entry, counts or refuses it. True for a folder to descend into."""
        suffix = os.path.splitext(entry.name)[1].lower()
        claims = suffix in IMAGE_SUFFIXES or suffix in FOREIGN_SUFFIXES
        try:
            if entry.is_symlink():
                claims = self._resolve(entry, relative, claims)
            elif entry.is_dir(follow_symlinks=False) and not claims:
                check_name(entry.name)
                return True
            elif claims and not entry.is_file(follow_symlinks=False):
                raise not_a_file()
            if claims:
                self._add(entry.name, relative, suffix)
            else:
                self.ignored += 1
        except FaceError as error:
            self._refuse(relative, error)
        except OSError as error:
            self._refuse(relative, face_error(error, entry.path))
        return False

    def _resolve(self, entry: os.DirEntry[str], relative: str, claims: bool) -> bool:
        """Whether a link claims to be an image; one that does must lead to a file inside the root."""
        try:
            real = os.path.realpath(entry.path, strict=True)
            mode = os.stat(real).st_mode
        except OSError as error:
            if claims:
                raise FaceError("broken-link", f"it is a link that leads nowhere ({error.strerror})") from error
            return False
        if not claims and not stat.S_ISDIR(mode):
            return False
        if not os.path.join(real, "").startswith(self._real_root):
            raise FaceError("outside", "it is a link that leaves the folder: copy what it leads to into the folder")
        if stat.S_ISDIR(mode):
            raise FaceError("linked-folder", "it is a link to a folder that is read already: remove it")
        if not stat.S_ISREG(mode):
            raise not_a_file()
        self.links[relative] = real
        return True

    def _add(self, name: str, relative: str, suffix: str) -> None:
        check_name(name)
        if suffix in FOREIGN_SUFFIXES:
            raise FaceError("unsupported-format", f"{suffix} files are not read: convert it to PNG or JPEG")
        self.photos.setdefault(os.path.dirname(relative) or None, []).append(name)

    def _refuse(self, relative: str, error: FaceError) -> None:
        where = one_line(os.path.join(self.root, relative))
        self.refused.append(Refusal(where, error.reason, error.detail))


def read_file(path: str, max_bytes: int) -> bytes:
    """The bytes of a regular file; never waits for a pipe, never follows a link put in the file's place.

    Raises FaceError: `vanished`, `unreadable`, `not-a-file`, `too-large`; OutputError as `face_error` says.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
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
    raise OutputError(f"reading {one_line(path)} fails: {error.strerror}") from error


def not_a_file() -> FaceError:
    """Refuses a folder, pipe, socket or device with an image's name."""
    return FaceError(
        "not-a-file", "it has an image's name but is a folder, a pipe or a device: rename it or move it out"
    )
