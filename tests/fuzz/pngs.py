"""Inputs for the decoder of PNG: chunks edited in their own terms, their checksums made right again."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random

import cv2
from fuzz.mutating import change_bytes, number, reorder
from fuzz.pictures import exif, picture, saved, side, target
from PIL import Image

from facemae_cli.data.images.headers.header import PNG_MAGIC


@cache
def _png_seeds() -> list[bytes]:
    grey, rgb, rgba = picture(1), picture(3), picture(4)
    seeds = [
        cv2.imencode(".png", image)[1].tobytes() for image in (grey, rgb, rgba, picture(3, "u2"), picture(4, "u2"))
    ]
    seeds += [saved(rgb, "PNG", "P"), saved(rgb, "PNG", "P", transparency=3), saved(grey, "PNG", "1", bits=1)]
    seeds += [
        saved(rgb, "PNG", transparency=(0, 3, 6)),
        saved(rgba, "PNG", "LA"),
        saved(grey, "PNG", exif=b"Exif\0\0" + exif(6)),
    ]
    seeds.append(saved(rgb, "PNG", save_all=True, append_images=[Image.fromarray(rgb[::-1].copy())]))
    return [*seeds, _joined([_ihdr(5, 5, 8, 6, 1), _chunk(b"IDAT", zlib.compress(bytes(400))), _chunk(b"IEND", b"")])]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _ihdr(width: int, height: int, depth: int, color: int, interlace: int) -> bytes:
    return _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace))


def _joined(chunks: Sequence[bytes]) -> bytes:
    return PNG_MAGIC + b"".join(chunks)


@lru_cache(4096)
def _chunks(data: bytes) -> list[bytes]:
    chunks, at = [], 8
    while at + 12 <= len(data):
        chunks.append(data[at : at + 12 + int.from_bytes(data[at : at + 4], "big")])
        at += len(chunks[-1])
    return [*chunks, data[at:]]


def _png_order(random: Random, data: bytes) -> bytes:
    return _joined(reorder(random, list(_chunks(data))))


def _png_header(random: Random, data: bytes) -> bytes:
    """Another size, depth, colour type or interlacing, with a right checksum."""
    if len(data) < 33:
        return data
    fields = list(struct.unpack_from(">IIBBBBB", data, 16))
    at = random.choice((0, 0, 1, 1, 2, 3, 3, 4, 5, 6, 6))
    fields[at] = side(random) if at < 2 else random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return data[:8] + _chunk(b"IHDR", struct.pack(">IIBBBBB", *fields)) + data[33:]


def _png_body(random: Random, data: bytes) -> bytes:
    """A change in a chunk's body or type, its checksum made right again."""
    chunks = list(_chunks(data))
    at = random.randrange(len(chunks))
    kind, body = chunks[at][4:8], chunks[at][8:-4]
    if kind == b"IDAT" and random.random() < 0.7:
        try:
            rows = zlib.decompressobj().decompress(body, 2**20)
        except zlib.error:
            rows = bytes(100)
        rows += random.randbytes(300_000) if random.random() < 0.005 else b""  # more than its pixels
        body = zlib.compress(change_bytes(random, rows) * random.choice((1, 1, 1, 3)), 1)
    elif random.random() < 0.2:
        kind = random.choice(
            (b"PLTE", b"tRNS", b"IDAT", b"eXIf", b"acTL", b"fcTL", b"gAMA", b"iCCP", b"ABCD", b"zTXt", b"\xc3abc")
        )
    else:
        body = change_bytes(random, body)
    chunks[at] = _chunk(kind, body)
    return _joined(chunks)


def _png_insert(random: Random, data: bytes) -> bytes:
    """One chunk more, of any kind."""
    extra = (
        *(
            (b"tRNS", random.randbytes(random.choice((1, 2, 6, 256, 300)))),
            (b"PLTE", random.randbytes(3 * random.randrange(90))),
        ),
        *((b"eXIf", exif(random.randrange(10))), (b"IDAT", b""), (b"sBIT", b"\x05\x05\x05"), (b"IEND", b"")),
        *((b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000))), (b"iCCP", b"a\0\0" + zlib.compress(bytes(200)))),
        *((b"acTL", struct.pack(">II", number(random, 32), 0)), (b"cHRM", bytes(32)), (b"gAMA", bytes(4))),
    )
    chunks = list(_chunks(data))
    chunks.insert(random.randrange(len(chunks) + 1), _chunk(*random.choice(extra)))
    return _joined(chunks)


_EDITS = (_png_order, _png_header, _png_body, _png_body, _png_body, _png_insert, _png_insert)
TARGETS = [target("png", _png_seeds, *_EDITS)]
