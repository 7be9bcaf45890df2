"""What a face may be called in an output, so that it is safe to write and is read back as the same face."""

from __future__ import annotations

import os
import re

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import suffix_of
from facemae_cli.data.names import check_name
from facemae_cli.data.scan import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, PASSED_OVER, is_system_folder
from facemae_cli.errors import FaceError

MAX_NAME_BYTES = 255  # of one folder's or file's name, on all file systems in use
MAX_DEPTH = 32  # folders in one another; what copies and removes trees gives up at a thousand or fewer
_SPELLINGS = {".jpg": {".jpg", ".jpeg", ".jpe", ".jfif"}, ".bmp": {".bmp", ".dib"}}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SEPARATORS = {os.sep, os.altsep or os.sep}


def with_suffix_of(photo: str, image: bytes) -> str:
    """`photo` with the suffix of what `image` holds, in place of an image's suffix it may have. Another spelling of
    the same stays: `1.jpg`, `1.jpeg` and `1.JPG` are three photos.

    Raises FaceError where the bytes are not an image of a format that is read.
    """
    stem, suffix = os.path.splitext(photo)
    right = suffix_of(image)
    if suffix.lower() in _SPELLINGS.get(right, ()):
        return photo
    return (stem if suffix.lower() in IMAGE_SUFFIXES else photo) + right


def check_face_name(name: Name) -> None:
    """What holds for any output: raises FaceError `bad-name` for an empty, `.` or `..` component, an absolute identity,
    a separator in the photo, a NUL, or text that is not UTF-8.
    """
    parts = _parts(name)
    for part in parts:
        if part in ("", ".", ".."):
            _refuse(part, "an empty, `.` or `..` component leads elsewhere")
        if "\0" in part:
            _refuse(part, "no file's name holds a NUL")
        check_name(part)
    if _SEPARATORS & set(name.photo):
        _refuse(name.photo, "a photo's name holds no separator")


def check_file_name(name: Name) -> None:
    """What holds beyond `check_face_name` for a face that becomes a file, so that FolderSource reads it back.

    Raises FaceError `bad-name` for control characters (a newline and a tab are let through), hidden names, names of
    our own files and of system folders, a folder that looks like an image, a component of more than 255 bytes, and
    over 32 folders in one another.
    """
    check_face_name(name)
    parts = _parts(name)
    if len(parts) - 1 > MAX_DEPTH:
        _refuse("/".join(parts), f"{len(parts) - 1} folders in one another, at most {MAX_DEPTH}")
    for part in parts:
        if _CONTROL.search(part):
            _refuse(part, "it holds a control character")
        if part.startswith("."):
            _refuse(part, "a leading dot hides it, and hidden files are not read")
        if part.lower() in {name.lower() for name in PASSED_OVER} | {"train.rec"}:
            _refuse(part, "a file of the dataset itself has this name")
        if len(part.encode()) > MAX_NAME_BYTES:
            _refuse(part, f"{len(part.encode())} bytes, and a file's name holds at most {MAX_NAME_BYTES}")
    for part in parts[:-1]:
        if is_system_folder(part):
            _refuse(part, "systems keep deleted and hidden files in folders of this name, which are passed over")
        if os.path.splitext(part)[1].lower() in IMAGE_SUFFIXES | FOREIGN_SUFFIXES:
            _refuse(part, "a folder with an image's suffix is not read as one")


def _parts(name: Name) -> list[str]:
    return [*(name.identity.split("/") if name.identity is not None else []), name.photo]


def _refuse(part: str, why: str) -> None:
    raise FaceError("bad-name", f"{part[:80]!r} cannot be its name in the output: {why}; rename it")
