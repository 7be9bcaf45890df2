"""PNGs without filters, held to OpenCV."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from facemae_cli.data.images import plain_png
from facemae_cli.data.images.codec import decode_masked
from facemae_cli.errors import FaceError

FACE = np.random.default_rng(0).integers(0, 256, (28, 42, 4), dtype=np.uint8)


def by_opencv(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))


def png(lines: bytes, cut: int = 0) -> bytes:
    """A PNG of FACE's size with these lines, its compressed data cut in two after `cut` bytes."""
    header = struct.pack(">II", 42, 28) + bytes([8, 6, 0, 0, 0])
    packed = zlib.compress(lines)
    parts = [packed[:cut], packed[cut:]] if cut else [packed]
    chunks = [(b"IHDR", header), *((b"IDAT", part) for part in parts), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(plain_png._chunk(*chunk) for chunk in chunks)


def lines_of(face: np.ndarray, filters: int = 0) -> bytes:
    return b"".join(bytes([filters]) + line.tobytes() for line in face)


def test_opencv_reads_what_is_written() -> None:
    assert np.array_equal(by_opencv(plain_png.encode(FACE)), FACE)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_it_is_read_back_though_its_data_is_cut_in_two(cut: int) -> None:
    made = plain_png.decode(png(lines_of(FACE), cut))
    assert made is not None
    assert made.flags.c_contiguous
    assert np.array_equal(made, FACE)


def test_filtered_lines_are_left_to_opencv() -> None:
    first, later = lines_of(FACE, filters=1), bytearray(lines_of(FACE))
    later[-(4 * 42 + 1)] = 2  # the last line alone
    for lines in (first, bytes(later)):
        assert plain_png.decode(png(lines)) is None
        assert np.array_equal(decode_masked(png(lines)), by_opencv(png(lines)))


@pytest.mark.parametrize("lines", [lines_of(FACE)[:-1], lines_of(FACE) + b"\0", lines_of(FACE) * 2, b""])
def test_data_of_another_length_is_left_to_opencv(lines: bytes) -> None:
    assert plain_png.decode(png(lines)) is None


def test_damaged_data_is_left_to_opencv_which_refuses_it() -> None:
    data = bytearray(png(lines_of(FACE)))
    data[60] ^= 255
    at, end = 33 + 4, 33 + 8 + struct.unpack_from(">I", data, 33)[0]
    struct.pack_into(">I", data, end, zlib.crc32(data[at:end]))  # damaged before its checksum was made
    assert plain_png.decode(bytes(data)) is None
    with pytest.raises(FaceError, match="decoder") as raised:
        decode_masked(bytes(data))
    assert raised.value.reason == "corrupt"
