"""PNG (W3C, third edition): header, chunk framing and checksums, without decoding."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from facemae_cli.data.images.headers.header import (
    PNG_MAGIC,
    ImageInfo,
    Limits,
    check_size,
    corrupt,
    exif_orientation,
    make_info,
    truncated,
)
from facemae_cli.errors import FaceError

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types

_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 3, GREY_ALPHA: 2, RGBA: 4}
_DEPTHS = {GREY: (1, 2, 4, 8, 16), RGB: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), RGBA: (8, 16)}
_BITS = {**_CHANNELS, PALETTE: 1}  # times the depth: bits a pixel
_UNSEEN = 2**18  # bytes of packed pixels not looked into: they unpack to 258 MiB at most, in less than a second
_ONCE = {b"IHDR", b"PLTE", b"tRNS", b"IEND"}


def parse(data: bytes, limits: Limits) -> tuple[ImageInfo, bytes]:
    """Header of the PNG, and its bytes without the chunks that hold no pixels; of an animation the still picture.

    Chunks and their checksums are walked to IEND; what comes after it is ignored.
    Raises FaceError: `truncated`, `corrupt`, `too-large`, `unsupported-format`.
    """
    kept, seen, orientation = [PNG_MAGIC], set[bytes](), 1
    width = height = depth = color = 0
    for kind, start, end in _chunks(data):
        if not seen:
            width, height, depth, color = _header(kind, data[start + 8 : end - 4], limits)
        if kind in seen and kind in _ONCE:
            corrupt("PNG", f"a second {kind.decode()} chunk at byte {start}")
        if kind == b"eXIf":
            orientation = exif_orientation(data[start + 8 : end - 4])
        elif _holds_pixels(kind, color):
            kept.append(data[start:end])
        elif kind[0] < 0x60 and kind != b"PLTE":
            corrupt("PNG", f"unknown critical chunk {kind.decode()} at byte {start}")
        seen.add(kind)
    if b"IDAT" not in seen or (color == PALETTE and b"PLTE" not in seen):
        corrupt("PNG", "it has no picture, or no palette for it")
    keyed = b"tRNS" in seen and _holds_pixels(b"tRNS", color)
    if keyed and color != PALETTE and depth != 8:
        kind_text = f"a {depth}-bit PNG with a transparent colour"
        raise FaceError("unsupported-format", f"{kind_text} is not read: save it as RGBA")
    _check_unpacked(kept, height * (width * _BITS[color] * depth // 8 + 2))
    has_alpha = keyed or color in (GREY_ALPHA, RGBA)
    info = make_info("png", (width, height), _CHANNELS[color] + keyed, has_alpha, depth, orientation)
    return info, data if sum(map(len, kept)) == len(data) else b"".join(kept)


def color_type(body: bytes) -> int:
    """The colour type of a PNG that `parse` accepted."""
    return body[25]


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, first and last-plus-one byte of each chunk up to IEND, its checksum verified."""
    view, position, kind = memoryview(data), len(PNG_MAGIC), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 12 + length
        if len(kind) == 4 and not kind.isalpha():
            corrupt("PNG", f"chunk of type {kind!r} at byte {position}")
        if end > len(data):
            truncated("PNG", len(data), "its IEND chunk")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            corrupt("PNG", f"wrong checksum of chunk {kind.decode()} at byte {position}")
        yield kind, position, end
        position = end


def _header(kind: bytes, body: bytes, limits: Limits) -> tuple[int, int, int, int]:
    """Width, height, bits a sample and colour type, once they are known to make sense."""
    if kind != b"IHDR" or len(body) != 13:
        corrupt("PNG", "it does not start with an IHDR chunk")
    width, height, depth, color, packing, filtering, interlace = struct.unpack(">IIBBBBB", body)
    if depth not in _DEPTHS.get(color, ()) or packing or filtering or interlace > 1:
        corrupt("PNG", f"its header is {body[8:].hex(' ')}")
    check_size("PNG", width, height, limits, cost=2 if depth == 16 else 1)
    return width, height, depth, color


def _check_unpacked(chunks: Sequence[bytes], size: int) -> None:
    """Raises FaceError `corrupt` where the picture unpacks to over twice the `size` of its lines: a decoder would
    unpack all of it, of a few megabytes minutes long. Twice, since interlaced lines are more and shorter."""
    packed = [memoryview(chunk)[8:-4] for chunk in chunks if chunk[4:8] == b"IDAT"]
    if sum(map(len, packed)) <= _UNSEEN:
        return
    reader, left = zlib.decompressobj(), 2 * size + 2**16
    for part in packed:
        rest: bytes | memoryview = part
        while rest and not reader.eof:
            try:
                left -= len(reader.decompress(rest, 2**20))
            except zlib.error:
                return  # the decoder will say so
            if left < 0:
                corrupt("PNG", "it unpacks to more than its pixels")
            rest = reader.unconsumed_tail


def _holds_pixels(kind: bytes, color: int) -> bool:
    """Whether a chunk is needed to decode the still picture; a palette or a transparent colour only where it counts."""
    if kind == b"PLTE":
        return color == PALETTE
    if kind == b"tRNS":
        return color in (GREY, RGB, PALETTE)
    return kind in (b"IHDR", b"IDAT", b"IEND")
