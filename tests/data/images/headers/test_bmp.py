"""BMP: rows that run either way, depths, alpha only where a header masks it, and what is cut off."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from facemae_cli.data.images.codec import decode, decode_masked, probe
from facemae_cli.errors import FaceError

PIXELS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[1, 2, 3], [40, 50, 60], [7, 8, 9]]], np.uint8)
ALPHA = np.array([[0, 128, 255], [255, 0, 1]], np.uint8)


def bmp(rows: bytes, height: int, bits: int, masks: bytes = b"", packing: int = 0, width: int = 3) -> bytes:
    """A BMP of the given rows; `masks` (and what follows them) make its header longer than the usual 40 bytes."""
    size = 40 + len(masks)
    info = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, packing, len(rows), 0, 0, 0, 0) + masks
    return b"BM" + struct.pack("<IHHI", 14 + size + len(rows), 0, 0, 14 + size) + info + rows


def rows_of(image: np.ndarray) -> bytes:
    """BGR or BGRA rows, each padded to four bytes."""
    flat = [row.tobytes() for row in image]
    return b"".join(row + b"\0" * (-len(row) % 4) for row in flat)


def reason(data: bytes) -> str:
    with pytest.raises(FaceError) as caught:
        decode(data)
    return caught.value.reason


def test_rows_from_the_bottom_or_from_the_top() -> None:
    bgr = PIXELS[:, :, ::-1]
    assert np.array_equal(decode(bmp(rows_of(bgr[::-1]), 2, 24)), PIXELS)
    assert np.array_equal(decode(bmp(rows_of(bgr), -2, 24)), PIXELS)
    assert probe(bmp(rows_of(bgr), -2, 24)).height == 2


def test_as_opencv_writes_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (14, 27, 3), np.uint8)
    assert np.array_equal(decode(cv2.imencode(".bmp", image)[1].tobytes()), image[:, :, ::-1])


def test_the_old_12_byte_header() -> None:
    rows = rows_of(PIXELS[::-1, :, ::-1])
    data = b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + struct.pack("<IHHHH", 12, 3, 2, 1, 24) + rows
    assert np.array_equal(decode(data), PIXELS)


def test_the_fourth_byte_of_plain_32_bit_pixels_is_no_alpha() -> None:
    data = bmp(rows_of(np.dstack([PIXELS[:, :, ::-1], ALPHA])[::-1]), 2, 32)
    assert not probe(data).has_alpha
    assert np.array_equal(decode(data), PIXELS)
    with pytest.raises(FaceError) as caught:
        decode_masked(data)
    assert caught.value.reason == "no-mask"


def test_a_header_with_an_alpha_mask_gives_alpha() -> None:
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    data = bmp(rows_of(np.dstack([PIXELS[:, :, ::-1], ALPHA])[::-1]), 2, 32, masks, packing=3)
    assert probe(data).has_alpha
    assert np.array_equal(decode_masked(data), np.dstack([PIXELS, ALPHA]))
    assert reason(data) == "has-alpha"


@pytest.mark.parametrize("bits", [24, 32])
def test_every_bmp_cut_short_is_truncated(bits: int) -> None:
    data = bmp(rows_of(np.zeros((2, 3, bits // 8), np.uint8)), 2, bits)
    assert decode(data).shape == (2, 3, 3)
    assert {reason(data[:cut]) for cut in range(18, len(data))} == {"truncated"}


@pytest.mark.parametrize(("bits", "packing"), [(24, 4), (24, 5), (7, 0)])
def test_packings_that_are_not_read_are_named(bits: int, packing: int) -> None:
    assert reason(bmp(b"\0" * 64, 2, bits, packing=packing)) == "unsupported-format"


def test_sizes_out_of_bounds() -> None:
    assert reason(bmp(b"", 40000, 24, width=40000)) == "too-large"
    assert reason(bmp(b"", 0, 24)) == "corrupt"
    assert reason(bmp(b"", 2, 24, width=-3)) == "corrupt"
