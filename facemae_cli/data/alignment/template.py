"""The ArcFace template, and photos warped onto it.

Points are (x, y) in pixels, whole numbers at the middle of a pixel, as OpenCV warps.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (n, 2)
Matrix = NDArray[np.float64]  # (2, 3): [x', y'] = matrix @ [x, y, 1]

SIZE = 112  # pixels a side of a crop
# Eyes, nose and corners of the mouth on a crop, the eye on the left of the picture first (InsightFace).
TEMPLATE: Points = np.array([(38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20)])
MIRRORED = [1, 0, 2, 4, 3]  # which point each one is in a mirrored picture


def similarity(points: Points, target: Points) -> Matrix:
    """The turn, scale and shift that brings `points` nearest to `target`, both (n, 2), in least squares (Umeyama 1991).

    Raises ValueError where all points are one.
    """
    center, target_center = points.mean(0), target.mean(0)
    # As complex numbers z' = a z + b, the least-squares a is <z, z'> / <z, z>.
    moved = (points - center) @ [1, 1j]
    wanted = (target - target_center) @ [1, 1j]
    size = np.vdot(moved, moved).real
    if size == 0:
        raise ValueError("all points are one")
    factor = complex(np.vdot(moved, wanted) / size)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([turn, target_center - turn @ center])


def scale_of(matrix: Matrix) -> float:
    """How much `matrix` enlarges."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def apply(matrix: Matrix, points: Points) -> Points:
    """`points` (n, 2) moved by `matrix`."""
    moved: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def inverse(matrix: Matrix) -> Matrix:
    """The matrix that undoes `matrix`."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def warp(photo: NDArray[np.uint8], matrix: Matrix, size: int) -> NDArray[np.uint8]:
    """`photo` (H, W, 3) as seen through `matrix` in a square of `size` pixels; black beyond its border.

    Where it shrinks, the part that is seen is first averaged down by a whole number, so that nothing flickers.
    """
    factor = int(1 / scale_of(matrix))
    if factor > 1:
        photo, matrix = _shrunk(photo, matrix, size, factor)
    seen = cv2.warpAffine(photo, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return np.asarray(seen, np.uint8)


def _shrunk(photo: NDArray[np.uint8], matrix: Matrix, size: int, factor: int) -> tuple[NDArray[np.uint8], Matrix]:
    """The part of `photo` that `matrix` shows, `factor` times smaller, and the matrix that shows the same of it."""
    corners = apply(inverse(matrix), _corners(size))
    height, width = photo.shape[:2]
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - factor, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + factor + 1, [width, height])
    columns, rows = (int(right) - int(left)) // factor, (int(bottom) - int(top)) // factor
    if columns < 1 or rows < 1:
        return photo, matrix
    part = photo[top : top + rows * factor, left : left + columns * factor]
    small = np.asarray(cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    # Pixel (x, y) of the small part is the middle of a block of the photo.
    middle = np.array([left, top]) + (factor - 1) / 2
    return small, np.column_stack([matrix[:, :2] * factor, matrix[:, :2] @ middle + matrix[:, 2]])


def _corners(size: int) -> Points:
    low, high = -0.5, size - 0.5
    return np.array([(low, low), (high, low), (high, high), (low, high)])


def outside(matrix: Matrix, photo: tuple[int, int], size: int = SIZE) -> float:
    """The share, 0 to 1, of a crop through `matrix` that lies beyond a photo of (height, width) `photo`."""
    height, width = photo
    frame = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])
    crop = apply(inverse(matrix), _corners(size))
    shared, _ = cv2.intersectConvexConvex(crop.astype(np.float32), frame.astype(np.float32))
    whole = (size / scale_of(matrix)) ** 2
    return float(min(max(1 - shared / whole, 0.0), 1.0))
