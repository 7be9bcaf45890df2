"""A released mixture a little turned, moved and stretched: what finds its people by their layout finds them less well.

The whole face is warped once it is reconstructed, each by itself, so that a recogniser learns as from any augmented
photo. What warps it is a digest of the masked face's visible patches: who has the release alone cannot know it.
"""

from __future__ import annotations

import hashlib

import cv2
import numpy as np

from facemae_cli.masking.patches import GRID, Pixels
from facemae_cli.masking.smooth_noise import VALUES, smooth_fields, uniform

# Standard deviations of strength 1; numbers are uniform, and so reach the square root of 3 as far.
STRETCH = 0.19  # of a patch, smoothly from place to place
SHIFT = 0.125  # of a patch
TURN = 0.03  # radians
ZOOM = 0.02  # of its size


def digest(patches: Pixels, tokens: Pixels) -> bytes:
    """32 bytes of (V, p * p * 3) uint8 visible patches and where they stand, (V,) uint8."""
    return hashlib.sha256(b"visible" + bytes([len(tokens)]) + tokens.tobytes() + patches.tobytes()).digest()


def warp(image: Pixels, secret: bytes, strength: float = 1.0) -> Pixels:
    """(H, W, 3) uint8 to the same, by the 32 bytes `secret`: equal ones give equal pictures.

    `strength` multiplies all deviations.
    """
    height, width = image.shape[:2]
    values = uniform(hashlib.sha256(b"warp" + secret).digest(), 4 + 2 * VALUES)
    reach = strength * np.sqrt(3)
    right, down, turn, zoom = (2 * values[:4] - 1) * reach
    fields = (2 * smooth_fields(values[4:], height, width) - 1) * reach
    y, x = np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]
    cos, sin = (1 + ZOOM * zoom) * np.cos(TURN * turn), (1 + ZOOM * zoom) * np.sin(TURN * turn)
    across, along = width / GRID, height / GRID
    to_x = cos * x - sin * y + (width - 1) / 2 + across * (SHIFT * right + STRETCH * fields[0])
    to_y = sin * x + cos * y + (height - 1) / 2 + along * (SHIFT * down + STRETCH * fields[1])
    warped: Pixels = cv2.remap(  # type: ignore[assignment]
        image, to_x.astype(np.float32), to_y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return warped
