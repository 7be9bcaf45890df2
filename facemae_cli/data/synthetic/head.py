"""The head without its features: outline, relief, skin, ears, neck."""

from __future__ import annotations

import numpy as np

from facemae_cli.data.synthetic.canvas import Canvas, Map, Patch, bump, edge, linear
from facemae_cli.data.synthetic.person import Person, Shot

CROWN_Y, WIDEST_Y = -16.0, 58.0
TOP_OF_FACE = -20.0
DEPTH = 42.0  # from the plane of the ears to the face
RUDDY = np.array((1.0, 0.82, 0.78), np.float32)[:, None, None]


def chin_y(person: Person, shot: Shot) -> float:
    """Height of the chin, which an open mouth lowers."""
    return person.chin_y + 3.0 * shot.mouth_open


def half_width(person: Person, shot: Shot, y: Map) -> Map:
    """Half the width of the head at the heights `y`; 0 above the crown and below the chin.

    A superellipse above the cheekbones. Below, (1 - t^n)^(1/m) of the way t to the chin, with n and m such that
    the share is `jaw` at t = 0.6 and `chin` at t = 0.93.
    """
    up = np.clip((WIDEST_Y - y) / (WIDEST_Y - CROWN_Y), 0, 1)
    exponents = np.linspace(1.1, 3.2, 22)
    ratios = np.log1p(-(0.93**exponents)) / np.log1p(-(0.6**exponents))
    n = float(np.interp(np.log(person.chin) / np.log(person.jaw), ratios, exponents))
    m = np.log1p(-(0.6**n)) / np.log(person.jaw)
    down = np.clip((y - WIDEST_Y) / (chin_y(person, shot) - WIDEST_Y), 0, 1)
    share = np.where(y < WIDEST_Y, (1 - up**2.5) ** (1 / 2.5), (1 - down**n) ** (1 / m))
    return (person.face_width * share).astype(np.float32)


def paint_neck(canvas: Canvas, person: Person, shot: Shot) -> None:
    """Neck and collar, behind the chin and in its shade."""
    patch = canvas.patch(y0=84)
    half = person.face_width * (0.66 + 0.1 * person.masculine)
    flare = np.square(np.clip(patch.y - 116, 0, None)) * 0.06
    neck = edge(half + flare - abs(patch.x), 1.0)
    shade = np.clip(0.5 + (patch.y - chin_y(person, shot) - 2) * 0.02, 0.42, 0.8)
    patch.paint(neck, linear(person.skin) * shade)
    patch.raise_by(neck * (10 - np.square(patch.x / half) * 16))
    collar = edge(patch.y - 128 + bump(patch.x, 0, 24) * -6 + abs(patch.x) * 0.12, 1.0)
    patch.paint(collar, linear(person.collar) * (0.75 + 0.4 * canvas.clouds(patch, 5)))
    canvas.cover[patch.area] = np.maximum(canvas.cover[patch.area], np.maximum(neck, collar))


def paint_ears(canvas: Canvas, person: Person) -> None:
    """Both ears, behind the cheeks."""
    for side in (-1, 1):
        middle = side * (person.face_width + 1.5)
        patch = canvas.patch(middle - 9, middle + 9, 42, 84)
        tall = 12.0 * person.ears
        across = (patch.x - middle - side * (60 - patch.y) * 0.12) / (5.2 * person.ears)
        radius = np.sqrt(np.square(across) + np.square((patch.y - 61) / tall))
        ear = edge((1 - radius) * 5, 1.0)
        patch.paint(ear, linear(person.skin) * RUDDY)
        patch.tint(bump(radius, 0.45, 0.18) * 0.5, (0.55, 0.42, 0.4))
        patch.raise_by(ear * (-canvas.relief[patch.area] - 4 + 3 * radius))
        canvas.cover[patch.area] = np.maximum(canvas.cover[patch.area], ear)


def paint_skull(canvas: Canvas, person: Person, shot: Shot) -> Map:
    """Paint the bare head, its relief and the colour of its skin; returns its cover (H, W), 0..1."""
    patch = canvas.patch()
    width = half_width(person, shot, canvas.y)[:, None]
    inside = edge(np.minimum(width - abs(patch.x), 9) * np.float32(0.9), 1.0)
    inside *= edge(chin_y(person, shot) - patch.y, 1.0)
    span = np.where(patch.y < 52, 52 - CROWN_Y, chin_y(person, shot) + 3 - 52)
    profile = np.clip(1 - np.abs((patch.y - 52) / span) ** np.where(patch.y < 52, 2.6, 4.0), 0, 1) ** 0.3
    across = np.clip(abs(patch.x) / np.maximum(width, 0.1), 0, 1)
    relief = DEPTH * profile.astype(np.float32) * np.sqrt(1 - across * across * np.sqrt(across))
    relief += _relief(patch, person, shot)
    canvas.relief += inside * (relief - canvas.relief)
    patch.paint(inside, linear(person.skin))
    np.maximum(canvas.cover, inside, out=canvas.cover)
    canvas.gloss += inside * (0.16 - canvas.gloss)
    _complexion(canvas, person)
    return inside


def _relief(patch: Patch, person: Person, shot: Shot) -> Map:
    """Everything that stands out of or sinks into the egg of the head, as sums of separable Gaussians."""
    x, y = patch.x, patch.y
    eye, smile, mouth = person.eye_distance / 2, max(shot.smile, 0), person.mouth_y

    def pair(at: float, sigma: float) -> Map:
        return bump(x, at, sigma) + bump(x, -at, sigma)

    brow = 51.6 - person.brow_y + 2
    relief = (1.2 + 2.2 * person.masculine) * bump(y, brow, 3.5) * pair(eye - 2, 9)
    relief = relief - person.eye_depth * bump(y, 51, 5) * pair(eye, 8.5)
    relief -= 1.8 * bump(y, 51, 6) * pair(9.0, 4.6)
    relief += 2.2 * bump(y, 51.8, 3.4) * pair(eye, 5.2)
    relief += (person.cheekbones + 1.8 * smile) * bump(y, 67 - 2 * smile, 8.5) * pair(22, 9)
    relief -= (1.6 + person.age) * bump(y, 88, 10) * pair(29, 6)
    relief -= 2.0 * bump(y, 36, 11) * pair(person.face_width - 2, 6)
    relief += 3.6 * bump(y, mouth - 1, 10) * bump(x, 0, 14)
    relief += 1.5 * bump(y, mouth - 2.2, 1.8) * bump(x, 0, 9) + 2.0 * bump(y, mouth + 3.6, 2.4) * bump(x, 0, 8.5)
    relief -= 0.9 * bump(y, mouth - 9, 3.6) * bump(x, 0, 1.7)
    relief -= 2.3 * bump(y, mouth + 9 + 2 * shot.mouth_open, 2.8) * bump(x, 0, 9)
    relief += 4.2 * bump(y, chin_y(person, shot) - 6, 5) * bump(x, 0, 8.5)
    return relief + _nose(x, y, person)


def _nose(x: Map, y: Map, person: Person) -> Map:
    """A ridge that grows from between the eyes to the tip and ends under it, with its ball and its two wings."""
    tip = person.nose_y
    rise = np.clip((y - 42) / (tip - 42), 0, 1)
    under = 1 / (1 + np.exp((y - tip - 3.0) * 0.85))
    height = (0.14 + 0.86 * rise**1.4) * person.nose_height * under / (1 + np.exp((41 - y) * 0.5))
    sigma = person.nose_bridge + (person.nose_tip - person.nose_bridge) * rise**2
    ridge = height * np.exp(-0.5 * np.square(x / sigma))
    wing = bump(x, person.nose_width * 0.78, 2.5) + bump(x, -person.nose_width * 0.78, 2.5)
    ball = 2.0 * bump(y, tip - 0.5, 3.4) * bump(x, 0, person.nose_tip * 0.85)
    return ridge + ball + 4.4 * bump(y, tip + 0.3, 2.7) * wing


def _complexion(canvas: Canvas, person: Person) -> None:
    """Blotches, blush, shadows under the eyes, the shade of a beard, moles and freckles."""
    patch = canvas.patch(-48, 48, TOP_OF_FACE, 122)
    x, y = patch.x, patch.y
    canvas.color[:, *patch.area] *= 0.93 + 0.09 * canvas.clouds(patch, 6.0) + 0.05 * canvas.clouds(patch, 1.1)
    blush = bump(y, 70, 9) * (bump(x, 23, 9) + bump(x, -23, 9)) + 0.8 * bump(y, person.nose_y, 5) * bump(x, 0, 6)
    patch.tint(
        np.minimum(blush + 0.5 * bump(y, 108, 6) * bump(x, 0, 9), 1) * (0.6 + 0.5 * person.makeup), (1.04, 0.84, 0.84)
    )
    hollow = bump(y, 57.5, 3) * (bump(x, person.eye_distance / 2 - 1, 6) + bump(x, 1 - person.eye_distance / 2, 6))
    patch.tint(hollow * (0.25 + 0.45 * person.age), (0.72, 0.66, 0.72))
    _spots(canvas, person)


def _spots(canvas: Canvas, person: Person) -> None:
    places = canvas.random((person.moles + person.freckles, 3))
    for number, (across, down, strength) in enumerate(places):
        mole = number < person.moles
        x = (across * 2 - 1) * (30 if mole else 27)
        y = 24 + down * 84 if mole else 56 + down * 20
        size = 0.6 + 0.7 * strength if mole else 0.45 + 0.35 * strength
        patch = canvas.patch(x - 3, x + 3, y - 3, y + 3)
        spot = bump(patch.x, x, size) * bump(patch.y, y, size)
        patch.tint(spot * (0.85 if mole else 0.4), (0.35, 0.25, 0.22) if mole else (0.62, 0.48, 0.4))
