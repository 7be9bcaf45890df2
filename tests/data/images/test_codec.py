"""Decoding and encoding whatever the format: refusals, silence, and bytes that nobody meant to be an image."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from facemae_cli.data.images.codec import (
    decode,
    decode_masked,
    decode_visible,
    encode_jpeg,
    encode_png,
    probe,
    resize,
    suffix_of,
)
from facemae_cli.errors import FaceError


def picture(height: int = 28, width: int = 42, channels: int = 3) -> np.ndarray:
    """Smooth (height, width, channels) uint8 noise."""
    image = np.random.default_rng(7).integers(0, 256, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(image, (0, 0), 2)


def saved(format_name: str, image: np.ndarray | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture() if image is None else image).save(buffer, format_name)
    return buffer.getvalue()


FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}


def reason(data: bytes) -> str:
    with pytest.raises(FaceError) as caught:
        decode(data)
    assert "\n" not in caught.value.detail
    assert caught.value.exit_code == 2
    return caught.value.reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "empty"),
        (b"This is the story of a face that was none.\n" * 20, "not-an-image"),
        (b"\xff\xd8 a text that starts like a JPEG", "not-an-image"),
        (b"BM is how this text starts, and it is no BMP", "not-an-image"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not-an-image"),
        (b"\0" * 500, "not-an-image"),
        (saved("GIF"), "unsupported-format"),
        (saved("TIFF"), "unsupported-format"),
        (saved("JPEG2000"), "unsupported-format"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported-format"),
        (b"\0\0\0\x18ftypavif\0\0\0\0avifmif1", "unsupported-format"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported-format"),
    ],
)
def test_what_is_no_readable_image_is_refused_by_name(data: bytes, expected: str) -> None:
    assert reason(data) == expected
    with pytest.raises(FaceError) as caught:
        suffix_of(data)
    assert caught.value.reason == expected


@pytest.mark.parametrize(("name", "suffix"), FORMATS.items())
def test_format_goes_by_the_bytes(name: str, suffix: str) -> None:
    data = saved(name)
    info = probe(data)
    assert suffix_of(data) == suffix
    assert (info.format, info.width, info.height, info.channels) == (name.lower(), 42, 28, 3)
    assert np.abs(decode(data).astype(int) - picture()).mean() < 6
    assert decode(data).flags.writeable


def test_colours_keep_their_order() -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 250
    for data in [encode_png(red), encode_jpeg(red), *(saved(name, red) for name in FORMATS)]:
        mean = decode(data).reshape(-1, 3).mean(axis=0)
        assert mean[0] > 240
        assert mean[1:].max() < 10


def test_a_masked_face_never_decodes_as_a_bare_one() -> None:
    rgba = np.dstack([picture(), np.full((28, 42), 255, np.uint8)])
    assert np.array_equal(decode(encode_png(rgba)), picture())
    rgba[27, 41, 3] = 254
    assert reason(encode_png(rgba)) == "has-alpha"
    assert np.array_equal(decode_masked(encode_png(rgba)), rgba)


@pytest.mark.parametrize("name", FORMATS)
def test_a_bare_face_has_no_mask(name: str) -> None:
    with pytest.raises(FaceError, match="no alpha channel") as caught:
        decode_masked(saved(name))
    assert caught.value.reason == "no-mask"


def test_jpeg_is_written_in_full_chroma_without_metadata() -> None:
    data = encode_jpeg(picture())
    frame = data.index(b"\xff\xc0")
    assert struct.unpack_from(">BHHB", data, frame + 4) == (8, 28, 42, 3)
    assert data[frame + 11 : frame + 19 : 3] == b"\x11\x11\x11"
    markers, position = [], 2
    while data[position + 1] != 0xDA:
        markers.append(data[position + 1])
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    assert set(markers) <= {0xE0, 0xDB, 0xC0, 0xC4}
    assert np.abs(decode(data).astype(int) - picture()).mean() < 2


def test_jpeg_quality() -> None:
    sizes = [len(encode_jpeg(picture(), quality)) for quality in (1, 50, 95, 100)]
    assert sizes == sorted(set(sizes))
    assert encode_jpeg(picture()) == encode_jpeg(picture().copy(), 95)
    for image, quality in [(picture(), 0), (picture(), 101), (picture(channels=4), 95)]:
        with pytest.raises(ValueError, match="quality of 1 to 100"):
            encode_jpeg(image, quality)


def test_a_view_encodes_as_its_copy() -> None:
    view = picture(64, 64)[::2, 5:40][:, ::-1]
    assert encode_jpeg(view) == encode_jpeg(view.copy())
    assert encode_png(view) == encode_png(view.copy())


def test_broken_files_leave_the_terminal_alone(capfd: pytest.CaptureFixture[str]) -> None:
    for name in FORMATS:
        data = saved(name)
        for cut in (0, 5, 20, 40, len(data) // 2, len(data) - 1):
            assert reason(data[:cut]) in {"empty", "not-an-image", "truncated"}
        for position in (30, len(data) // 2):
            if name == "PNG":
                flipped = bytes([*data[:position], data[position] ^ 1, *data[position + 1 :]])
                assert reason(flipped) == "corrupt"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", FORMATS)
def test_scrambled_bytes_decode_to_the_stated_size_or_raise_face_error(name: str) -> None:
    whole = saved(name, picture(16, 12))
    random = np.random.default_rng(len(whole))
    outcomes = set()
    for _ in range(300):
        data = bytearray(whole)
        for position in random.integers(0, min(len(data), 400), random.integers(1, 4)):
            data[position] = random.integers(256)
        try:
            info = probe(bytes(data))
            assert decode(bytes(data)).shape == (info.height, info.width, 3)
            outcomes.add("decoded")
        except FaceError as error:
            outcomes.add(error.reason)
    assert outcomes & {"corrupt", "truncated"}
    assert outcomes <= {
        "decoded",
        "corrupt",
        "truncated",
        "too-large",
        "unsupported-format",
        "not-an-image",
        "has-alpha",
    }


@pytest.mark.faces
def test_real_faces_decode_as_opencv_decodes_them(faces_root) -> None:
    data = (faces_root / "private" / "train.rec").read_bytes()[: 1 << 20]
    starts = [at for at in range(0, len(data), 4) if data.startswith(b"\xff\xd8\xff\xe0", at)]
    assert len(starts) > 50
    for at in starts[:50]:
        image = decode(data[at : at + (1 << 16)])
        plain = cv2.imdecode(np.frombuffer(data[at : at + (1 << 16)], np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(image, plain[:, :, ::-1])


def test_resize_keeps_what_fits_averages_when_shrinking_and_takes_any_shape() -> None:
    face = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    assert resize(face, 8, 8) is face
    means = face.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(face, 4, 4) - means).max() <= 0.5
    assert resize(face, 16, 12).shape == (16, 12, 3)


def test_what_a_masked_face_shows_is_its_visible_pixels_on_black() -> None:
    image = picture(channels=4)
    image[..., 3] = 255
    image[:14, :14, 3] = 0
    shown = decode_visible(encode_png(image))
    assert not shown[:14, :14].any()
    image[:14, :14, :3] = 0
    np.testing.assert_array_equal(shown, image[..., :3])
    np.testing.assert_array_equal(decode_visible(encode_png(picture())), picture())


def test_a_half_transparent_face_is_refused() -> None:
    image = picture(channels=4)
    image[..., 3] = 128
    with pytest.raises(FaceError, match="half transparent"):
        decode_visible(encode_png(image))
