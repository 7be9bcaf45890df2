"""Which patches of a face are removed, and how a masked face is written and read back.

A face is cut into a grid of 14 x 14 patches. A mask is a (196,) bool array in row-major patch
order, True where the patch is hidden. One keyed permutation a photo decides: hidden are its first n patches, so a
larger ratio hides all that a smaller one hides, and two releases of one photo do not add up. `eyes` and `mouth` move
their region to the front of that same permutation; `parts` keeps the areas around eyes and mouth corners only (the
FaceCrowd baseline of FaceMAE, arXiv 2205.11090). Another strategy therefore reveals other patches of the same photo.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.images.pixels import Pixels
from facemae_cli.errors import FaceError, UsageError

GRID = 14
TOKENS = GRID * GRID
STRATEGIES = ("random", "eyes", "mouth", "parts")
DEFAULT_RATIO = 0.75
MIN_HIDDEN_FRACTION = 0.20
MIN_HIDDEN = math.ceil(MIN_HIDDEN_FRACTION * TOKENS)

_ALPHA = np.array([0, 0, 0, 255], np.uint8).view(np.uint32)[0]  # of an opaque pixel read as one number
_EVERY_BIT = np.uint32(2**32 - 1)

Mask = NDArray[np.bool_]


def _block(rows: range, columns: range) -> NDArray[np.intp]:
    """The patch numbers of a rectangle of the grid."""
    return np.array([row * GRID + column for row in rows for column in columns], dtype=np.intp)


# The ArcFace template's five points (of 112 pixels, 8 a patch): eyes at patch (row 6, column 4) and (6, 9),
# mouth corners at (11, 5) and (11, 8). Regions reach one patch beyond them on every side.
EYES = _block(range(5, 8), range(3, 11))
MOUTH = _block(range(10, 13), range(4, 10))
PARTS = np.concatenate(
    [_block(range(y - 1, y + 2), range(x - 1, x + 2)) for y, x in ((6, 4), (6, 9), (11, 5), (11, 8))],
)
_REGIONS = {"random": _block(range(0), range(0)), "eyes": EYES, "mouth": MOUTH}


def hidden_count(ratio: float) -> int:
    """How many of the 196 patches a ratio hides: the nearest whole number (147 for 0.75)."""
    return round(ratio * TOKENS)


def count_to_hide(strategy: str, ratio: float | None = None) -> int:
    """How many patches `strategy` hides at `ratio`; None asks for the strategy's own ratio (0.75; `parts` 160 of 196).

    Raises UsageError for an unknown strategy, for a ratio that hides under 20 % (`reconstruct` would refuse such a
    face), leaves no patch visible or does not cover the strategy's region, and for `parts` with another ratio.
    """
    if strategy not in STRATEGIES:
        raise UsageError(f"unknown masking strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    if strategy == "parts":
        return _count_of_parts(ratio)
    ratio = DEFAULT_RATIO if ratio is None else ratio
    if not math.isfinite(ratio) or not 0 <= ratio <= 1:
        raise UsageError(f"ratio {ratio} is not a share of the patches; give a number such as {DEFAULT_RATIO}")
    count = hidden_count(ratio)
    least = max(MIN_HIDDEN, len(_REGIONS[strategy]))
    if count < least:
        smallest = math.ceil(1000 * least / TOKENS) / 1000
        raise UsageError(
            f"ratio {ratio} hides {count} of {TOKENS} patches; {strategy!r} needs at least {least}: "
            f"the smallest ratio is {smallest}"
        )
    if count >= TOKENS:
        raise UsageError(f"ratio {ratio} leaves no patch visible; the largest ratio is {(TOKENS - 1) / TOKENS:.3f}")
    return count


def _count_of_parts(ratio: float | None) -> int:
    """`parts` hides all but its own 36 patches; a ratio may only repeat that."""
    count = TOKENS - len(PARTS)
    if ratio is not None and (not math.isfinite(ratio) or hidden_count(ratio) != count):
        raise UsageError(
            f"ratio {ratio} does not go with the strategy 'parts', which always hides {count} of {TOKENS} patches; "
            "leave --ratio out"
        )
    return count


def permutation(mask_key: bytes, size: tuple[int, int], payload: bytes) -> NDArray[np.intp]:
    """The order in which the patches of one photo are hidden: (196,) patch numbers, each once.

    `size` is (height, width) of the stored face, `payload` its H x W x 3 RGB bytes (or, under a seed, the photo's
    name). Stable argsort of SHAKE-256(HMAC-SHA256(mask_key, "mask" | height | width | payload)), 1568 bytes read as
    196 little-endian u64; height and width are little-endian u32.
    """
    return order_of(photo_digest(mask_key, size, payload))


def photo_digest(mask_key: bytes, size: tuple[int, int], payload: bytes) -> bytes:
    """The 32 keyed bytes of one photo that its `permutation` follows; never to be shown."""
    digest = hmac.new(mask_key, b"mask" + struct.pack("<II", *size), hashlib.sha256)
    digest.update(payload)
    return digest.digest()


def order_of(digest: bytes) -> NDArray[np.intp]:
    """The `permutation` of the photo that has this `photo_digest`."""
    stream = hashlib.shake_256(digest).digest(8 * TOKENS)
    return np.argsort(np.frombuffer(stream, dtype="<u8"), kind="stable")


def hidden(strategy: str, order: NDArray[np.intp], ratio: float | None = None) -> Mask:
    """The (196,) mask of one photo whose `permutation` is `order`: True = hidden.

    Raises UsageError as `count_to_hide` does. `parts` does not look at `order`.
    """
    count = count_to_hide(strategy, ratio)
    mask = np.zeros(TOKENS, dtype=np.bool_)
    if strategy == "parts":
        mask[:] = True
        mask[PARTS] = False
        return mask
    if len(_REGIONS[strategy]):
        in_region = np.isin(order, _REGIONS[strategy])
        order = np.concatenate([order[in_region], order[~in_region]])
    mask[order[:count]] = True
    return mask


def patch_shape(height: int, width: int) -> tuple[int, int]:
    """Height and width of one patch in pixels; raises FaceError `bad-size` where 14 does not divide a side."""
    if height < GRID or width < GRID or height % GRID or width % GRID:
        raise FaceError(
            "bad-size",
            f"{width}x{height} pixels: {GRID} must divide both sides; `mask --size 112` resizes raw faces first",
        )
    return height // GRID, width // GRID


def per_pixel(mask: Mask, height: int, width: int) -> Mask:
    """A (196,) mask expanded to (H, W) pixels; raises FaceError `bad-size`."""
    patch_height, patch_width = patch_shape(height, width)
    return mask.reshape(GRID, GRID).repeat(patch_height, axis=0).repeat(patch_width, axis=1)


def apply(image: Pixels, mask: Mask) -> Pixels:
    """The masked face: (H, W, 3) uint8 RGB and a (196,) mask to (H, W, 4) uint8 RGBA.

    Hidden patches get alpha 0 and RGB 0, so nothing of them is left; the others keep their pixels and alpha 255.
    Raises FaceError `bad-size`.
    """
    height, width = image.shape[:2]
    patch_height, patch_width = patch_shape(height, width)
    masked: Pixels = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # type: ignore[assignment]
    patches = as_words(masked).reshape(GRID, patch_height, GRID, patch_width)
    patches *= ~mask.reshape(GRID, 1, GRID, 1)
    return masked


def as_words(rgba: Pixels) -> NDArray[np.uint32]:
    """The (H, W) pixels of an (H, W, 4) image as one number each, quicker to test, clear or take than four bytes."""
    return np.ascontiguousarray(rgba).view(np.uint32)[..., 0]


def read_mask(rgba: Pixels, least: float = MIN_HIDDEN_FRACTION) -> Mask:
    """The (196,) mask that an (H, W, 4) uint8 RGBA face carries in its alpha channel.

    Raises FaceError: `no-mask` (no alpha channel, or nothing hidden), `bad-size`, `half-transparent` (an alpha other
    than 0 and 255, or a patch that is hidden in part), `colour-under-mask` (RGB other than 0 where alpha is 0),
    `too-little-hidden` (a share under `least`), `nothing-visible`.
    """
    if rgba.ndim != 3 or rgba.shape[2] != 4:
        raise FaceError("no-mask", "the face has no alpha channel, so it is not masked")
    patch_height, patch_width = patch_shape(*rgba.shape[:2])
    alpha = rgba[..., 3]
    corners = alpha[::patch_height, ::patch_width]
    mask: Mask = (corners == 0).reshape(TOKENS)
    removed = per_pixel(mask, *alpha.shape)
    if not np.array_equal(alpha, ~removed * np.uint8(255)):
        raise FaceError("half-transparent", "every patch must be wholly opaque (alpha 255) or wholly removed (alpha 0)")
    if (as_words(rgba) * removed).any():
        raise FaceError("colour-under-mask", "there are colours under removed patches: hidden is not gone")
    check_plausible(mask, least)
    return mask


def read_masks(faces: Pixels, least: float = MIN_HIDDEN_FRACTION) -> tuple[NDArray[np.bool_], list[FaceError | None]]:
    """As `read_mask`, of (N, H, W, 4) faces at once: (N, 196) masks, and for each face the error, if there is one.

    Raises FaceError `bad-size`, which holds for all of them.
    """
    patch_height, patch_width = patch_shape(*faces.shape[1:3])
    words = as_words(faces)
    masks = words[:, ::patch_height, ::patch_width] == 0
    # Where the first pixel of a patch is empty all of it must be; elsewhere alpha must be 255, whatever the colour.
    hidden = masks.repeat(patch_width, axis=2)[:, :, None]
    seen, wanted = np.where(hidden, _EVERY_BIT, _ALPHA), np.where(hidden, np.uint32(0), _ALPHA)
    grid = words.reshape(len(faces), GRID, patch_height, -1)
    whole = (grid & seen == wanted).reshape(len(faces), -1).all(axis=1)
    masks = masks.reshape(len(faces), TOKENS)
    counts = masks.sum(axis=1)
    good = whole & (counts >= max(least * TOKENS, 1)) & (counts < TOKENS)
    return masks, [None if fine else _fault(face, least) for face, fine in zip(faces, good.tolist(), strict=True)]


def _fault(rgba: Pixels, least: float) -> FaceError | None:
    """What `read_mask` raises."""
    try:
        read_mask(rgba, least)
    except FaceError as error:
        return error
    return None


def take_patches(faces: Pixels, masks: NDArray[np.bool_]) -> Pixels:
    """The visible patches of (N, H, W, 4) faces, by (N, 196) masks: (T, h, w, 3), face by face in token order."""
    patch_height, patch_width = patch_shape(*faces.shape[1:3])
    face, token = np.nonzero(~masks)
    if not len(face):
        return np.empty((0, patch_height, patch_width, 3), np.uint8)
    # A line of a patch is taken as one item: ten times quicker than pixel by pixel.
    lines = np.ascontiguousarray(faces).reshape(-1, patch_height, GRID, 4 * patch_width)
    lines = lines.view(f"V{4 * patch_width}")[..., 0]
    taken = lines[face * GRID + token // GRID, :, token % GRID].view(np.uint8).reshape(-1, patch_width, 4)
    patches = cv2.cvtColor(taken, cv2.COLOR_RGBA2RGB)
    return np.asarray(patches, np.uint8).reshape(-1, patch_height, patch_width, 3)


def check_plausible(mask: Mask, least: float = MIN_HIDDEN_FRACTION) -> None:
    """Raises FaceError unless a share of `least` or more is hidden (`no-mask`, `too-little-hidden`), and something is
    left to reconstruct from (`nothing-visible`)."""
    count = int(mask.sum())
    if count == 0:
        raise FaceError("no-mask", "no patch of the face is hidden, so it is not masked")
    if count < least * TOKENS:
        share = f"{count} of {TOKENS} patches ({100 * count / TOKENS:.1f} %) are hidden, under {100 * least:g} %"
        way_out = "mask it again"
        if least > MIN_HIDDEN_FRACTION:
            way_out += f"; --min-hidden {MIN_HIDDEN_FRACTION} takes faces that are masked as little as that"
        raise FaceError("too-little-hidden", f"{share}, where {100 * DEFAULT_RATIO:g} % is usual: {way_out}")
    if count == TOKENS:
        raise FaceError("nothing-visible", f"all {TOKENS} patches are hidden; nothing is left to reconstruct from")
