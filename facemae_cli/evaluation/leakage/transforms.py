"""What may have been done to whole faces without hiding anybody: turned, mirrored, inverted, colours swapped, blurred.

An attacker undoes it by doing the same to the faces they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.images.pixels import Pixels

Transform = Callable[[Pixels], Pixels]

BLUR = 3.0  # pixels of 112, a standard deviation


def blurred(image: Pixels) -> Pixels:
    """(H, W, 3) with details of less than BLUR of 112 pixels smoothed away."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR * image.shape[0] / 112), np.uint8)


# By name, each from (..., H, W, 3) to the same; `blurred` takes one image.
TRANSFORMS: dict[str, Transform] = {
    "mirrored": lambda image: image[..., :, ::-1, :],
    "upside down": lambda image: image[..., ::-1, ::-1, :],
    "mirrored upside down": lambda image: image[..., ::-1, :, :],
    "turned left": lambda image: np.rot90(image, 1, (-3, -2)),
    "turned right": lambda image: np.rot90(image, -1, (-3, -2)),
    "inverted": lambda image: 255 - image,
    "inverted upside down": lambda image: 255 - image[..., ::-1, ::-1, :],
    "red and blue swapped": lambda image: image[..., ::-1],
    "blurred": blurred,
}
# Another transform, or none, that gives the same features where a face and its mirror image are added up.
MIRROR_IMAGES = {"mirrored": None, "mirrored upside down": "upside down"}
PIXELWISE = tuple(name for name in TRANSFORMS if name != "blurred")  # what commutes with taking thumbnails


def symmetries(images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """(n, S, S, 3) centred on 0, in all 32 ways to mirror, turn and invert them and to swap red and blue."""
    for rows, columns, transposed, swapped, sign in product((1, -1), (1, -1), (False, True), (1, -1), (1, -1)):
        made = images[:, ::rows, ::columns, ::swapped]
        yield sign * (made.transpose(0, 2, 1, 3) if transposed else made)


def invariants(images: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, S, S, 3) centred on 0 to (n, d) rows that none of the `symmetries` changes.

    Cosine coefficients change their sign when a face is mirrored or inverted, and places when it is transposed or its
    colours are swapped; so magnitudes count, and of two that change places their sum and difference. Two faces are at
    most as far apart as their pixels are: a near copy is always near.
    """
    side = images.shape[1]
    kept = min(side, 8)
    place, wave = np.arange(side) + 0.5, np.arange(kept)[:, None]
    basis = np.cos(np.pi * place * wave / side) * np.sqrt(np.where(wave, 2, 1) / side)
    found = np.abs(np.einsum("ih,jw,nhwc->nijc", basis, basis, images.astype(np.float64), optimize=True))
    upper, lower, diagonal = found[:, *np.triu_indices(kept, 1)], found[:, *_lower(kept)], found[:, *_diagonal(kept)]
    found = np.concatenate([*_folded(upper, lower), diagonal], axis=1)
    return np.concatenate([*_folded(found[..., 0], found[..., 2]), found[..., 1]], axis=1)


def _lower(side: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    rows, columns = np.triu_indices(side, 1)
    return columns, rows


def _diagonal(side: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.diag_indices(side)  # type: ignore[return-value]


def _folded(values: NDArray[np.float64], exchanged: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Sum and difference of values and those they change places with, so scaled that no distance grows."""
    return (values + exchanged) / np.sqrt(2), np.abs(values - exchanged) / np.sqrt(2)
