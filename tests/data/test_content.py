"""What a file is by its first bytes: named in one place, wherever something else was to be read."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.content import HEAD, describe_content, is_sagemaker, unpacks_to, what_it_is
from facemae_cli.data.open import open_source
from facemae_cli.data.recordio.records import frame
from facemae_cli.errors import InputError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (POINTER, "Git LFS pointer and not the file; `git lfs pull`"),
        (b"/annex/objects/SHA256E-s1--0.rec\n", "git-annex"),
        (b"<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"\xef\xbb\xbf \n<HTML>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "XML"),
        (b'{"message": "Not Found"}', "JSON"),
        (b"\x1f\x8b\x08\0\0", "gzip"),
        (b"PK\x03\x04\x14", "a zip archive"),
        (tar(), "a tar archive"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"\x28\xb5\x2f\xfd\x04", "zstandard"),
        (struct.pack("<Q", 64) + b'{"__metadata__"', "safetensors"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ],
)
def test_what_is_named(head: bytes, part: str) -> None:
    found = what_it_is(head[:HEAD])
    assert found is not None
    assert part in found
    assert "\n" not in found


@pytest.mark.parametrize("head", [b"", b"\0" * 600, b"anything else", bytes(range(256)), b"{", b"\x80\x04\x95"])
def test_what_tells_nothing(head: bytes) -> None:
    assert what_it_is(head) is None


def test_a_file_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(POINTER)
    assert describe_content(tmp_path / "x").startswith("; it is a Git LFS pointer")
    assert describe_content(tmp_path / "none") == describe_content(tmp_path) == ""


@pytest.mark.parametrize(
    ("data", "part"), [(POINTER, "Git LFS"), (b"<html>", "HTML"), (b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "zip")]
)
@pytest.mark.parametrize("name", ["a.rec", "train.rec", "faces.tar"])
def test_a_dataset_in_whose_place_something_else_stands(tmp_path: Path, name: str, data: bytes, part: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"is not a .*; it is .*{part}"):
        open_source(tmp_path / name)


def protobuf_record(values: bytes) -> bytes:
    """As SageMaker's tools write it: a map from `values` to a float32 tensor of packed values."""

    def field(number: int, data: bytes) -> bytes:
        size, varint = len(data), b""
        while size > 127:
            varint, size = varint + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + varint + bytes([size]) + data

    return field(1, field(1, b"values") + field(2, field(2, field(1, values))))


@pytest.mark.parametrize("count", [1, 20, 5000])
def test_sagemaker_s_records_are_told_from_images(tmp_path: Path, count: int) -> None:
    payload = protobuf_record(np.ones(count, "<f4").tobytes())
    assert is_sagemaker(payload)
    (tmp_path / "a.rec").write_bytes(3 * frame(payload))
    with pytest.raises(InputError, match=r"a\.rec is SageMaker's RecordIO: .*no images"):
        open_source(tmp_path / "a.rec")
    assert not is_sagemaker(struct.pack("<IfQQ", 0, 1.0, 5, 0) + b"\xff\xd8\xff")
    assert not is_sagemaker(struct.pack("<IfQQ", 10, 1.0, 5, 0) + bytes(40))


def test_what_an_archive_unpacks_to_is_read_from_its_directory(tmp_path: Path) -> None:
    for name, kind in (("stored.zip", zipfile.ZIP_STORED), ("bomb.zip", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(tmp_path / name, "w", kind) as archive:
            archive.writestr("data/0", bytes(2**22))
    assert unpacks_to(tmp_path / "stored.zip") is None
    assert unpacks_to(tmp_path / "bomb.zip") == 2**22
    (tmp_path / "other").write_bytes(b"PK\x03\x04 no archive")
    assert unpacks_to(tmp_path / "other") is None
