"""From a synthetic head to a photo of it: pose, alignment, background, lens and sensor."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.alignment.template import SIZE, TEMPLATE
from facemae_cli.data.synthetic.canvas import LEFT, TOP, Canvas, Map, blurred, linear
from facemae_cli.data.synthetic.person import Dice, Person, Shot

PIVOT_Y = 62.0
GRID = 64  # places a side where the turned head is worked out


@dataclass(frozen=True, slots=True)
class Pose:
    """Turns template coordinates and depths into the picture, and back."""

    yaw: float
    pitch: float
    to_picture: NDArray[np.float64]  # 2x3, from turned head to pixels of 112

    def turn(self, x: Map, y: Map, z: Map) -> tuple[Map, Map]:
        """Orthographic view of the turned head, still in template units."""
        deep = z * np.cos(self.yaw) - x * np.sin(self.yaw)
        return (
            x * np.cos(self.yaw) + z * np.sin(self.yaw),
            (y - PIVOT_Y) * np.cos(self.pitch) + deep * np.sin(self.pitch) + PIVOT_Y,
        )

    def unturn(self, x: Map, y: Map, z: Map) -> tuple[Map, Map]:
        """Where on the frontal head, whose depth there is about `z`, the picture shows (x, y)."""
        front = (x - z * np.sin(self.yaw)) / np.cos(self.yaw)
        deep = z * np.cos(self.yaw) - front * np.sin(self.yaw)
        return front, (y - PIVOT_Y - deep * np.sin(self.pitch)) / np.cos(self.pitch) + PIVOT_Y


def landmarks(person: Person, shot: Shot) -> Map:
    """The five points (5, 2) on the frontal head: x from the midline, y."""
    eye, mouth = person.eye_distance / 2, person.mouth_width * (1 + 0.14 * max(shot.smile, 0))
    corner = person.mouth_y - 1.9 * shot.smile
    return np.array([(-eye, 51.6), (eye, 51.6), (0, person.nose_y), (-mouth, corner), (mouth, corner)])


def turning_depth(canvas: Canvas) -> Map:
    """The depth (H, W) that moves things as the head turns: smooth enough that no place of it is seen twice."""
    return 0.85 * blurred(canvas.relief, 3.5 * canvas.scale)


def align(depth: Map, scale: float, person: Person, shot: Shot) -> Pose:
    """The pose, with the similarity transform that an aligner would find for it, plus what it is off by."""
    points = landmarks(person, shot)
    columns, rows = ((points - (LEFT, TOP)) * scale).astype(int).T
    pose = Pose(float(np.radians(shot.yaw)), float(np.radians(shot.pitch)), np.eye(2, 3))
    seen = pose.turn(points[:, 0], points[:, 1], depth[rows, columns])
    source, target = seen[0] + 1j * seen[1], TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    centred = source - source.mean()
    factor = (np.conj(centred) @ (target - target.mean())) / np.vdot(centred, centred).real
    factor *= shot.zoom * np.exp(1j * np.radians(shot.roll))
    offset = target.mean() - factor * source.mean() + complex(shot.shift_x, shot.shift_y)
    matrix = np.array([[factor.real, -factor.imag, offset.real], [factor.imag, factor.real, offset.imag]])
    return Pose(pose.yaw, pose.pitch, matrix)


def take(layers: Map, depth: Map, scale: float, pose: Pose, pixels: int) -> Map:
    """The layers (H, W, 4) of a frontal head as the aligned crop shows them, (pixels, pixels, 4).

    The picture's way to the head needs the depth of the place it leads to; a few damped steps on a coarse grid find it.
    """
    back = cv2.invertAffineTransform(pose.to_picture)
    u, v = np.meshgrid(*[(np.arange(GRID) + 0.5) * (SIZE / GRID)] * 2)
    x = back[0, 0] * u + back[0, 1] * v + back[0, 2]
    y = back[1, 0] * u + back[1, 1] * v + back[1, 2]
    front, height = x, y
    for _ in range(6):
        z = _sampled(depth, scale, front, height)
        nearer, higher = pose.unturn(x, y, z)
        front, height = (front + 2 * nearer) / 3, (height + 2 * higher) / 3
    fine = (cv2.resize(place, (pixels, pixels), interpolation=cv2.INTER_LINEAR) for place in (front, height))
    return _sampled(layers, scale, *fine)


def _sampled(image: Map, scale: float, x: Map, y: Map) -> Map:
    """A map of the canvas at the places (x, y), in units; beyond its border as at it."""
    columns = ((x - LEFT) * scale - 0.5).astype(np.float32)
    rows = ((y - TOP) * scale - 0.5).astype(np.float32)
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def backdrop(shot: Shot, pixels: int) -> Map:
    """What is behind the head: a wall with a gradient, or blurred lights and shapes. (pixels, pixels, 3) linear."""
    dice = Dice(shot.backdrop)
    small = np.empty((28, 28, 3), np.float32)
    first = np.array([dice.between(0.03, 0.75)] * 3) * (1 + 0.35 * (np.asarray(dice.random(3)) - 0.5))
    second = np.clip(first + dice.bell(0, 0.15) + 0.15 * (np.asarray(dice.random(3)) - 0.5), 0.01, 1)
    angle = dice.between(0, 6.28)
    ramp = np.add.outer(np.sin(angle) * np.linspace(-0.5, 0.5, 28), np.cos(angle) * np.linspace(-0.5, 0.5, 28)) + 0.5
    small[:] = first + ramp[..., None] * (second - first)
    for _ in range(dice.pick([0, 3, 9])):
        color = 0.6 * np.asarray(dice.random(3)) ** 2 + 0.4 * dice.between(0, 0.8)
        centre = (int(dice.between(-4, 32)), int(dice.between(-4, 32)))
        if dice.chance(0.5):
            cv2.circle(small, centre, int(dice.between(1, 6)), color.tolist(), -1)
        else:
            size = (int(dice.between(2, 9)), int(dice.between(4, 24)))
            cv2.rectangle(small, centre, (centre[0] + size[0], centre[1] + size[1]), color.tolist(), -1)
    soft = cv2.GaussianBlur(small, (0, 0), dice.between(0.7, 2.5))
    return cv2.resize(soft, (pixels, pixels), interpolation=cv2.INTER_CUBIC)


def _exposure(person: Person, shot: Shot) -> float:
    """The camera meters the face, and goes half the way towards a middling brightness."""
    return shot.exposure * float(0.36 / linear(person.skin).mean()) ** 0.35


def develop(layers: Map, person: Person, shot: Shot, size: int) -> NDArray[np.uint8]:
    """Layers (p, p, 4) before the backdrop, through lens and sensor: (size, size, 3) uint8 RGB."""
    cover = layers[..., 3:]
    scene = layers[..., :3] * cover + np.maximum(backdrop(shot, layers.shape[0]), 0) * (1 - cover)
    small = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA) * np.float32(_exposure(person, shot))
    small = 1.12 * small / (1 + 0.12 * small * small + 0.12)  # highlights bend instead of clipping
    if shot.blur > 0.2:
        small = cv2.GaussianBlur(small, (0, 0), shot.blur * size / SIZE)
    encoded = np.power(np.maximum(small, 0), np.float32(1 / 2.2)) * 255
    if shot.noise:
        random = np.random.Generator(np.random.PCG64(shot.grain)).random((2, size, size, 3))
        encoded += ((random[0] + random[1] - 1) * (shot.noise * 6**0.5)).astype(np.float32)
    return np.clip(np.rint(encoded), 0, 255).astype(np.uint8)
