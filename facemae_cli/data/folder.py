"""A folder of images as a dataset of faces: one identity a folder (nested: `a/b`), loose images without identity."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.faces import FaceSource, Name, Portion, Refusal
from facemae_cli.data.images.headers.header import Limits, limits_in_use
from facemae_cli.data.names import in_order, one_line
from facemae_cli.data.reading import read_file
from facemae_cli.data.scan import Scan
from facemae_cli.errors import FaceError, OutputError


class FolderSource(FaceSource):
    """The images under `path`, in an order that is the same everywhere.

    Identities are sorted by the UTF-8 bytes of their NFC form, images without identity first, and so are the photos
    of each, so that one person's photos stand together. System folders (bins, thumbnails) and hidden ones are passed
    over and counted in `passed_over`, as are hidden images; `facemae.json` and `pairs.txt` are no photos; other files
    without an image's suffix are counted in `ignored`, unless they have no suffix at all and are images inside.
    Refused while opening: `unsupported-format` (an image by its suffix, but of a format that is not read),
    `not-a-file` (a device or a pipe with an image's name), `outside` (a link that leaves the folder),
    `broken-link`, `linked-folder` (it would show the same people twice), `bad-name` (not UTF-8), `unreadable`,
    `vanished`. None of these is ever opened. Raises InputError where `path` is not a folder that can be listed.
    """

    kind = "folder"

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        scan = Scan(self.path)
        self.refused: Sequence[Refusal] = tuple(scan.refused)
        self.ignored, self.archives = scan.ignored, scan.archives
        self.passed_over = dict(sorted(scan.passed_over.items()))
        self._links = scan.links
        self._identities: list[str | None] = []
        self._starts: list[int] = []  # index of the first photo of each identity
        self._photos: list[str] = []
        loose = [None] if None in scan.photos else []
        for identity in [*loose, *in_order(each for each in scan.photos if each is not None)]:
            self._identities.append(identity)
            self._starts.append(len(self._photos))
            self._photos += in_order(scan.photos.pop(identity))

    def __len__(self) -> int:
        return len(self._photos)

    def name(self, index: int) -> Name:
        """Identity (folders below `path`, joined by `/`; None for a loose image) and file name of photo `index`."""
        if not 0 <= index < len(self._photos):
            raise IndexError(f"face {index} of {len(self._photos)}")
        return Name(self._identities[bisect_right(self._starts, index) - 1], self._photos[index])

    def where(self, index: int) -> str:
        """The file's path, as one printable line."""
        return one_line(os.path.join(self.path, self._relative(index)))

    def read(self, index: int) -> bytes:
        """The bytes of photo `index`.

        Raises FaceError: `vanished`, `unreadable`, `not-a-file`, `too-large`; OutputError where the disk or the
        process itself fails (an I/O error, no more file handles) or the whole folder is gone, which is not the fault of
        one face.
        """
        return self._files([index]).read(0)

    def portion(self, indexes: Sequence[int]) -> Portion:
        return self._files(indexes)

    def _files(self, indexes: Sequence[int]) -> _Files:
        relatives = [self._relative(index) for index in indexes]
        paths = [self._links.get(relative) or os.path.join(self.path, relative) for relative in relatives]
        return _Files(str(self.path), paths, self.limits.max_bytes)

    def _relative(self, index: int) -> str:
        identity, photo = self.name(index)
        return photo if identity is None else f"{identity}/{photo}"


@dataclass(frozen=True)
class _Files:
    """Photos at `paths`, somewhere in `folder`."""

    folder: str
    paths: list[str]
    max_bytes: int

    def read(self, index: int) -> bytes:
        """The bytes of one of them; raises as `FolderSource.read`."""
        try:
            return read_file(self.paths[index], self.max_bytes)
        except FaceError as error:
            if error.reason == "vanished" and not os.path.isdir(self.folder):
                raise OutputError(f"{one_line(self.folder)} is gone, all of it: bring it back, then go on") from error
            raise
