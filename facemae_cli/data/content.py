"""What a file is by its first bytes, for the moment in which it is not what its name says."""

from __future__ import annotations

import re
from pathlib import Path

from facemae_cli.data.reading import read_head
from facemae_cli.errors import FaceError

SAFETENSORS = "safetensors"
HEAD = 512  # bytes that tell: a tar's mark stands at 257
_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer and not the file; `git lfs pull` fetches it"),
    (b"/annex/objects/", "a git-annex pointer and not the file; `git annex get` fetches it"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a rar archive; unpack it"),
    (b"BZh", "compressed by bzip2; unpack it"),
    (b"\xfd7zXZ\0", "compressed by xz; unpack it"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstandard; unpack it"),
    (b"\x89HDF", "HDF5"),
    (b"\x93NUMPY", "a numpy array"),
    (b"PAR1", "Parquet"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\x0a\x23\xd7\xce", "RecordIO"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"%PDF", "a PDF"),
)
_PAGE = re.compile(rb"\s*(?:<!doctype html|<html|<head|<body|<script)", re.IGNORECASE)
_XML = re.compile(rb"\s*<\?xml", re.IGNORECASE)
_SAFETENSORS = re.compile(rb".{5}\0\0\0\{", re.DOTALL)
_JSON = re.compile(rb"\s*[{\[]\s*[\"{\[\]}]")
# An entry of a protobuf map, whose key is `values`: a Record of SageMaker's algorithms.
_SAGEMAKER = re.compile(rb"[\x0a\x12][\x80-\xff]{0,4}[\x00-\x7f]\x0a\x06values\x12", re.DOTALL)
_SPARE = 2**20  # bytes by which what a zip unpacks to may be more than the file


def what_it_is(head: bytes) -> str | None:
    """What a file with these first bytes is, with the way out where there is one; None where they do not tell."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if _PAGE.match(head):
        return "an HTML page, as a download that asks for something gives it; download the file again"
    if _XML.match(head):
        return "XML, as the error of a store of files is; download the file again"
    if _SAFETENSORS.match(head):
        return SAFETENSORS
    return "JSON" if _JSON.match(head) else None


def content_of(path: Path | str) -> str | None:
    """`what_it_is` of the file at `path`; None where that cannot be read."""
    try:
        return what_it_is(read_head(str(path), HEAD))
    except (OSError, FaceError):
        return None


def describe_content(path: Path | str) -> str:
    """`; it is ...` of the file at `path`, or nothing where that is not known."""
    found = content_of(path)
    return f"; it is {found}" if found else ""


def is_sagemaker(payload: bytes) -> bool:
    """Whether the payload of a RecordIO record is SageMaker's: the same framing, with protobuf and no image in it."""
    return _SAGEMAKER.match(payload) is not None


def unpacks_to(path: Path) -> int | None:
    """How many bytes a zip archive's own directory says it unpacks to, where that is more than what it could hold as
    it is; None where it is not, or the file is not a zip. Nothing is unpacked. Raises OSError."""
    import zipfile  # here, since every command's --help would pay for it

    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return None
    return total if total > path.stat().st_size + _SPARE else None
