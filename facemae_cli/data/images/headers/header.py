"""What an encoded image says about itself before anything is decoded, and what is shared by the parsers that read it.

The parsers (`jpeg`, `png`, `webp`, `bmp`) are our own, so that an image of absurd size costs nothing, a truncated one
is never half-decoded into grey, and a codec is handed no chunk that it would print a warning about.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal, NoReturn

from facemae_cli.errors import FaceError

MAX_PIXELS = 2**24
MAX_BYTES = 2**26

Format = Literal["jpeg", "png", "webp", "bmp"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_FOREIGN = (  # offset, magic, what a person calls it
    (0, b"GIF8", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyp", "HEIC (or another ISO media file)"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How large an image may be: `max_pixels` (width x height) once decoded, `max_bytes` encoded."""

    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES


DEFAULT_LIMITS = Limits()
_in_use = DEFAULT_LIMITS


def limits_in_use() -> Limits:
    """What readers and decoders hold to where they are given no limits of their own."""
    return _in_use


def allow_pixels(count: int) -> None:
    """From now on this process decodes images of up to `count` pixels, and reads 4 bytes for each of them, 64 MiB at
    least."""
    use_limits(Limits(count, max(MAX_BYTES, 4 * count)))


def use_limits(limits: Limits) -> None:
    """From now on this process holds to `limits` wherever none are given."""
    global _in_use
    _in_use = limits


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What the header says. `width` and `height` are in pixels, as decoded: Exif `orientation` (1 to 8) applied.

    `channels` are those stored: 1 grey, 2 grey and alpha, 3 RGB or palette, 4 RGBA or CMYK. `depth`: bits a sample.
    `chroma`: how many pixels across and down share one sample of colour; (2, 2) is a JPEG's 4:2:0.
    """

    format: Format
    width: int
    height: int
    channels: int
    has_alpha: bool
    depth: int = 8
    orientation: int = 1
    chroma: tuple[int, int] = (1, 1)

    @property
    def subsampled(self) -> bool:
        """Whether pixels share samples of colour, so that a patch's colours are also its neighbours'."""
        return self.chroma != (1, 1)


def sniff(data: bytes) -> Format:
    """The format by its magic bytes. Raises FaceError: `empty`, `not-an-image`, `unsupported-format`."""
    if data.startswith(b"\xff\xd8\xff") or data == b"\xff\xd8":
        return "jpeg"
    if data.startswith(PNG_MAGIC):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM") and len(data) >= 18 and 12 <= int.from_bytes(data[14:18], "little") <= 256:
        return "bmp"
    if not data:
        raise FaceError("empty", "0 bytes: there is nothing in it")
    for offset, magic, name in _FOREIGN:
        if data.startswith(magic, offset):
            raise FaceError("unsupported-format", f"{name} is not read: convert it to PNG or JPEG")
    raise FaceError("not-an-image", f"starts with {data[:8].hex(' ')}, which is not a JPEG, PNG, WebP or BMP")


def truncated(kind: str, size: int, wanted: str) -> NoReturn:
    """Raises FaceError `truncated`: the image of `size` bytes ends before what is `wanted`."""
    raise FaceError("truncated", f"the {kind} ends at byte {size} before {wanted}: get the whole file")


def corrupt(kind: str, problem: str) -> NoReturn:
    """Raises FaceError `corrupt`, saying which problem."""
    raise FaceError("corrupt", f"broken {kind}: {problem}")


def check_size(kind: str, width: int, height: int, limits: Limits, cost: int = 1) -> None:
    """Raises FaceError `corrupt` for a size without pixels, `too-large` for one over the limit.

    `cost`: how many times the memory and time of a plain picture of 8 bits it takes to decode.
    """
    if width < 1 or height < 1:
        corrupt(kind, f"its size is {width}x{height}")
    if width * height * cost > limits.max_pixels:
        times = f", counted {cost} times for what it takes to decode" if cost > 1 else ""
        limit = f"over the limit of {limits.max_pixels} pixels{times}"
        raise FaceError("too-large", f"{width}x{height} is {limit}: resize it, or allow it by --max-pixels")


def make_info(
    kind: Format, size: tuple[int, int], channels: int, alpha: bool, depth: int, orientation: int
) -> ImageInfo:
    """An ImageInfo from the stored (width, height), turned where `orientation` turns the image on its side."""
    width, height = size if orientation < 5 else size[::-1]
    return ImageInfo(kind, width, height, channels, alpha, depth, orientation)


def exif_orientation(tiff: bytes) -> int:
    """The orientation (1 to 8) in IFD0 of an Exif block that starts at its TIFF header; 1 where it says none."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 10:
        return 1
    start = struct.unpack_from(order + "I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return 1
    count = struct.unpack_from(order + "H", tiff, start)[0]
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == 0x0112:
            value = struct.unpack_from(order + ("I" if kind == 4 else "H"), tiff, entry + 8)[0]
            return value if 1 <= value <= 8 else 1
    return 1
