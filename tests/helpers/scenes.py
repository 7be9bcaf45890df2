"""Photos made of aligned faces: turned, made larger or smaller, and put into larger scenes, several in one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SOFT = 5  # pixels of a crop over which its border fades into the scene


class Scene(NamedTuple):
    """A photo (H, W, 3) uint8 RGB, and for each face in it the matrix (2, 3) from its crop's pixels to the photo's."""

    photo: Image
    placed: list[NDArray[np.float64]]


def placement(side: int, middle: Sequence[float], scale: float, angle: float) -> NDArray[np.float64]:
    """The matrix that puts a crop of `side` pixels around `middle`, `scale` times larger, turned by `angle` degrees."""
    turn = scale * np.array(
        [
            [math.cos(math.radians(angle)), -math.sin(math.radians(angle))],
            [math.sin(math.radians(angle)), math.cos(math.radians(angle))],
        ]
    )
    center = np.full(2, (side - 1) / 2)
    return np.column_stack([turn, np.asarray(middle) - turn @ center])


def background(height: int, width: int, rng: np.random.Generator) -> Image:
    """Smooth colours and a little noise: nothing that looks like a face."""
    coarse = rng.integers(100, 160, (4, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def paste(photo: Image, face: Image, matrix: NDArray[np.float64]) -> None:
    """Puts `face` into `photo`, which changes, where `matrix` says; its border fades over SOFT of its pixels."""
    size = photo.shape[1], photo.shape[0]
    opaque = np.zeros(face.shape[:2], np.float32)
    opaque[SOFT:-SOFT, SOFT:-SOFT] = 1
    opaque = cv2.GaussianBlur(opaque, (0, 0), SOFT / 3)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 1:  # no detail that the photo could not have
        face = np.asarray(cv2.GaussianBlur(face, (0, 0), 0.4 / scale), np.uint8)
    seen = cv2.warpAffine(face, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(opaque, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    photo[:] = np.rint(photo * (1 - cover) + seen * cover)


def one_face(
    face: Image,
    size: tuple[int, int] = (480, 640),
    middle: tuple[float, float] | None = None,
    scale: float = 1.0,
    angle: float = 0.0,
    seed: int = 0,
) -> Scene:
    """A photo of (height, width) `size` with `face` around `middle`, (x, y), by default its own."""
    photo = background(*size, np.random.default_rng(seed))
    matrix = placement(len(face), middle or (size[1] / 2, size[0] / 2), scale, angle)
    paste(photo, face, matrix)
    return Scene(photo, [matrix])


def several(faces: Sequence[Image], scales: Sequence[float], angles: Sequence[float], seed: int = 0) -> Scene:
    """A photo just large enough for `faces` side by side, each in a square that its turned crop fits into."""
    sides = [math.ceil(len(face) * scale * 1.5) for face, scale in zip(faces, scales, strict=True)]
    rng = np.random.default_rng(seed)
    photo = background(max(max(sides), 240), max(sum(sides), 320), rng)
    placed, left = [], 0
    for face, scale, angle, side in zip(faces, scales, angles, sides, strict=True):
        top = rng.uniform(0, len(photo) - side) if len(photo) > side else 0
        placed.append(placement(len(face), (left + side / 2, top + side / 2), scale, angle))
        paste(photo, face, placed[-1])
        left += side
    return Scene(photo, placed)
