"""WebP (RFC 9649): size, alpha and Exif orientation, without decoding."""

from __future__ import annotations

import struct

from facemae_cli.data.images.headers.header import (
    ImageInfo,
    Limits,
    check_size,
    corrupt,
    exif_orientation,
    make_info,
    truncated,
)


def parse(data: bytes, limits: Limits) -> ImageInfo:
    """Canvas size and alpha of the three WebP forms; the chunks of an extended one are walked for Exif."""
    size = len(data)
    if size < 30 or int.from_bytes(data[4:8], "little") + 8 > size:
        truncated("WebP", size, "the end its header states")
    kind, alpha, orientation, cost = data[12:16], False, 1, 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        alpha = bool(data[20] & 0x10)
        orientation = _orientation(data)
        cost = 2 if data[20] & 0x02 else 1  # an animation is put together on canvases of its own
    else:
        corrupt("WebP", f"its first chunk is {kind!r}")
    check_size("WebP", width, height, limits, cost)
    return make_info("webp", (width, height), 4 if alpha else 3, alpha, 8, orientation)


def _orientation(data: bytes) -> int:
    position = 12
    while position + 8 <= len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if data.startswith(b"EXIF", position):
            return exif_orientation(data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0"))
        position += 8 + length + (length & 1)
    return 1
