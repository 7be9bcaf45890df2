"""Inputs for the decoders of WebP and BMP: chunks and header fields edited in their own terms."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random

from fuzz.mutating import change_bytes, nudged, reorder
from fuzz.pictures import exif, picture, saved, side, target
from PIL import Image


@cache
def _webp_seeds() -> list[bytes]:
    rgb, rgba = picture(3), picture(4)
    seeds = [
        saved(rgb, "WEBP"),
        saved(rgba, "WEBP"),
        saved(rgb, "WEBP", lossless=True),
        saved(rgba, "WEBP", lossless=True),
    ]
    frames = [Image.fromarray(rgba[::-1].copy())]
    return [*seeds, saved(rgb, "WEBP", exif=exif(6)), saved(rgba, "WEBP", save_all=True, append_images=frames)]


@lru_cache(4096)
def _riff(data: bytes) -> list[bytes]:
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append(data[at : at + 8 + length + length % 2])
        at += len(chunks[-1])
    return [*chunks, data[at:]]


def _riff_joined(chunks: Sequence[bytes]) -> bytes:
    body = b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _webp_order(random: Random, data: bytes) -> bytes:
    return _riff_joined(reorder(random, list(_riff(data))))


def _webp_chunk(random: Random, data: bytes) -> bytes:
    """A change in a chunk: its kind, its length, its size in pixels or its bytes; the rest fits again."""
    chunks = list(_riff(data))
    at = random.randrange(len(chunks))
    kind, body = chunks[at][:4], chunks[at][8:]
    choice = random.randrange(5)
    if choice == 0:
        kind = random.choice((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP", b"abcd"))
    elif choice == 1 and kind == b"VP8 " and len(body) > 10:
        body = body[:6] + struct.pack("<HH", side(random) & 0xFFFF, side(random) & 0xFFFF) + body[10:]
    elif choice == 1 and kind == b"VP8L" and len(body) > 5:
        sides = (side(random) - 1 & 0x3FFF) | (side(random) - 1 & 0x3FFF) << 14 | random.randrange(16) << 28
        body = body[:1] + struct.pack("<I", sides) + body[5:]
    elif choice == 1 and kind == b"VP8X" and len(body) > 9:
        canvas = struct.pack("<II", side(random) - 1 & 0xFFFFFF, side(random) - 1 & 0xFFFFFF)
        body = bytes([random.getrandbits(8)]) + body[1:4] + canvas[:3] + canvas[4:7]
    else:
        body = change_bytes(random, body)
    length = len(body) if random.random() < 0.9 else nudged(random, len(body), 32)
    chunks[at] = kind + struct.pack("<I", length) + body
    return _riff_joined(chunks)


@cache
def _bmp_seeds() -> list[bytes]:
    rgb, rgba = picture(3), picture(4)
    seeds = [
        saved(rgb, "BMP"),
        saved(rgba, "BMP"),
        saved(rgb, "BMP", "P"),
        saved(rgb, "BMP", "1"),
        saved(picture(1), "BMP"),
    ]
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 5, -5, 1, 32, 3, 100, 0, 0, 0, 0) + masks + bytes(52)
    palette = bytes(range(64)) * 16
    runs = b"\x05\x01\0\0" * 5 + b"\0\x03\x01\x02\x03\0\0\x02\x01\x01\0\x01"
    packed = struct.pack("<IiiHHIIiiII", 40, 5, 5, 1, 8, 1, len(runs), 0, 0, 256, 0) + palette + runs
    core = struct.pack("<IHHHH", 12, 4, 4, 1, 24) + bytes(48)
    for body, start in ((head + bytes(range(100)), 122), (packed, 54 + 1024), (core, 26)):
        seeds.append(b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, start) + body)
    return seeds


def _bmp_field(random: Random, data: bytes) -> bytes:
    """Another number in one field of the two headers."""
    start, width = random.choice(
        ((10, 4), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2), (30, 4), (34, 4), (46, 4), (54, 4), (66, 4))
    )
    old = int.from_bytes(data[start : start + width], "little")
    fresh = {
        14: random.choice((12, 16, 40, 52, 56, 64, 108, 124)),
        28: random.choice((0, 1, 2, 4, 8, 16, 24, 32, 64)),
    }.get(start)
    if fresh is None:
        fresh = side(random) if start in (18, 22) and random.random() < 0.7 else nudged(random, old, 8 * width)
    if start == 22 and random.random() < 0.3:
        fresh = -fresh
    return data[:start] + (fresh & (1 << 8 * width) - 1).to_bytes(width, "little") + data[start + width :]


TARGETS = [
    target("webp", _webp_seeds, _webp_order, _webp_chunk, _webp_chunk, _webp_chunk, change_bytes),
    target("bmp", _bmp_seeds, _bmp_field, _bmp_field, _bmp_field, change_bytes),
]
