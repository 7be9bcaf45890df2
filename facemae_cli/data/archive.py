"""A zip or tar of folders as a dataset of faces, read in place: one identity a folder, as in a folder of images."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from facemae_cli.data import content
from facemae_cli.data.faces import FaceSource, Name, Refusal
from facemae_cli.data.images.headers.header import Limits, limits_in_use
from facemae_cli.data.names import check_name, in_order, one_line
from facemae_cli.data.scan import (
    FOREIGN_SUFFIXES,
    HIDDEN_FOLDERS,
    HIDDEN_IMAGES,
    PASSED_OVER,
    has_image_suffix,
    is_archive,
    is_system_folder,
)
from facemae_cli.errors import FaceError, InputError

_WINDOWS = {0, 10, 14}  # what a zip calls the systems it is made on: MS-DOS, NTFS, VFAT
_UNREADABLE = (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError)


class _Member(NamedTuple):
    """A file in the archive: its bytes, unpacked, and where they are, a name in a zip or a place in a tar."""

    size: int
    place: str | int


class ArchiveSource(FaceSource):
    """The images in the `.zip` or `.tar` at `path`, in the order in which a folder of them would be read.

    A single folder around all people's folders, as most tools put there, is not part of their names. What is hidden or
    the system's is passed over and counted, as in a folder. Refused while opening: `unsupported-format`, `bad-name`,
    `same-name`. Raises InputError for what is not such an archive, and for a compressed tar, which has no place to read
    from.
    """

    kind = "archive"

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        self.refused: list[Refusal] = []
        self.ignored = self.archives = 0
        self._hidden_images = 0
        self._system_folders: set[str] = set()
        self._own = threading.local()
        members = _members(self.path)
        found = {name: member for name, member in members.items() if self._is_face(name)}
        self.passed_over = self._counted()
        root = _root_of(found)
        people: dict[str | None, list[str]] = {}
        for name in found:
            people.setdefault(os.path.dirname(name[len(root) :]) or None, []).append(os.path.basename(name))
        loose = [None] if None in people else []
        self._names = [
            Name(identity, photo)
            for identity in [*loose, *in_order(each for each in people if each is not None)]
            for photo in in_order(people[identity])
        ]
        self._root = root
        self._members = found

    def _is_face(self, name: str) -> bool:
        """Whether a member is a photo; others are counted or refused."""
        parts = name.split("/")
        suffix = os.path.splitext(name)[1].lower()
        outside = any(part in ("", "..") for part in parts)
        if not outside and self._passes_over(parts):
            return False
        if not has_image_suffix(name):
            self.ignored += 1
            self.archives += is_archive(name)
            return False
        try:
            check_name(name)
            if suffix in FOREIGN_SUFFIXES:
                raise FaceError("unsupported-format", f"{suffix} files are not read: convert it to PNG or JPEG")
            if outside:
                raise FaceError("bad-name", "an empty or `..` component leads elsewhere: recreate the archive")
        except FaceError as error:
            self.refused.append(Refusal(self._shown(name), error.reason, error.detail))
            return False
        return True

    def _passes_over(self, parts: list[str]) -> bool:
        """Whether a member is the system's, hidden, or a file of the dataset itself; notes it."""
        *folders, file = parts
        for at, folder in enumerate(folders, 1):
            if is_system_folder(folder):
                self._system_folders.add("/".join(folders[:at]))
                return True
        hidden = file.startswith(".")
        self._hidden_images += hidden and has_image_suffix(file)
        return hidden or file in PASSED_OVER

    def _counted(self) -> dict[str, int]:
        """What was passed over, by what it is."""
        names = map(os.path.basename, self._system_folders)
        counts = Counter(HIDDEN_FOLDERS if name.startswith(".") else name for name in names)
        counts[HIDDEN_IMAGES] = self._hidden_images
        return {name: count for name, count in sorted(counts.items()) if count}

    def _shown(self, name: str) -> str:
        return one_line(f"{self.path}:{name}")

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> Name:
        return self._names[index]

    def _member(self, index: int) -> str:
        identity, photo = self._names[index]
        return self._root + (photo if identity is None else f"{identity}/{photo}")

    def where(self, index: int) -> str:
        return self._shown(self._member(index))

    def read(self, index: int) -> bytes:
        """The bytes of face `index`. Raises FaceError: `too-large`, `unreadable`, `truncated`."""
        name = self._member(index)
        member = self._members[name]
        if member.size > self.limits.max_bytes:
            raise FaceError("too-large", f"{member.size} bytes are over the limit of {self.limits.max_bytes}")
        try:
            data = _read(self._opened(), member, member.size + 1)
        except _UNREADABLE as error:
            raise FaceError("unreadable", f"it cannot be unpacked ({error}): recreate the archive") from error
        if len(data) != member.size:
            raise FaceError("truncated", f"{len(data)} of its {member.size} bytes are there: get the whole archive")
        return data

    def _opened(self) -> zipfile.ZipFile | int:
        """This thread's own, and after a fork this process's own: zipfile keeps a position in the file."""
        if getattr(self._own, "process", None) != os.getpid():
            self._own.process = os.getpid()
            self._own.file = _open(self.path)
        file: zipfile.ZipFile | int = self._own.file
        return file

    def __reduce__(self) -> tuple[type[ArchiveSource], tuple[Path, Limits]]:
        return type(self), (self.path, self.limits)


def files_called(path: Path, name: str, most: int) -> dict[str, bytes]:
    """The files called `name` in the archive at `path` by where they stand, but for what is the system's: of each as
    many bytes as there are, at most `most`. Raises InputError."""
    wanted = {
        member: place
        for member, place in _members(path).items()
        if os.path.basename(member) == name and not any(map(is_system_folder, member.split("/")[:-1]))
    }
    if not wanted:
        return {}
    file = _open(path)
    try:
        return {member: _read(file, place, most) for member, place in wanted.items()}
    except _UNREADABLE as error:
        raise InputError(f"{one_line(str(path))}: its {name} cannot be unpacked ({error}): recreate it") from error
    finally:
        os.close(file) if isinstance(file, int) else file.close()


def _open(path: Path) -> zipfile.ZipFile | int:
    return zipfile.ZipFile(path) if zipfile.is_zipfile(path) else os.open(path, os.O_RDONLY)


def _read(file: zipfile.ZipFile | int, member: _Member, most: int) -> bytes:
    """At most `most` bytes of a member."""
    if isinstance(file, int):
        assert isinstance(member.place, int)
        return os.pread(file, min(member.size, most), member.place)
    assert isinstance(member.place, str)
    with file.open(member.place) as packed:
        return packed.read(most)


def _members(path: Path) -> Mapping[str, _Member]:
    """All files in the archive by name; of two of one name the last, as unpacking would leave. Raises InputError."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                listed = ((_in_zip(info), info) for info in archive.infolist())
                return {
                    _plain(name): _Member(info.file_size, info.filename)
                    for name, info in listed
                    if not name.endswith("/")
                }
        with tarfile.open(path, "r:") as tar:
            return dict(_in_tar(tar))
    except (OSError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError, EOFError) as error:
        what = content.describe_content(path) or f" ({error}); unpack it"
        raise InputError(f"{one_line(str(path))} is not a zip, and not a tar without compression{what}") from error


def _in_tar(tar: tarfile.TarFile) -> Iterator[tuple[str, _Member]]:
    for info in tar:
        if info.isreg() and not info.issparse():
            yield _plain(info.name), _Member(info.size, info.offset_data)


def _in_zip(info: zipfile.ZipInfo) -> str:
    """A member's name; what old tools of Windows wrote has backslashes between folders, and is read as unzip does."""
    if info.create_system in _WINDOWS and "/" not in info.filename:
        return info.filename.replace("\\", "/")
    return info.filename


def _plain(name: str) -> str:
    """A member's name without the folders `.` in it."""
    return "/".join(part for part in name.split("/") if part != ".")


def _root_of(members: Mapping[str, _Member]) -> str:
    """The folder around all people's folders, with its `/`; empty where there is none."""
    tops = {name.partition("/")[0] for name in members}
    if len(tops) == 1 and all(name.count("/") > 1 for name in members):
        return f"{tops.pop()}/"
    return ""
