"""PNG framing, every kind of pixel a PNG can hold, and what never reaches the codec."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from facemae_cli.data.images.codec import decode, decode_masked, encode_png, probe
from facemae_cli.errors import FaceError

MAGIC = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]


def png(*chunks: Chunk) -> bytes:
    """A PNG of the given chunks, IEND added, checksums right."""
    framed = [struct.pack(">I", len(body)) + kind + body for kind, body in (*chunks, (b"IEND", b""))]
    return MAGIC + b"".join(each + struct.pack(">I", zlib.crc32(each[4:])) for each in framed)


def header(width: int, height: int, depth: int, color: int, interlace: int = 0) -> Chunk:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)


def packed(samples: np.ndarray, depth: int) -> bytes:
    """(H, W * channels) samples as unfiltered rows of `depth` bits a sample."""
    if depth == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    bits = (samples[:, :, None] >> np.arange(depth)[::-1]) & 1
    return b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in bits)


def raw_png(samples: np.ndarray, depth: int, color: int, *extra: Chunk) -> bytes:
    """(H, W, C) samples written plainly, with `extra` chunks before the picture."""
    height, width, channels = samples.shape
    rows = packed(samples.reshape(height, width * channels), depth)
    return png(header(width, height, depth, color), *extra, (b"IDAT", zlib.compress(rows)))


def samples(channels: int, depth: int, height: int = 6, width: int = 5) -> np.ndarray:
    return np.random.default_rng(channels * 100 + depth).integers(0, 2**depth, (height, width, channels))


def chunks_of(data: bytes) -> list[bytes]:
    kinds, position = [], 8
    while position < len(data):
        kinds.append(data[position + 4 : position + 8])
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return kinds


def reason(data: bytes, read: Callable[[bytes], object] = probe) -> str:
    with pytest.raises(FaceError) as caught:
        read(data)
    assert "\n" not in caught.value.detail
    return caught.value.reason


ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
SMALL = raw_png(samples(3, 8), 8, 2)


def test_every_png_cut_short_is_truncated() -> None:
    assert probe(SMALL).width == 5
    assert {reason(SMALL[:cut]) for cut in range(len(MAGIC), len(SMALL))} == {"truncated"}


def test_no_flipped_bit_passes() -> None:
    for position in range(len(SMALL)):
        for bit in (1, 0x20, 0x80):
            data = bytearray(SMALL)
            data[position] ^= bit
            expected = {"not-an-image"} if position < len(MAGIC) else {"corrupt", "truncated"}
            assert reason(bytes(data)) in expected, (position, bit)


def test_bytes_after_iend_are_fine() -> None:
    assert np.array_equal(decode(SMALL + b"trailing"), decode(SMALL))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_depth(depth: int) -> None:
    grey = samples(1, depth)
    expected = grey >> 8 if depth == 16 else grey * 255 // (2**depth - 1)
    data = raw_png(grey, depth, 0)
    assert (probe(data).channels, probe(data).depth, probe(data).has_alpha) == (1, depth, False)
    assert np.array_equal(decode(data), np.repeat(expected, 3, axis=2))


@pytest.mark.parametrize("depth", [8, 16])
def test_rgb(depth: int) -> None:
    color = samples(3, depth)
    assert np.array_equal(decode(raw_png(color, depth, 2)), color >> (depth - 8))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("color", "channels"), [(4, 2), (6, 4)])
def test_alpha_is_kept_as_stored(depth: int, color: int, channels: int) -> None:
    stored = samples(channels, depth)
    stored[0, 0, -1] = 0
    expected = (stored >> (depth - 8)).astype(np.uint8)
    expected = expected if channels == 4 else expected[:, :, [0, 0, 0, 1]]
    data = raw_png(stored, depth, color)
    assert probe(data).has_alpha
    assert np.array_equal(decode_masked(data), expected)
    assert reason(data, decode) == "has-alpha"
    stored[:, :, -1] = 2**depth - 1
    assert np.array_equal(decode(raw_png(stored, depth, color)), expected[:, :, :3])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_with_and_without_transparency(depth: int) -> None:
    index = samples(1, depth)
    palette = np.random.default_rng(depth).integers(0, 256, (2**depth, 3)).astype(np.uint8)
    plte = (b"PLTE", palette.tobytes())
    data = raw_png(index, depth, 3, plte)
    assert not probe(data).has_alpha
    assert np.array_equal(decode(data), palette[index[:, :, 0]])
    keyed = raw_png(index, depth, 3, plte, (b"tRNS", b"\0\x80"))
    alpha = np.array([0, 128] + [255] * (2**depth - 2), np.uint8)[index]
    assert probe(keyed).has_alpha
    assert np.array_equal(decode_masked(keyed), np.concatenate([palette[index[:, :, 0]], alpha], axis=2))
    assert np.array_equal(decode(raw_png(index, depth, 3, plte, (b"tRNS", b"\xff"))), palette[index[:, :, 0]])


def test_a_transparent_colour_hides_its_pixels() -> None:
    grey = samples(1, 8)
    data = raw_png(grey, 8, 0, (b"tRNS", struct.pack(">H", grey[2, 3, 0])))
    alpha = np.where(grey == grey[2, 3, 0], 0, 255)
    assert np.array_equal(decode_masked(data), np.concatenate([grey, grey, grey, alpha], axis=2))
    color = samples(3, 8)
    data = raw_png(color, 8, 2, (b"tRNS", struct.pack(">HHH", *color[2, 3])))
    alpha = np.where((color == color[2, 3]).all(axis=2, keepdims=True), 0, 255)
    assert np.array_equal(decode_masked(data), np.concatenate([color, alpha], axis=2))
    assert reason(data, decode) == "has-alpha"
    deep = raw_png(samples(1, 16), 16, 0, (b"tRNS", b"\0\1"))
    assert reason(deep) == "unsupported-format"


def test_a_stray_palette_or_transparency_is_ignored_where_it_does_not_count() -> None:
    stored = samples(4, 8)
    data = raw_png(stored, 8, 6, (b"PLTE", b"abc"), (b"tRNS", b"\0"))
    assert np.array_equal(decode_masked(data), stored)


def test_interlaced() -> None:
    color = samples(3, 8, 8, 8)
    parts = [color[top::down, left::right] for top, left, down, right in ADAM7]
    rows = b"".join(packed(part.reshape(part.shape[0], -1), 8) for part in parts)
    assert np.array_equal(decode(png(header(8, 8, 8, 2, 1), (b"IDAT", zlib.compress(rows)))), color)


def test_a_picture_that_unpacks_to_more_than_its_pixels_is_corrupt() -> None:
    """A megabyte that unpacks to a gigabyte takes a decoder seconds, and 64 of them minutes; its header is innocent."""
    zeros = zlib.compressobj(9)
    first, again = (zeros.compress(bytes(2**20)) + zeros.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    bomb, head = first + 300 * again, header(28, 28, 8, 2)
    pieces = [(b"IDAT", bomb[at : at + 5000]) for at in range(0, len(bomb), 5000)]
    for chunks in ([(b"IDAT", bomb)], pieces):
        with pytest.raises(FaceError, match="broken PNG: it unpacks to more than its pixels"):
            probe(png(head, *chunks))
    assert reason(png(head, (b"IDAT", bytes(2**19))), decode) == "corrupt"  # does not unpack at all


@pytest.mark.parametrize("interlace", [0, 1])
def test_a_large_picture_that_hardly_packs_is_as_good_as_a_small_one(interlace: int) -> None:
    noise = samples(3, 8, 331, 417)
    parts = [noise[top::down, left::right] for top, left, down, right in ADAM7] if interlace else [noise]
    rows = b"".join(packed(part.reshape(part.shape[0], -1), 8) for part in parts)
    data = png(header(417, 331, 8, 2, interlace), (b"IDAT", zlib.compress(rows)))
    assert len(data) > 2**18
    assert np.array_equal(decode(data), noise)


def test_metadata_never_reaches_the_codec(capfd: pytest.CaptureFixture[str]) -> None:
    broken = [
        (b"iCCP", b"x\0\0junk"),
        (b"gAMA", b"\0"),
        (b"sRGB", b"\x09"),
        (b"tEXt", b""),
        (b"tIME", b"1"),
        (b"qqQq", b""),
    ]
    assert np.array_equal(decode(raw_png(samples(3, 8), 8, 2, *broken)), samples(3, 8))
    assert capfd.readouterr() == ("", "")


def test_exif_chunk_turns_the_picture() -> None:
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    data = raw_png(samples(3, 8), 8, 2, (b"eXIf", tiff))
    assert (probe(data).width, probe(data).height) == (6, 5)
    assert np.array_equal(decode(data), np.rot90(samples(3, 8), -1))


def test_of_an_animation_the_still_picture_is_taken() -> None:
    buffer = io.BytesIO()
    frames = [Image.fromarray(samples(3, 8).astype(np.uint8)), Image.fromarray(255 - samples(3, 8).astype(np.uint8))]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    assert b"acTL" in chunks_of(buffer.getvalue())
    assert np.array_equal(decode(buffer.getvalue()), samples(3, 8))


def test_size_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    data = png(header(40000, 40000, 8, 2), (b"IDAT", zlib.compress(bytes(120_001 * 50))))
    with pytest.raises(FaceError, match="40000x40000 is over the limit of 16777216 pixels") as caught:
        decode(data)
    assert caught.value.reason == "too-large"
    with pytest.raises(FaceError, match="3000x3000 is over the limit of 16777216 pixels, counted 2 times"):
        decode(png(header(3000, 3000, 16, 6), (b"IDAT", zlib.compress(bytes(99)))))


@pytest.mark.parametrize(
    "data",
    [
        png((b"IDAT", b"")),
        png(header(5, 6, 8, 2)),
        png(header(0, 6, 8, 2), (b"IDAT", b"")),
        png(header(5, 6, 3, 0), (b"IDAT", b"")),
        png(header(5, 6, 8, 5), (b"IDAT", b"")),
        png(header(5, 6, 8, 3), (b"IDAT", b"")),
        png((b"IHDR", header(5, 6, 8, 2)[1] + b"\0"), (b"IDAT", b"")),
        png(header(5, 6, 8, 2), header(5, 6, 8, 2), (b"IDAT", b"")),
        png(header(5, 6, 8, 2), (b"CgBI", b""), (b"IDAT", b"")),
        png(header(5, 6, 8, 2, interlace=2), (b"IDAT", b"")),
        png(header(5, 6, 8, 2), (b"ID\0T", b"")),
    ],
    ids=[
        "no header",
        "no picture",
        "no width",
        "depth",
        "colour",
        "no palette",
        "long header",
        "two",
        "CgBI",
        "lace",
        "type",
    ],
)
def test_chunks_that_make_no_png_are_corrupt(data: bytes) -> None:
    assert reason(data) == "corrupt"


@pytest.mark.parametrize("rows", [b"", b"\0" * 16 * 5, b"\x09" + b"\0" * 15 + b"\0" * 16 * 5])
def test_what_the_codec_cannot_decode_is_corrupt(rows: bytes) -> None:
    whole = raw_png(np.zeros((6, 5, 3), np.int64), 8, 2)
    assert probe(whole).height == 6
    assert reason(png(header(5, 6, 8, 2), (b"IDAT", zlib.compress(rows))), decode) == "corrupt"
    assert reason(png(header(5, 6, 8, 2), (b"IDAT", rows)), decode) == "corrupt"


def test_written_pngs_hold_pixels_and_nothing_else() -> None:
    large = np.random.default_rng(1).integers(0, 256, (112, 112, 4), np.uint8)
    for image in (large, np.ascontiguousarray(large[:, :, :3]), large[::2, ::-1]):
        data = encode_png(image)
        kinds = chunks_of(data)
        assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == (b"IHDR", {b"IDAT"}, b"IEND")
        assert encode_png(image.copy()) == data
        assert np.array_equal((decode_masked if image.shape[2] == 4 else decode)(data), image)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), image)


def test_colour_under_alpha_0_is_written_as_it_is() -> None:
    image = np.full((14, 14, 4), 0, np.uint8)
    image[:, :, 0], image[:7, :, 3] = 201, 255
    assert np.array_equal(decode_masked(encode_png(image)), image)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_only_images_are_written(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="an image is"):
        encode_png(image)


def test_text_in_a_source_is_gone_after_a_round_trip() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody Known")
    buffer = io.BytesIO()
    Image.fromarray(samples(3, 8).astype(np.uint8)).save(buffer, "PNG", pnginfo=text)
    assert b"Somebody" in buffer.getvalue()
    assert b"Somebody" not in encode_png(decode(buffer.getvalue()))
