"""JPEG framing: what is whole, what is cut off, what is not read; and which way up."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from facemae_cli.data.images.codec import Limits, decode, probe, unblended
from facemae_cli.data.images.headers.header import exif_orientation
from facemae_cli.errors import FaceError


def picture(height: int = 24, width: int = 40) -> np.ndarray:
    """A smooth (height, width, 3) RGB image in which no two corners look alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * rows / (height - 1), 255 * columns / (width - 1)
    return np.stack([red, green, 128 + 60 * np.sin(rows / 5 + columns / 9)], axis=2).astype(np.uint8)


def jpeg(image: np.ndarray | None = None, **options: object) -> bytes:
    """A JPEG as Pillow writes it, of the sample picture unless another is given."""
    buffer = io.BytesIO()
    Image.fromarray(picture() if image is None else image).save(buffer, "JPEG", **{"quality": 90} | options)
    return buffer.getvalue()


def app1_exif(orientation: int, order: str = "<", thumbnail: bytes = b"") -> bytes:
    """An Exif segment with one orientation entry, then (as cameras do) a thumbnail."""
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = magic + struct.pack(order + "IH", 8, 1) + entry + struct.pack(order + "I", 0) + thumbnail
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


def with_segment(data: bytes, segment: bytes) -> bytes:
    return data[:2] + segment + data[2:]


def reason(data: bytes, **limits: int) -> str:
    with pytest.raises(FaceError) as caught:
        probe(data, Limits(**limits))
    assert "\n" not in caught.value.detail
    return caught.value.reason


def sof(data: bytes) -> int:
    """Where the frame header of a baseline or progressive JPEG starts."""
    return next(at for code in (b"\xff\xc0", b"\xff\xc2") if (at := data.find(code)) > 0)


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(progressive=True),
        with_segment(jpeg(), app1_exif(1, thumbnail=jpeg(picture(8, 8)))),
        jpeg(restart_marker_blocks=1),
    ],
    ids=["baseline", "progressive", "thumbnail", "restarts"],
)
def test_every_jpeg_cut_short_is_truncated(data: bytes) -> None:
    assert probe(data).width == 40
    assert {reason(data[:cut]) for cut in range(2, len(data))} == {"truncated"}


def test_progressive_jpeg_has_several_scans_and_decodes() -> None:
    data = jpeg(progressive=True)
    assert data.count(b"\xff\xda") > 1
    assert np.abs(decode(data).astype(int) - picture()).mean() < 3


def test_bytes_after_the_end_marker_are_fine() -> None:
    data = jpeg()
    for tail in (b"\0" * 7, b"trailing text", b"\xff", jpeg(picture(8, 8))):
        assert np.array_equal(decode(data + tail), decode(data))


def test_padding_before_markers_is_fine() -> None:
    data = jpeg()
    assert np.array_equal(decode(data[:2] + b"\xff\xff" + data[2:-2] + b"\xff" + data[-2:]), decode(data))


def test_bytes_between_segments_are_left_out_and_the_codec_stays_silent(capfd: pytest.CaptureFixture[str]) -> None:
    data = jpeg()
    second = 4 + int.from_bytes(data[4:6], "big")
    third = second + 2 + int.from_bytes(data[second + 2 : second + 4], "big")
    dirty = data[:second] + b"junk" + data[second:third] + b"\0\xff\0\xff" + data[third:]
    assert np.array_equal(decode(dirty), decode(data))
    assert capfd.readouterr() == ("", "")


def test_comment_and_application_segments_are_skipped_whole() -> None:
    inside = b"\xff\xd9\xff\xda\xff\xc0"
    comment = b"\xff\xfe" + struct.pack(">H", len(inside) + 2) + inside
    assert np.array_equal(decode(with_segment(jpeg(), comment)), decode(jpeg()))


@pytest.mark.parametrize("marker", [b"\xff\x02", b"\xff\xbf", b"\xff\xd8", b"\xff\xe5\0\1"])
def test_a_marker_that_no_jpeg_has_there_is_corrupt(marker: bytes) -> None:
    assert reason(with_segment(jpeg(), marker)) == "corrupt"


def test_a_second_frame_header_is_corrupt() -> None:
    data = jpeg()
    start = sof(data)
    assert reason(data[:start] + data[start : start + 19] + data[start:]) == "corrupt"


def test_without_a_scan_or_a_frame_there_is_no_picture() -> None:
    assert reason(b"\xff\xd8\xff\xd9") == "corrupt"
    data = jpeg()
    assert reason(data[: data.find(b"\xff\xda")] + b"\xff\xd9") == "corrupt"


@pytest.mark.parametrize(("offset", "value"), [(1, 0xC3), (1, 0xC5), (1, 0xCB), (4, 12), (9, 2)])
def test_codings_that_are_not_read_are_named(offset: int, value: int) -> None:
    data = bytearray(jpeg())
    data[sof(data) + offset] = value
    assert reason(bytes(data)) == "unsupported-format"


def test_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    data = bytearray(jpeg())
    struct.pack_into(">HH", data, sof(data) + 5, 40000, 40000)
    with pytest.raises(FaceError, match="40000x40000 is over the limit of 16777216 pixels") as caught:
        decode(bytes(data))
    assert caught.value.reason == "too-large"
    struct.pack_into(">HH", data, sof(data) + 5, 0, 40)
    assert reason(bytes(data)) == "corrupt"


def test_limits_are_inclusive() -> None:
    data = jpeg()
    assert probe(data, Limits(24 * 40, len(data))).height == 24
    assert reason(data, max_pixels=24 * 40 - 1) == "too-large"
    assert reason(data, max_bytes=len(data) - 1) == "too-large"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = jpeg(progressive=True)
    start = data.rfind(b"\xff\xda")
    assert reason(data[:start] + data[start:-2] * 500 + data[-2:]) == "too-large"


def test_of_the_largest_picture_fewer_scans_are_read() -> None:
    data = jpeg(progressive=True)
    start = data.rfind(b"\xff\xda")
    longer = data[:-2] + data[start:-2] * 14 + data[-2:]
    assert probe(data, Limits(24 * 40)) == probe(longer, Limits(24 * 40 * 2))
    with pytest.raises(FaceError, match=r"scans are over the limit of 16: ") as caught:
        probe(longer, Limits(24 * 40))
    assert caught.value.reason == "too-large"


@pytest.mark.filterwarnings("error")
def test_broken_exif_of_a_cmyk_jpeg_warns_nobody() -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).convert("CMYK").save(buffer, "JPEG")
    broken = b"\xff\xe1\x00\x16Exif\0\0II*\0\x08\0\0\0\x20\0\x12\x01"
    assert np.array_equal(decode(with_segment(buffer.getvalue(), broken)), decode(buffer.getvalue()))


def test_grey_becomes_rgb() -> None:
    data = jpeg(picture()[:, :, 1])
    assert probe(data).channels == 1
    grey = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode(data), np.repeat(grey[:, :, None], 3, axis=2))


def test_cmyk_becomes_the_rgb_that_pillow_says() -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).convert("CMYK").save(buffer, "JPEG", quality=95)
    data = buffer.getvalue()
    assert probe(data).channels == 4
    image = decode(data)
    assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert np.abs(image.astype(int) - picture()).mean() < 5  # and not its negative, as a wrong inversion gives


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_is_applied_as_pillow_does(orientation: int, order: str) -> None:
    plain = jpeg(subsampling=0)
    data = with_segment(plain, app1_exif(orientation, order))
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    info = probe(data)
    assert (info.width, info.height) == turned.size
    assert info.orientation == orientation
    upright = Image.fromarray(decode(plain))
    if orientation > 1:
        upright = upright.transpose(list(Image.Transpose)[[0, 3, 1, 5, 4, 6, 2][orientation - 2]])
    assert np.array_equal(decode(data), np.asarray(upright))
    assert np.abs(decode(data).astype(int) - np.asarray(turned)).max() <= 2
    assert decode(data).flags.c_contiguous


def test_only_the_first_exif_segment_counts() -> None:
    data = with_segment(with_segment(jpeg(), app1_exif(3)), app1_exif(6))
    assert probe(data).orientation == 6


@pytest.mark.parametrize(
    ("tiff", "expected"),
    [
        (b"", 1),
        (b"II*\0\x08\0\0\0", 1),
        (b"II*\0\xff\xff\xff\xff\0\0", 1),
        (b"XX*\0\x08\0\0\0\x01\0", 1),
        (b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 12, 1),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 6), 6),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 9), 1),
        (b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 1, 0), 1),
        (b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHII", 0x0112, 4, 1, 8), 8),
        (b"MM\0*\0\0\0\x08\0\x02" + b"\x01\0" * 6 + struct.pack(">HHIHH", 0x0112, 3, 1, 5, 0), 5),
    ],
)
def test_orientation_of_whole_and_broken_exif_blocks(tiff: bytes, expected: int) -> None:
    assert exif_orientation(tiff) == expected


@pytest.mark.parametrize(
    ("factor", "chroma"), [("444", (1, 1)), ("420", (2, 2)), ("422", (2, 1)), ("440", (1, 2)), ("411", (4, 1))]
)
def test_how_many_pixels_share_a_sample_of_colour(factor: str, chroma: tuple[int, int]) -> None:
    option = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}")
    data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, option])[1].tobytes()
    assert (probe(data).chroma, probe(data).subsampled) == (chroma, chroma != (1, 1))


def test_a_grey_jpeg_shares_no_colour() -> None:
    assert not probe(jpeg(picture()[..., 0])).subsampled


def plain(data: bytes) -> np.ndarray:
    """Decoded without blending colours."""
    return unblended(data, decode(data))


def checks(seed: int) -> np.ndarray:
    """(48, 48, 3) RGB, a colour every 16 pixels: in a 4:2:0 JPEG each is a block of its own."""
    colors = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return colors.repeat(16, axis=0).repeat(16, axis=1)


def test_without_blending_no_colour_crosses_a_block_s_edge() -> None:
    """The middle block decodes to the same pixels whatever stands around it; blended, it does not."""
    first, second = checks(1), checks(2)
    second[16:32, 16:32] = first[16:32, 16:32]
    middle = np.s_[16:32, 16:32]
    pair = [plain(jpeg(image, subsampling=2))[middle] for image in (first, second)]
    assert (pair[0] == pair[1]).all()
    blended = [decode(jpeg(image, subsampling=2))[middle] for image in (first, second)]
    assert (blended[0] != blended[1]).any()
    assert np.abs(pair[0][4:-4, 4:-4].astype(int) - blended[0][4:-4, 4:-4]).max() <= 1  # far from edges they agree


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}])
def test_other_jpegs_decode_as_ever(options: dict[str, int]) -> None:
    data = jpeg(**options)
    assert (plain(data) == decode(data)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_unblended_pixels_stand_upright_and_in_place(orientation: int) -> None:
    """Also where a side is odd, so that the last column and row have a sample of colour for themselves."""
    data = with_segment(jpeg(picture(23, 41), subsampling=2, quality=95), app1_exif(orientation))
    apart, blended = plain(data), decode(data)
    assert apart.shape == blended.shape
    assert np.abs(apart.astype(int) - blended).mean() < 3


def test_a_jpeg_of_red_green_and_blue_keeps_its_colours() -> None:
    """Adobe's marker says that nothing was converted; what is luma elsewhere is red here."""
    data = jpeg(subsampling=2)
    adobe = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, 0)
    end = 4 + int.from_bytes(data[4:6], "big")
    as_rgb = data[:2] + adobe + data[end:]
    assert (plain(as_rgb) == decode(as_rgb)).all()
