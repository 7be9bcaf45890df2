"""WebP: sizes by its three headers, alpha, orientation, and what is cut off."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from facemae_cli.data.images.codec import decode, decode_masked, probe
from facemae_cli.errors import FaceError


def picture(channels: int = 3, height: int = 24, width: int = 40) -> np.ndarray:
    image = np.random.default_rng(channels).integers(0, 256, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 2)


def webp(image: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", **options)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(FaceError) as caught:
        probe(data)
    return caught.value.reason


def test_lossless_is_exact() -> None:
    data = webp(picture(), lossless=True)
    assert data[12:16] == b"VP8L"
    info = probe(data)
    assert (info.format, info.width, info.height, info.has_alpha) == ("webp", 40, 24, False)
    assert np.array_equal(decode(data), picture())


def test_lossy_is_near() -> None:
    data = webp(picture(), quality=95)
    assert data[12:16] == b"VP8 "
    assert (probe(data).width, probe(data).height) == (40, 24)
    assert np.abs(decode(data).astype(int) - picture()).mean() < 4


@pytest.mark.parametrize("options", [{"lossless": True, "exact": True}, {"quality": 95}], ids=["VP8L", "VP8X"])
def test_alpha(options: dict[str, object]) -> None:
    image = picture(4)
    image[:12, :, 3], image[12:, :, 3] = 0, 255
    data = webp(image, **options)
    assert probe(data).has_alpha
    masked = decode_masked(data)
    assert np.array_equal(masked[:, :, 3], image[:, :, 3])
    assert "exact" not in options or np.array_equal(masked, image)
    with pytest.raises(FaceError) as caught:
        decode(data)
    assert caught.value.reason == "has-alpha"


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    data = webp(picture(), lossless=True, exif=exif)
    assert data[12:16] == b"VP8X"
    assert (probe(data).width, probe(data).height) == (24, 40)
    assert np.array_equal(decode(data), np.rot90(picture()))


def test_of_an_animation_the_first_picture_is_taken() -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert np.array_equal(decode(buffer.getvalue()), picture())


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 90}, {"quality": 90, "exif": b"Exif\0\0II*\0"}])
def test_every_webp_cut_short_is_truncated(options: dict[str, object]) -> None:
    data = webp(picture(), **options)
    assert probe(data).width == 40
    assert {reason(data[:cut]) for cut in range(12, len(data))} == {"truncated"}


def test_a_webp_that_lies_about_its_length_is_corrupt() -> None:
    data = webp(picture(), lossless=True)
    half = data[: len(data) // 2 // 2 * 2]
    with pytest.raises(FaceError) as caught:
        decode(half[:4] + struct.pack("<I", len(half) - 8) + half[8:])
    assert caught.value.reason == "corrupt"


def test_a_size_over_the_limit_is_refused_by_its_header() -> None:
    data = bytearray(webp(picture(4), quality=90))
    assert data[12:16] == b"VP8X"
    data[24:30] = struct.pack("<I", 39999)[:3] * 2
    assert reason(bytes(data)) == "too-large"


def test_an_animation_costs_twice_its_size() -> None:
    buffer, image = io.BytesIO(), Image.fromarray(picture())
    image.save(buffer, "WEBP", save_all=True, append_images=[Image.fromarray(255 - picture())])
    data = bytearray(buffer.getvalue())
    data[24:30] = struct.pack("<I", 2895)[:3] * 2
    assert probe(bytes(data)).width == 2896
    data[24:30] = struct.pack("<I", 2896)[:3] * 2
    assert reason(bytes(data)) == "too-large"


def test_an_unknown_first_chunk_is_corrupt() -> None:
    data = webp(picture(), lossless=True)
    assert reason(data[:12] + b"JUNK" + data[16:]) == "corrupt"
    assert reason(data[:20] + b"\x2e" + data[21:]) == "corrupt"
