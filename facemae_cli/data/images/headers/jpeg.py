"""JPEG (ITU T.81): frame header, segment framing and Exif orientation, without decoding."""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from facemae_cli.data.images.headers.header import (
    ImageInfo,
    Limits,
    check_size,
    corrupt,
    exif_orientation,
    make_info,
    truncated,
)
from facemae_cli.errors import FaceError

MAX_SCANS = 500  # of a progressive JPEG: real ones have about ten, and each one costs a pass over the image
MAX_PASSES = 16  # over the largest image that is read; a smaller one may take more of them

_MARKER = re.compile(rb"\xff[^\x00\xff]")  # a marker where one is due: 00 is not a marker, FF is padding
_SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # inside a scan, FF00 is data and D0 to D7 only restart it
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READABLE = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # baseline, extended, progressive, and the last two in arithmetic coding
_BARE = {0x01, *range(0xD0, 0xD8)}  # markers without a length


def parse(data: bytes, limits: Limits) -> tuple[ImageInfo, bytes]:
    """Header of the JPEG, and its bytes without those between segments, of which libjpeg would print a warning, and
    without Exif, of which Pillow would.

    The walk goes on to the end marker (an Exif thumbnail holds one of its own, so it cannot be searched); what comes
    after it is ignored. Raises FaceError: `truncated`, `corrupt`, `too-large`, `unsupported-format`.
    """
    position, kept, scans, orientation = 2, 0, 0, 0
    frame: tuple[int, int, int, tuple[int, int]] | None = None
    pieces: list[bytes] = []
    while True:
        start = _find(_MARKER, data, position)
        if start != position and data[position:start].strip(b"\xff"):
            pieces.append(data[kept:position])
            kept = start
        code, body = data[start + 1], start + 2
        if code == _EOI:
            break
        position = _segment_end(data, code, start)
        if code in _FRAMES:
            frame = _frame(data[body + 2 : position], code, frame is not None, limits)
        elif code == _APP1:
            if not orientation and data.startswith(b"Exif\0\0", body + 2):
                orientation = exif_orientation(data[body + 8 : position])
            pieces.append(data[kept:start])
            kept = position
        elif code == _SOS:
            scans += 1
            position = _find(_SCAN_END, data, position)
    if frame is None or not scans:
        corrupt("JPEG", "it has no picture before its end marker")
    most = min(MAX_SCANS, MAX_PASSES * limits.max_pixels // (frame[0] * frame[1]))
    if scans > most:
        raise FaceError("too-large", f"{scans} scans are over the limit of {most}: save it again as baseline JPEG")
    info = replace(make_info("jpeg", frame[:2], frame[2], False, 8, orientation or 1), chroma=frame[3])
    return info, b"".join([*pieces, data[kept:]]) if pieces else data


def _find(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = pattern.search(data, position)
    if found is None:
        truncated("JPEG", len(data), "its end marker")
    return found.start()


def _segment_end(data: bytes, code: int, start: int) -> int:
    """Where the segment whose marker `code` stands at `start` ends; a scan's coded data is not part of it."""
    body = start + 2
    if code in _BARE:
        return body
    if code < 0xC0 or code == 0xD8:
        corrupt("JPEG", f"marker ff{code:02x} at byte {start}")
    length = int.from_bytes(data[body : body + 2], "big")
    if body + max(length, 2) > len(data):
        truncated("JPEG", len(data), "its end marker")
    if length < 2:
        corrupt("JPEG", f"segment of length {length} at byte {start}")
    return body + length


def _frame(body: bytes, code: int, repeated: bool, limits: Limits) -> tuple[int, int, int, tuple[int, int]]:
    """Width, height, components and `_chroma` of a frame header (SOFn)."""
    if len(body) < 6 or repeated:
        corrupt("JPEG", "it has a second frame header" if repeated else "its frame header is too short")
    depth, height, width, components = struct.unpack_from(">BHHB", body)
    if code not in _READABLE or depth != 8 or components not in (1, 3, 4):
        kind = f"a JPEG of coding ff{code:02x}, {depth} bits and {components} components"
        raise FaceError("unsupported-format", f"{kind} is not read: save it as an ordinary 8-bit JPEG")
    check_size("JPEG", width, height, limits)
    return width, height, components, _chroma(body[6 : 6 + 3 * components])


def _chroma(components: bytes) -> tuple[int, int]:
    """How many pixels across and down share a sample of the component that has the fewest, by the sampling factors."""
    factors = [(each >> 4, each & 15) for each in components[1::3]]
    across, down = ([pair[axis] for pair in factors] for axis in (0, 1))
    if len(factors) < 3 or not min(across) or not min(down):
        return 1, 1  # grey, or damage that the decoder finds
    return max(across) // min(across), max(down) // min(down)
