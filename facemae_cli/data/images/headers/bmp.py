"""BMP (Windows device-independent bitmaps): size, alpha and completeness, without decoding."""

from __future__ import annotations

import struct

from facemae_cli.data.images.headers.header import ImageInfo, Limits, check_size, make_info, truncated
from facemae_cli.errors import FaceError


def parse(data: bytes, limits: Limits) -> ImageInfo:
    """Header of the BMP. It has alpha only where the header masks it: plain 32-bit BMPs leave that byte undefined."""
    header = int.from_bytes(data[14:18], "little")
    if len(data) < 14 + header:
        truncated("BMP", len(data), "the end of its header")
    if header < 40:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        packing = 0
    else:
        width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)
    check_size("BMP", width, height, limits)
    if packing > 3 or bits not in (1, 4, 8, 16, 24, 32):
        raise FaceError("unsupported-format", f"a BMP of packing {packing} and {bits} bits is not read: save it as PNG")
    stored = (width * bits + 31) // 32 * 4 * height if packing in (0, 3) else 0
    if int.from_bytes(data[10:14], "little") + stored > len(data):
        truncated("BMP", len(data), "the last of its rows")
    alpha = header >= 56 and packing == 3 and bits == 32 and any(data[66:70])
    return make_info("bmp", (width, height), 4 if alpha else 3, alpha, 8, 1)
