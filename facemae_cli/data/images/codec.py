"""Encoded images to pixels and back: uint8 RGB or RGBA arrays, decoded by OpenCV where that is exact and fast.

What is always done, whatever the format: the header is checked before anything is decoded by parsers of our own, Exif
orientation is applied, grey and palette become RGB, CMYK becomes RGB as Pillow converts it, and samples of 16 bits
keep their high byte. Colour profiles are ignored. Of an animation the first (or the still) picture is taken.
A JPEG that is whole in its framing but damaged in its coded data is decoded as far as libjpeg can, and a PNG damaged
before its checksums were made is refused; of these two the codecs print a line on stderr that nothing can hold back.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image

from facemae_cli.data.images import plain_png
from facemae_cli.data.images.headers import bmp, jpeg, png, webp
from facemae_cli.data.images.headers.header import (
    DEFAULT_LIMITS,
    MAX_BYTES,
    MAX_PIXELS,
    Format,
    ImageInfo,
    Limits,
    limits_in_use,
    sniff,
)
from facemae_cli.data.images.pixels import Pixels
from facemae_cli.errors import FaceError

__all__ = [
    "DEFAULT_LIMITS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "ImageInfo",
    "Limits",
    "decode",
    "decode_any",
    "decode_masked",
    "decode_visible",
    "encode_jpeg",
    "encode_png",
    "opaque",
    "probe",
    "suffix_of",
    "unblended",
    "visible",
]

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # its failures are raised here, never printed

_SUFFIXES: dict[Format, str] = {"jpeg": ".jpg", "png": ".png", "webp": ".webp", "bmp": ".bmp"}
_OPAQUE = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def probe(data: bytes, limits: Limits | None = None) -> ImageInfo:
    """What `data` holds, by its header and framing alone; nothing is decoded.

    Raises FaceError: `empty`, `not-an-image`, `unsupported-format`, `too-large`, `truncated`, `corrupt`.
    """
    return _parse(data, limits)[0]


def decode(data: bytes) -> Pixels:
    """The face in `data`: (H, W, 3) uint8 RGB, contiguous. An alpha channel that hides nothing is dropped.

    Raises FaceError: `has-alpha` where a pixel is not opaque (a masked face, which must not pass as a bare one),
    `corrupt` where the codec fails, and all that `probe` raises.
    """
    return opaque(decode_any(data))


def opaque(image: Pixels) -> Pixels:
    """A decoded face, (H, W, 3) or (H, W, 4) uint8, without an alpha channel: (H, W, 3). Raises FaceError `has-alpha`
    where a pixel is not opaque."""
    if image.shape[2] == 4:
        if int(image[:, :, 3].min()) < 255:
            raise FaceError("has-alpha", "it has transparent pixels: it is masked already, or not a plain photo")
        image = np.ascontiguousarray(image[:, :, :3])
    return image


def decode_masked(data: bytes) -> Pixels:
    """The masked face in `data`: (H, W, 4) uint8 RGBA as stored, colours under alpha 0 untouched.

    Raises FaceError: `no-mask` where the image has no alpha channel, `corrupt`, and all that `probe` raises.
    """
    info, body = _parse(data)
    if not info.has_alpha:
        raise FaceError("no-mask", f"this {info.format.upper()} has no alpha channel, so no mask: mask it first")
    return _pixels(info, body)


def decode_luma(data: bytes) -> Pixels | None:
    """The brightness of a JPEG in colour as it stores it, (H, W) uint8, untouched by how it stores colours; None of any
    other image. Raises FaceError as `decode` does."""
    info, body = _parse(data)
    if info.format != "jpeg" or info.channels != 3:
        return None
    luma = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if luma is None:
        raise FaceError("corrupt", "broken JPEG: its decoder gives up")
    plain = np.asarray(luma, np.uint8)
    return _upright(plain, info.orientation) if info.orientation > 1 else plain


def decode_any(data: bytes) -> Pixels:
    """The picture in `data` as it is stored: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA where it has an alpha channel.

    Raises FaceError: `corrupt` where the codec fails, and all that `probe` raises.
    """
    return _pixels(*_parse(data))


def decode_visible(data: bytes) -> Pixels:
    """What a face shows, (H, W, 3) uint8 RGB: as `decode`, and of a masked face its visible patches on black.

    Raises FaceError as `decode` does, but for `has-alpha`; `half-transparent` where alpha is neither 0 nor 255.
    """
    return visible(decode_any(data))


def visible(image: Pixels) -> Pixels:
    """What a decoded face, (H, W, 3) or (H, W, 4) uint8, shows: (H, W, 3), on black what is transparent.

    Raises FaceError `half-transparent` where alpha is neither 0 nor 255.
    """
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:]
    if not np.isin(alpha, (0, 255)).all():
        raise FaceError("half-transparent", "some of its pixels are half transparent: neither a face nor a masked one")
    return np.where(alpha > 0, image[..., :3], np.uint8(0))


def unblended(data: bytes, image: Pixels) -> Pixels:
    """The face in `data`, which `decode` makes `image` of, with no colour that crosses the edge of 2 x 2 pixels; both
    are (H, W, 3) uint8 RGB.

    In a 4:2:0 JPEG these four share one sample of colour, which decoders blend with those around it; here each keeps
    its own. Of other images the blend stays (4:2:2 and rarer forms, and what Pillow cannot decode to half its size).
    Raises FaceError as `probe` does.
    """
    info, body = _parse(data)
    return _without_blend(info, body, image) if info.chroma == (2, 2) else image


def encode_png(image: Pixels) -> bytes:
    """`image`, (H, W, 3) RGB or (H, W, 4) RGBA uint8, as a PNG without metadata; equal pixels give equal bytes.

    Raises ValueError for an array of another form.
    """
    if _check_image(image) == 4:
        return plain_png.encode(image)
    return _encode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [])


def encode_jpeg(image: Pixels, quality: int = 95) -> bytes:
    """`image`, (H, W, 3) uint8 RGB, as a JPEG of that `quality` (1 to 100), chroma in full resolution (4:4:4).

    Raises ValueError for an array of another form and for another quality.
    """
    if _check_image(image) != 3 or not 1 <= quality <= 100:
        raise ValueError(f"a JPEG takes 3 channels and a quality of 1 to 100, not {image.shape} and {quality}")
    chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _encode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality, *chroma])


def middle(height: int, width: int, sides: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of an image that a network of these `sides` sees: all where it takes a square, else the
    middle part of its own shape. So a 112 x 96 network gets of a 112 x 112 face what its own template holds: ArcFace's
    is that of 112 x 96, moved by 8 pixels."""
    if sides[0] == sides[1]:
        return slice(0, height), slice(0, width)
    scale = min(height / sides[0], width / sides[1])
    rows, columns = (max(1, round(scale * side)) for side in sides)
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def in_shape(image: Pixels, sides: tuple[int, int]) -> Pixels:
    """The `middle` part of `image`, (H, W, 3) uint8, for a network of these sides, not yet resized: a view of it."""
    return image[middle(image.shape[0], image.shape[1], sides)]


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """An (H, W, 3) uint8 image at another size, by area where it shrinks, cubic where it grows; itself at its own."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    made = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(made, dtype=np.uint8)


def suffix_of(data: bytes) -> str:
    """`.png`, `.jpg`, `.webp` or `.bmp` by the magic bytes. Raises FaceError as `sniff` does."""
    return _SUFFIXES[sniff(data)]


def _parse(data: bytes, limits: Limits | None = None) -> tuple[ImageInfo, bytes]:
    """As `probe`, and with it the bytes to decode: the same image without what only makes a codec warn."""
    kind = sniff(data)
    limits = limits or limits_in_use()
    if len(data) > limits.max_bytes:
        raise FaceError("too-large", f"{len(data)} bytes are over the limit of {limits.max_bytes}: make it smaller")
    if kind == "jpeg":
        return jpeg.parse(data, limits)
    if kind == "png":
        return png.parse(data, limits)
    return (webp if kind == "webp" else bmp).parse(data, limits), data


def _pixels(info: ImageInfo, body: bytes) -> Pixels:
    """(H, W, 3) RGB, or (H, W, 4) RGBA where the image has alpha; uint8, contiguous, upright."""
    image = plain_png.decode(body) if info.format == "png" else None
    if image is None:
        image = _by_opencv(info, body) if _is_plain(info, body) else _by_pillow(info, body)
    if image.shape[:2] != ((info.height, info.width) if info.orientation < 5 else (info.width, info.height)):
        raise FaceError("corrupt", f"its header states {info.width}x{info.height}, its pixels are {image.shape[:2]}")
    return image if info.orientation == 1 else _upright(image, info.orientation)


def _is_plain(info: ImageInfo, body: bytes) -> bool:
    """Whether OpenCV decodes it exactly: JPEG of 1 or 3 components; PNG of grey, grey and alpha, RGB or RGBA."""
    if info.format == "png":
        color = png.color_type(body)
        return color != png.PALETTE and info.has_alpha == (color in (png.GREY_ALPHA, png.RGBA))
    return info.format == "jpeg" and info.channels != 4


def _by_opencv(info: ImageInfo, body: bytes) -> Pixels:
    """(H, W, 3) RGB, or (H, W, 4) RGBA where the image has alpha; uint8, as stored. Raises FaceError `corrupt`."""
    try:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_UNCHANGED if info.has_alpha else _OPAQUE)
    except cv2.error as error:
        raise FaceError("corrupt", f"the {info.format.upper()} decoder fails: {error.err}") from error
    if image is None or image.shape[2:] != ((4,) if info.has_alpha else (3,)):
        raise FaceError("corrupt", f"broken {info.format.upper()}: its decoder gives up")
    if image.dtype == np.uint16:
        image = np.right_shift(image, 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA if info.has_alpha else cv2.COLOR_BGR2RGB), np.uint8)


def _by_pillow(info: ImageInfo, body: bytes) -> Pixels:
    """What OpenCV does not read exactly: WebP, BMP, CMYK JPEG, PNG with a palette or a transparent colour. As
    `_by_opencv`."""
    try:
        with Image.open(io.BytesIO(body), formats=[info.format]) as picture:
            return np.array(picture.convert("RGBA" if info.has_alpha else "RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow's plugins raise whatever broken bytes make them raise
        raise FaceError("corrupt", f"broken {info.format.upper()}: {' '.join(str(error).split())}") from error


def _without_blend(info: ImageInfo, body: bytes, blended: Pixels) -> Pixels:
    """The 4:2:0 JPEG that decodes to `blended`, each 2 x 2 pixels with their own sample of colour.

    Decoded to half its size, a JPEG's samples of colour come as they are stored, and grey is its luma as it is stored.
    """
    height, width = blended.shape[:2] if info.orientation < 5 else blended.shape[1::-1]
    half = (height + 1) // 2, (width + 1) // 2
    try:
        with Image.open(io.BytesIO(body), formats=["jpeg"]) as picture:
            picture.draft("YCbCr", half[::-1])
            samples = np.asarray(picture)
            plain = picture.mode == "YCbCr" and samples.shape[:2] == half
    except (OSError, ValueError, SyntaxError):  # a JPEG of red, green and blue, or one that OpenCV alone repairs
        return blended
    luma = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if not plain or luma is None:
        return blended
    chroma = samples[..., 2:0:-1].repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    image = np.asarray(cv2.cvtColor(np.dstack([luma, chroma]), cv2.COLOR_YCrCb2RGB), np.uint8)
    return _upright(image, info.orientation) if info.orientation > 1 else image


def _upright(image: Pixels, orientation: int) -> Pixels:
    """`image`, (H, W) or (H, W, channels), turned and mirrored as Exif `orientation` 2 to 8 asks; contiguous."""
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _check_image(image: Pixels) -> int:
    """How many channels it has. Raises ValueError."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or 0 in image.shape:
        raise ValueError(f"an image is (H, W, 3 or 4) uint8, not {image.shape} {image.dtype}")
    return image.shape[2]


def _encode(suffix: str, image: Any, options: list[int]) -> bytes:
    done, buffer = cv2.imencode(suffix, image, options)
    if not done:
        raise ValueError(f"OpenCV cannot encode {image.shape} as {suffix}")
    return buffer.tobytes()
