"""Inputs for the decoder of JPEG: segments edited in their own terms."""

from __future__ import annotations

import struct
from functools import cache, lru_cache
from random import Random

from fuzz.mutating import change_bytes, reorder
from fuzz.pictures import exif, picture, saved, side, target


@cache
def _jpeg_seeds() -> list[bytes]:
    grey, rgb = picture(1), picture(3)
    seeds = [
        saved(rgb, "JPEG"),
        saved(rgb, "JPEG", progressive=True),
        saved(grey, "JPEG"),
        saved(rgb, "JPEG", "CMYK"),
    ]
    seeds += [
        saved(rgb, "JPEG", subsampling=2, restart_marker_rows=1),
        saved(rgb, "JPEG", exif=b"Exif\0\0" + exif(8)),
    ]
    return [*seeds, saved(rgb, "JPEG", optimize=True, comment=b"words", quality=100, subsampling=0)]


@lru_cache(4096)
def _segments(data: bytes) -> list[bytes]:
    """SOI, the segments up to the first scan, and from there to the end each piece that a marker starts."""
    pieces, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xD9:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while end + 1 < len(data) and (data[end] != 0xFF or data[end + 1] in (0, *range(0xD0, 0xD8))):
                end += 1
        pieces.append(data[at:end])
        at = end
    return [*pieces, data[at:]]


def _jpeg_order(random: Random, data: bytes) -> bytes:
    return b"".join(reorder(random, list(_segments(data))))


def _jpeg_segment(random: Random, data: bytes) -> bytes:
    """A change in a segment, its length made right again; of a frame header often its size or its components."""
    pieces = list(_segments(data))
    at = random.randrange(len(pieces))
    marker, body = pieces[at][:2], pieces[at][4:]
    if marker[1:] in (b"\xc0", b"\xc1", b"\xc2") and random.random() < 0.7:
        body = _jpeg_frame(random, body)
    elif random.random() < 0.2:
        marker = b"\xff" + bytes(
            [random.choice((0xC0, 0xC2, 0xC4, 0xC9, 0xCC, 0xDA, 0xDB, 0xDD, 0xE1, 0xEE, 0xD8, 0x01))]
        )
    else:
        body = change_bytes(random, body)
    pieces[at] = marker + struct.pack(">H", min(len(body) + 2, 65535)) + body
    return b"".join(pieces)


def _jpeg_frame(random: Random, body: bytes) -> bytes:
    if len(body) < 6 or random.random() < 0.3:
        return change_bytes(random, body)
    height, width = struct.unpack_from(">HH", body, 1)
    size = (height, side(random) & 0xFFFF) if random.random() < 0.5 else (side(random) & 0xFFFF, width)
    return body[:1] + struct.pack(">HH", *size) + body[5:]


def _jpeg_insert(random: Random, data: bytes) -> bytes:
    """Segments or markers more: restarts, comments, Exif, a scan again, a table again."""
    pieces = list(_segments(data))
    turned = b"Exif\0\0" + change_bytes(random, exif(random.randrange(10)))
    scans = [piece for piece in pieces if piece[:2] == b"\xff\xda"] or [b""]
    extra = (b"\xff\xd0", b"\xff\xff\xff", b"\xff\xfe\0\x02", b"\xff\xe1" + struct.pack(">H", len(turned) + 2) + turned)
    more = random.choice(
        (*extra, b"\xff\xdd\0\x04\0\x01", b"junk", b"\xff\xd9", scans[0] * random.choice((1, 20, 600)))
    )
    pieces.insert(random.randrange(len(pieces) + 1), more)
    return b"".join(pieces)


TARGETS = [
    target("jpeg", _jpeg_seeds, _jpeg_order, _jpeg_segment, _jpeg_segment, _jpeg_segment, _jpeg_insert, change_bytes)
]
