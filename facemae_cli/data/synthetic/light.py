"""Light on a synthetic head: a lamp with soft shadows, and the light of the surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from facemae_cli.data.synthetic.canvas import Canvas, Map, blurred
from facemae_cli.data.synthetic.person import Shot

# skin lets light in: red reaches further round an edge than blue
WRAP = (0.42, 0.26, 0.20)


def light_up(canvas: Canvas, shot: Shot) -> Map:
    """What leaves the head towards the viewer: (3, H, W) linear light."""
    scale = canvas.scale
    relief = cv2.GaussianBlur(canvas.relief, (0, 0), 0.55 * scale)
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=scale / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=scale / 8)
    length = 1 / np.sqrt(1 + slope_x * slope_x + slope_y * slope_y)
    lamp = _direction(shot)
    facing = (lamp[2] - lamp[0] * slope_x - lamp[1] * slope_y) * length
    open_sky = 1 - np.clip((blurred(relief, 5 * scale) - relief) * 0.11, -0.08, 0.6)
    ambient = shot.ambient * (0.82 + 0.28 * slope_y * length) * open_sky
    key = shot.key * (1 - 0.6 * _shadow(relief, lamp, scale))
    half = lamp + np.array((0, 0, 1))
    half = (half / np.linalg.norm(half)).astype(np.float32)
    shine = np.maximum((half[2] - half[0] * slope_x - half[1] * slope_y) * length, 0)
    shine = np.square(np.square(np.square(np.square(shine))))  # to the 16th power
    shine *= canvas.gloss * key
    lit = np.empty_like(canvas.color)
    for plane, color, wrap, tint in zip(lit, canvas.color, WRAP, _tint(shot), strict=True):
        wrapped = np.maximum(facing + np.float32(wrap), 0) * key
        wrapped *= np.float32(tint / (1 + wrap))
        wrapped += ambient
        np.multiply(wrapped, color, out=plane)
        plane += shine
    return lit


def _direction(shot: Shot) -> Map:
    """Unit vector to the key light in the head's own frame: the head has turned under a lamp that stands still."""
    x = shot.light_x - np.sin(np.radians(shot.yaw))
    y = shot.light_y - np.sin(np.radians(shot.pitch))
    lamp = np.array((x, y, 0.8))
    return (lamp / np.linalg.norm(lamp)).astype(np.float32)


def _tint(shot: Shot) -> tuple[float, float, float]:
    return 1 + shot.warmth, 1.0, 1 - 1.4 * shot.warmth


def _shadow(relief: Map, lamp: Map, scale: float) -> Map:
    """Soft cast shadows, 0..1: does anything stand between here and the lamp a few units away?"""
    height, width = relief.shape
    small = cv2.resize(relief, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    flat = max(float(np.hypot(lamp[0], lamp[1])), 1e-3)
    climb = float(lamp[2]) / flat
    hidden = np.zeros_like(small)
    for reach in (2.5, 5.0, 9.0, 14.0):
        move = np.array([[1, 0, -lamp[0] / flat * reach * scale / 2], [0, 1, -lamp[1] / flat * reach * scale / 2]])
        moved = cv2.warpAffine(small, move, (small.shape[1], small.shape[0]), borderMode=cv2.BORDER_REPLICATE)
        np.maximum(hidden, (moved - small - reach * climb) * np.float32(1 / (1 + 0.3 * reach)), out=hidden)
    soft = cv2.GaussianBlur(np.clip(hidden * 0.9, 0, 1), (0, 0), 0.8 * scale)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
