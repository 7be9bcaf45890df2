"""What a face is painted on: maps of colour, relief, gloss and cover, and the few brushes that fill them.

Everything is seen from the front in the units of the 112-pixel ArcFace template: x from the midline of the
face (negative to the picture's left), y down from the template's upper edge. Colours are linear light, 0..1.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Map = NDArray[Any]  # float32

LEFT, RIGHT, TOP, BOTTOM = -78, 78, -26, 134
NOISE_SIZE = 128


def linear(color: ArrayLike) -> Map:
    """An sRGB colour 0..1 as linear light, (3, 1, 1), by the plain power 2.2."""
    return np.power(np.asarray(color, np.float32), np.float32(2.2))[:, None, None]


def bump(values: Map, middle: float, sigma: float) -> Map:
    """A Gaussian of height 1."""
    return np.exp(np.square((values - np.float32(middle)) * np.float32(1 / sigma)) * np.float32(-0.5))


def edge(inside: Map, soft: float) -> Map:
    """0 .. 1 over `soft` units about the line where the signed depth `inside` is 0: an antialiased border."""
    return np.clip(inside * np.float32(1 / soft) + np.float32(0.5), 0, 1)


def blurred(image: Map, sigma: float) -> Map:
    """A wide blur at a quarter of the size."""
    height, width = image.shape
    small = cv2.resize(image, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (width, height), interpolation=cv2.INTER_LINEAR)


class Patch:
    """A window of the canvas with its own coordinates; what is painted here lands on the canvas."""

    def __init__(self, canvas: Canvas, x0: float, x1: float, y0: float, y1: float) -> None:
        scale = canvas.scale
        self.columns = slice(max(int((x0 - LEFT) * scale), 0), int((x1 - LEFT) * scale) + 1)
        self.rows = slice(max(int((y0 - TOP) * scale), 0), int((y1 - TOP) * scale) + 1)
        self.canvas = canvas
        self.area = (self.rows, self.columns)
        self.soft = 1.2 / scale
        self.x = canvas.x[self.columns][None, :]
        self.y = canvas.y[self.rows][:, None]

    def paint(self, mask: Map, color: Map) -> None:
        """Cover with linear `color`, (3, 1, 1) or (3, h, w), where `mask` (h, w), 0..1, says."""
        for plane, value in zip(self.canvas.color, color, strict=True):
            below = plane[self.area]
            below += mask * (value - below)

    def tint(self, mask: Map, factor: tuple[float, float, float]) -> None:
        """Multiply by `factor` (3,) where `mask` is 1: a crease, a blush, a shadow."""
        for plane, value in zip(self.canvas.color, factor, strict=True):
            plane[self.area] *= 1 + mask * np.float32(value - 1)

    def raise_by(self, height: Map) -> None:
        self.canvas.relief[self.area] += height

    def polish(self, mask: Map, gloss: float) -> None:
        below = self.canvas.gloss[self.area]
        below += mask * (np.float32(gloss) - below)


class Canvas:
    """The maps of one head: color (3, H, W) linear, relief (H, W) in units towards the viewer, gloss, cover (alpha)."""

    def __init__(self, scale: float, texture: int) -> None:
        self.scale = scale
        self.x = ((np.arange(round((RIGHT - LEFT) * scale)) + 0.5) / scale + LEFT).astype(np.float32)
        self.y = ((np.arange(round((BOTTOM - TOP) * scale)) + 0.5) / scale + TOP).astype(np.float32)
        shape = (len(self.y), len(self.x))
        self.color = np.zeros((3, *shape), np.float32)
        self.relief = np.zeros(shape, np.float32)
        self.gloss = np.zeros(shape, np.float32)
        self.cover = np.zeros(shape, np.float32)
        self.random = np.random.Generator(np.random.PCG64(texture)).random
        self._noise = self.random((NOISE_SIZE, NOISE_SIZE)).astype(np.float32)

    def patch(self, x0: float = LEFT, x1: float = RIGHT, y0: float = TOP, y1: float = BOTTOM) -> Patch:
        return Patch(self, x0, x1, y0, y1)

    def noise(self, u: Map, v: Map) -> Map:
        """Smooth noise 0..1 at (u, v), which broadcast to one shape; one unit is one grain. Repeats after 128."""
        u, v = np.broadcast_arrays(u, v)
        return cv2.remap(
            self._noise, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
        )

    def clouds(self, patch: Patch, grain: float) -> Map:
        """Smooth noise 0..1 over a patch with grains of `grain` units."""
        return self.noise(patch.x / np.float32(grain) + 31, patch.y / np.float32(grain) + 57)
