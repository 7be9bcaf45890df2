"""One walk over a folder of images: what is in it that can be read, what is refused, what is not an image at all."""

from __future__ import annotations

import os
import stat
from collections import Counter
from pathlib import Path

from facemae_cli.data.faces import Refusal
from facemae_cli.data.images.headers.header import sniff
from facemae_cli.data.names import check_name, one_line
from facemae_cli.data.reading import face_error, not_a_file, read_head, unreadable
from facemae_cli.errors import FaceError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib"})
FOREIGN_SUFFIXES = frozenset(  # images too, so they are refused and not ignored
    {".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".jpf", ".jpx", ".jxl", ".psd", ".tga"}
    | {".ico", ".svg", ".exr", ".hdr", ".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".dng", ".cr2", ".cr3", ".nef", ".arw"}
)
PASSED_OVER = frozenset({"facemae.json", "pairs.txt", "README.md", "croissant.json"})
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z", ".rar")

# What systems and network drives put among photos: deleted ones, thumbnails, snapshots. Compared without case.
SYSTEM_FOLDERS = frozenset(
    {"#recycle", "#snapshot", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "$recycle.bin", "recycler"}
    | {"recycled", "system volume information", "lost+found", "lost.dir", "found.000", "__macosx"}
    | {"network trash folder", "temporary items"}
)
HIDDEN_FOLDERS, HIDDEN_IMAGES = "folders that begin with a dot", "images that begin with a dot"


def is_system_folder(name: str) -> bool:
    """Whether a folder of this name is the system's and no person's: a bin, a cache of thumbnails, anything hidden."""
    return name.startswith(".") or name.casefold() in SYSTEM_FOLDERS


def beside(folder: Path, held: str, own: str = "") -> dict[str, int]:
    """What could be taken for faces in `folder`, of which `held` and a folder called `own` are the whole dataset: how
    many images and folders. Nothing is looked into."""
    found: Counter[str] = Counter()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    found[f"folders beside {held}"] += entry.name != own and not is_system_folder(entry.name)
                elif not entry.name.startswith("."):
                    found[f"images beside {held}"] += has_image_suffix(entry.name)
    except OSError:  # a file may be read in a folder that must not be listed
        return {}
    return dict(sorted((+found).items()))


class Scan:
    """The images below `root`. Symbolic links are resolved, never walked into; of files without a suffix the first
    bytes are read, to learn whether they are images; nothing else is opened but folders.

    `photos`: file names by identity (a folder's path below `root`, joined by `/`; None for `root` itself).
    `links`: relative path of a linked photo -> the real path it leads to. `ignored`: files that are not images, of
    which `archives` are archives.
    `passed_over`: how many system folders of each name, hidden folders and hidden images were left alone.
    Raises InputError where `root` is not a folder that can be listed, OutputError where no more files can be opened.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.photos: dict[str | None, list[str]] = {}
        self.links: dict[str, str] = {}
        self.refused: list[Refusal] = []
        self.ignored = self.archives = 0
        self.passed_over: Counter[str] = Counter()
        try:
            self._real_root = os.path.join(os.path.realpath(root, strict=True), "")
            os.scandir(root).close()
        except OSError as error:
            raise unreadable(root, error, "give a folder of images") from error
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
                    if not self._passes_over(entry) and self._take(entry, relative):
                        inner.append(relative)
        except OSError as error:
            self._refuse(folder, face_error(error, folder or str(self.root)))
        return inner

    def _passes_over(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is the system's, hidden, or a file of the dataset itself; counts it."""
        hidden = entry.name.startswith(".")
        if entry.is_dir(follow_symlinks=False):
            if is_system_folder(entry.name):
                self.passed_over[HIDDEN_FOLDERS if hidden else entry.name] += 1
            return is_system_folder(entry.name)
        if hidden and has_image_suffix(entry.name):
            self.passed_over[HIDDEN_IMAGES] += 1
        return hidden or entry.name in PASSED_OVER

    def _take(self, entry: os.DirEntry[str], relative: str) -> bool:
        """Takes in one entry, counts or refuses it. True for a folder to descend into, whatever its name ends in."""
        try:
            if entry.is_symlink():
                claims = self._resolve(entry, relative)
            elif entry.is_dir(follow_symlinks=False):
                check_name(entry.name)
                return True
            else:
                claims = self._is_image(entry.name, entry.path, entry.is_file(follow_symlinks=False))
            if claims:
                self._add(entry.name, relative)
            else:
                self.ignored += 1
                self.archives += is_archive(entry.name)
        except FaceError as error:
            self._refuse(relative, error)
        except OSError as error:
            self._refuse(relative, face_error(error, entry.path))
        return False

    def _is_image(self, name: str, path: str, is_file: bool) -> bool:
        """Whether a file is an image by its suffix, or by its first bytes where it has none."""
        claims = has_image_suffix(name)
        if claims and not is_file:
            raise not_a_file()
        if claims or not is_file or _suffix(name) not in ("", "."):
            return claims
        try:
            sniff(read_head(path))
        except FaceError as error:
            if error.reason == "unsupported-format":
                raise
            return False
        return True

    def _resolve(self, entry: os.DirEntry[str], relative: str) -> bool:
        """Whether a link claims to be an image; one that does must lead to a file inside the root."""
        try:
            real = os.path.realpath(entry.path, strict=True)
            mode = os.stat(real).st_mode
        except OSError as error:
            if has_image_suffix(entry.name):
                raise FaceError("broken-link", f"it is a link that leads nowhere ({error.strerror})") from error
            return False
        inside = os.path.join(real, "").startswith(self._real_root)
        if not (has_image_suffix(entry.name) or stat.S_ISDIR(mode) or inside):
            return False
        if not inside:
            raise FaceError("outside", "it is a link that leaves the folder: copy what it leads to into the folder")
        if stat.S_ISDIR(mode):
            raise FaceError("linked-folder", "it is a link to a folder that is read already: remove it")
        if not self._is_image(entry.name, real, stat.S_ISREG(mode)):
            return False
        self.links[relative] = real
        return True

    def _add(self, name: str, relative: str) -> None:
        check_name(name)
        if _suffix(name) in FOREIGN_SUFFIXES:
            raise FaceError("unsupported-format", f"{_suffix(name)} files are not read: convert it to PNG or JPEG")
        self.photos.setdefault(os.path.dirname(relative) or None, []).append(name)

    def _refuse(self, relative: str, error: FaceError) -> None:
        where = one_line(os.path.join(self.root, relative))
        self.refused.append(Refusal(where, error.reason, error.detail))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def has_image_suffix(name: str) -> bool:
    """Whether a file's suffix says that it is an image."""
    return _suffix(name) in IMAGE_SUFFIXES or _suffix(name) in FOREIGN_SUFFIXES


def is_archive(name: str) -> bool:
    """Whether a file's suffix says that files are packed in it, images maybe."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)
