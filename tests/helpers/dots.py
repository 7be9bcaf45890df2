"""Faces of five coloured dots, and a detector of them: a stand-in for YuNet where its file is not at hand.

Like YuNet it misses faces that are turned far or small, and it knows no face from its mirror image.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.alignment.detector import Detection
from facemae_cli.data.alignment.template import TEMPLATE

RED, GREEN, BLUE = (230, 20, 20), (20, 200, 20), (20, 20, 230)
COLORS = (RED, RED, GREEN, BLUE, BLUE)
MOST_TURNED = 50  # degrees
LEAST_AREA = 4  # pixels of a dot


def dotted_face(seed: int = 0, size: int = 112) -> NDArray[np.uint8]:
    """A face with fine detail and a dot at each point of the template."""
    rng = np.random.default_rng(seed)
    face = np.full((size, size, 3), rng.integers(120, 200), np.uint8)
    face += rng.integers(0, 30, (size, size, 1), dtype=np.uint8)
    for (x, y), color in zip((TEMPLATE + 0.5) * size / 112 - 0.5, COLORS, strict=True):
        middle = round(x * 16), round(y * 16)
        cv2.circle(face, middle, round(5.5 * size / 112 * 16), color, -1, cv2.LINE_AA, 4)
    return face


class DotDetector:
    """Finds the faces of `dotted_face`, surer of those that are upright."""

    sha256 = "d07" * 21 + "d"

    def __init__(self) -> None:
        self.pictures: list[tuple[int, ...]] = []  # (height, width) of what was looked at

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        self.pictures.append(picture.shape[:2])
        reds, greens, blues = (_dots(picture, channel) for channel in range(3))
        found = []
        for nose in greens:
            eyes, mouth = _nearest_two(reds, nose), _nearest_two(blues, nose)
            if eyes is None or mouth is None:
                continue
            chin = eyes.mean(0) + 2 * (mouth.mean(0) - eyes.mean(0))
            points = np.array([*_left_first(eyes, chin), nose, *_left_first(mouth, chin)])
            across = points[1] - points[0]
            turned = abs(math.degrees(math.atan2(across[1], across[0])))
            if turned <= MOST_TURNED:
                found.append(Detection(points, 0.95 - 0.2 * turned / MOST_TURNED))
        return found


def _dots(picture: NDArray[np.uint8], channel: int) -> NDArray[np.float64]:
    """Centres of the dots in which `channel` is far above the two others."""
    values = picture.astype(np.float32)
    above = values[..., channel] - np.delete(values, channel, 2).max(2)
    _, labels, stats, _ = cv2.connectedComponentsWithStats((above > 80).astype(np.uint8))
    large = [label for label in range(1, len(stats)) if stats[label, cv2.CC_STAT_AREA] >= LEAST_AREA]
    return np.array([np.argwhere(labels == label).mean(0)[::-1] for label in large]).reshape(-1, 2)


def _nearest_two(dots: NDArray[np.float64], nose: NDArray[np.float64]) -> NDArray[np.float64] | None:
    if len(dots) < 2:
        return None
    return dots[np.argsort(np.linalg.norm(dots - nose, axis=1))[:2]]


def _left_first(pair: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two points so that, going from the first to the second, `below` is on the right hand."""
    first, second = pair
    (x, y), (u, v) = second - first, below - first
    return pair if x * v - y * u > 0 else pair[::-1]
