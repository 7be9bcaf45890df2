"""Smooth random pictures from a secret: what regions of mixed faces, and warps of faces, are made of."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

CELLS = 4  # random values along a side, about as wide apart as an eye from a nose
SIDE = CELLS + 2  # values along a side of the grid, which may be shifted by a cell
VALUES = 2 + SIDE * SIDE  # numbers that a picture is made from

Field = NDArray[np.float64]


def uniform(seed: bytes, count: int) -> Field:
    """(count,) numbers in [0, 1): SHAKE-256(seed), read as little-endian u32, over 2^32."""
    return np.frombuffer(hashlib.shake_256(seed).digest(4 * count), "<u4") / 2.0**32


def smooth_fields(values: Field, height: int, width: int) -> Field:
    """(n, VALUES) numbers in [0, 1) to (n, height, width) smooth pictures in [0, 1).

    Of each row two numbers shift a grid of 6 x 6 others, which the picture blends between (smoothstep).
    """
    fields = [
        _blend(row[0], height) @ row[2:].reshape(SIDE, SIDE) @ _blend(row[1], width).T
        for row in values.reshape(-1, VALUES)
    ]
    return np.array(fields)


def _blend(offset: float, points: int) -> Field:
    """(points, SIDE) weights of the grid's values along a side, the grid shifted by `offset` of a cell."""
    at = offset + (np.arange(points) + 0.5) * CELLS / points
    near, weight = at.astype(np.intp), at % 1
    weight = weight * weight * (3 - 2 * weight)
    weights = np.zeros((points, SIDE))
    weights[np.arange(points), near] = 1 - weight
    weights[np.arange(points), near + 1] = weight
    return weights
