"""Files written beside an output: lists of what was refused, pictures, pages, kept features.

Each is asked for by an option of its own, and each would be a way to lose something: so before any work it is made sure
that it replaces nothing (with `--overwrite` only an older one of its own kind), that it lies in no input and no output,
and that it is not a key, a link or another side file.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facemae_cli.data.faces import Refusal
from facemae_cli.data.files import is_aside, require_outside, same_place, write_whole
from facemae_cli.errors import UsageError

SideFileKind = Literal["list", "page", "picture", "names", "sources"]
SOURCES = ("released", "person", "photo")  # the columns of whom mixed faces are made of
NAMES = ("person", "photo", "person_pseudonym", "photo_pseudonym")  # the columns of who is who

_SEEN = 4096  # bytes of an older file that tell its kind
_CALLED = {
    "list": "a list of refused inputs",
    "page": "a page of facemae",
    "picture": "a PNG",
    "names": "a list of names",
    "sources": "a list of sources",
}
_PAGE = b"default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # what every page of ours begins with
_KEPT = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True)
class SideFile:
    """A file to be written to `path` as `option` asks; only its owner may read it (0600), since all of them may show
    faces or names."""

    path: Path
    option: str
    kind: SideFileKind

    def check(
        self, *, overwrite: bool, resume: bool = False, places: Iterable[Path] = (), parents: bool = False
    ) -> None:
        """Raises UsageError unless it may be written, beside the inputs, outputs and keys at `places`.

        `parents`: folders above it may be missing, since whoever writes it makes them.
        `resume`: an older file may be what the stopped run wrote; `write` then sees to it that it is the same.
        """
        require_outside(self.path, places, self.option)
        state = _state(self.path)
        if state is None:
            _check_folder(self.path, self.option, parents)
        elif _is_stream(self.path, state):
            return
        else:
            self._check_older(state, overwrite, resume)

    def _check_older(self, state: os.stat_result, overwrite: bool, resume: bool) -> None:
        said = f"{self.option} {self.path}"
        if stat.S_ISLNK(state.st_mode):
            raise UsageError(f"{said} is a link, which is not written through: name the file itself")
        if stat.S_ISDIR(state.st_mode):
            raise UsageError(f"{said} is a folder: name a file")
        head = _head(self.path)
        if looks_like_key(head):
            raise UsageError(f"{said} is a key, which is never replaced: choose another {self.option}")
        if not overwrite and not resume:
            raise UsageError(f"{self.path} exists: choose another {self.option}, or --overwrite to replace it")
        if not _is_kind(self.kind, head):
            raise UsageError(
                f"{said} exists and is not {_CALLED[self.kind]}, so it stays: choose another {self.option}"
            )

    def write(self, data: bytes | str, *, overwrite: bool) -> None:
        """Writes the file whole or not at all; one of the same bytes is left. Raises UsageError and OutputError."""
        content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        if not overwrite and _holds(self.path, content):
            return
        write_whole(self.path, content, 0o600, replace=overwrite)


def refused_list(path: Path) -> SideFile:
    """The file of `--refused`."""
    return SideFile(path, "--refused", "list")


def report_page(path: Path | None) -> SideFile | None:
    """The file of `--report`, where there is to be one."""
    return None if path is None else SideFile(Path(path), "--report", "page")


def refused_text(refused: Iterable[Refusal]) -> str:
    """One JSON object per line for each refused input, with `where`, `reason` and `detail`, in the order given."""
    lines = (json.dumps({"where": item.where, "reason": item.reason, "detail": item.detail}) for item in refused)
    return "".join(f"{line}\n" for line in lines)


def check_side_files(
    files: Sequence[SideFile], *, overwrite: bool, resume: bool = False, places: Sequence[Path] = ()
) -> None:
    """Raises UsageError unless each of `files` may be written, none of them where another goes (see `SideFile`)."""
    for number, file in enumerate(files):
        # A picture alone is written before its output is in place, so that a stopped run may have left it.
        file.check(overwrite=overwrite, resume=resume and file.kind == "picture", places=places)
        for other in files[:number]:
            if same_place(file.path, other.path):
                raise UsageError(f"{other.option} and {file.option} are both {file.path}: choose two places")


def check_cache(folder: Path, places: Iterable[Path] = ()) -> None:
    """Raises UsageError unless features may be kept in `folder`: it is new, empty, or holds such features alone."""
    require_outside(folder, places, "--cache")
    if _state(folder) is None:
        _check_folder(folder, "--cache", parents=True)
        return
    if not folder.is_dir():
        raise UsageError(f"--cache {folder} is not a folder: choose another place")
    strange = (name for name in sorted(os.listdir(folder)) if not (_KEPT.fullmatch(name) or is_aside(name)))
    if found := next(strange, None):
        raise UsageError(f"--cache {folder} holds {found!r}, which is not a cache's: choose a folder of its own")


def check_report_and_cache(
    report: SideFile | None, cache: Path | None, places: Sequence[Path], *, overwrite: bool
) -> None:
    """Raises UsageError unless a page may be written, and features be kept, beside the inputs and outputs `places`."""
    if report is not None:
        report.check(overwrite=overwrite, places=places)
    if cache is not None:
        check_cache(cache, [*places, *([report.path] if report is not None else [])])


def looks_like_key(head: bytes) -> bool:
    """Whether a file that begins with `head` is a key: 64 hexadecimal digits and nothing else."""
    return re.fullmatch(rb"\s*[0-9a-fA-F]{64}\s*", head) is not None


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_stream(path: Path, state: os.stat_result) -> bool:
    """Whether what is written goes to a pipe, a terminal or another device, as through /dev/stdout."""
    with suppress(OSError):
        mode = path.stat().st_mode if stat.S_ISLNK(state.st_mode) else state.st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _check_folder(path: Path, option: str, parents: bool = False) -> None:
    """Raises UsageError unless a file can be made at `path`; with `parents` folders above it may be missing too."""
    folder = path.parent
    while parents and not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {path}: the folder {folder} cannot be written; choose another place")


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SEEN)
    except OSError:
        return b"?"  # what cannot be read is of no kind that may be replaced


def _is_kind(kind: SideFileKind, head: bytes) -> bool:
    if kind == "picture":
        return head.startswith(b"\x89PNG\r\n\x1a\n")
    if kind == "page":
        return head.lower().startswith(b"<!doctype html") and _PAGE in head
    if kind == "names":
        return head.startswith(",".join(NAMES).encode())
    if kind == "sources":
        return head.startswith(",".join(SOURCES).encode())
    first = head.partition(b"\n")[0]
    with suppress(ValueError, TypeError):
        return not head or set(json.loads(first)) == {"where", "reason", "detail"}
    return first.startswith(b'{"where": ') and len(head) == _SEEN  # a line longer than what is looked at


def _holds(path: Path, content: bytes) -> bool:
    with suppress(OSError):
        return not path.is_symlink() and path.is_file() and path.read_bytes() == content
    return False
