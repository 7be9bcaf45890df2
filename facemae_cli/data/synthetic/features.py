"""Eyes, brows, nose, mouth, lines, beard and glasses: painted on a head in small windows of the canvas."""

from __future__ import annotations

import cv2
import numpy as np

from facemae_cli.data.synthetic.canvas import Canvas, Map, Patch, bump, edge, linear
from facemae_cli.data.synthetic.head import chin_y, half_width
from facemae_cli.data.synthetic.person import Person, Shot

EYE_Y = 51.6
BROWN = linear((0.70, 0.60, 0.52))
DARK = linear((0.10, 0.07, 0.06))
SHEEN = linear((0.95, 0.98, 1.0))
BLACK, GLINT = linear((0.08, 0.08, 0.09)), linear((1.2, 1.2, 1.2))


def paint_features(canvas: Canvas, person: Person, shot: Shot) -> None:
    """All of the face, in the order in which one thing covers another."""
    paint_lines(canvas, person, shot)
    paint_nostrils(canvas, person)
    paint_beard(canvas, person, shot)
    paint_mouth(canvas, person, shot)
    for side in (-1, 1):
        paint_eye(canvas, person, shot, side)
        paint_brow(canvas, person, shot, side)


def paint_eye(canvas: Canvas, person: Person, shot: Shot, side: int) -> None:
    """One eye: lid shadow, white, iris, pupil, catch light, lashes, fold. `side` is -1 or 1 in the picture."""
    middle = side * person.eye_distance / 2
    patch = canvas.patch(middle - 14, middle + 14, EYE_Y - 11, EYE_Y + 9)
    out = (patch.x - middle) * side
    down = patch.y - EYE_Y + person.eye_tilt * out
    along = np.clip(out / person.eye_width, -1, 1)
    bow = np.clip(1 - np.abs(along - 0.06 * (1 - along * along)) ** 2.1, 0, 1)
    opening = person.eye_height * max(shot.lids, 0.06)
    upper = -0.60 * opening * bow
    lower = (0.40 - 0.13 * max(shot.smile, 0)) * opening * bow
    within = edge(person.eye_width - abs(out), 2 * patch.soft)
    shown = edge(down - upper, patch.soft) * edge(lower - down, patch.soft) * within
    _lids(patch, person, out, down, upper, lower)
    _eyeball(patch, person, shot, side, out, down, upper, shown)
    reach = edge(person.eye_width + 0.8 * person.makeup - abs(out), 1.5)
    thick = (person.makeup * 0.4 + 0.32) * (1.0 + 0.5 * along)
    patch.paint(edge(thick - abs(down - upper + 0.15), 0.9) * reach * 0.9, DARK)
    patch.tint(bump(down - lower, 0.1, 0.45) * within * (0.35 + 0.3 * person.makeup), (0.4, 0.28, 0.27))


def _lids(patch: Patch, person: Person, out: Map, down: Map, upper: Map, lower: Map) -> None:
    """The upper lid with its fold and make-up, and the line of the bag under the eye."""
    reach = bump(out, 0.5, person.eye_width * 0.62)
    fold = upper - person.lid_fold - 0.5
    patch.tint(bump(down - fold, 0, 0.5) * reach * 0.55, (0.5, 0.38, 0.36))
    patch.tint(edge(down - fold, 1.2) * edge(upper - down, 0.6) * reach * (0.15 + 0.5 * person.makeup), (0.6, 0.5, 0.5))
    patch.tint(bump(down - lower, 3.6, 0.9) * reach * (0.1 + 0.4 * person.age), (0.66, 0.56, 0.56))


def _eyeball(patch: Patch, person: Person, shot: Shot, side: int, out: Map, down: Map, upper: Map, shown: Map) -> None:
    # the white of an eye lies deep, and a camera that exposes for dark skin must not make it glare
    white = linear((0.66, 0.63, 0.61)) + 0.35 * linear(person.skin)
    white = white * (1 - 0.45 * np.square(out / person.eye_width))
    shadow = np.clip(1 - (down - upper) / 2.6, 0, 1)
    patch.paint(shown, white * (1 - 0.6 * shadow))
    patch.polish(shown, 0.02)
    gaze = np.clip(1.3 * shot.gaze_x - 0.055 * shot.yaw, -2.2, 2.2) * side
    radius = np.hypot(out - gaze, down + 0.55 - 1.2 * shot.gaze_y - 0.03 * shot.pitch) / 3.4
    rings = 1.15 - 0.75 * bump(radius, 1.0, 0.14) - 0.45 * shadow + 0.3 * bump(radius, 0.6, 0.15)
    iris = edge(1 - radius, 0.25) * shown
    patch.paint(iris, linear(person.iris) * np.clip(rings, 0.1, 2))
    patch.paint(edge(0.42 - radius, 0.2) * shown, BLACK)
    glint = np.hypot(out * side - gaze * side - 1.1 * shot.light_x, down + 1.6 + 0.5 * shot.light_y) / 0.65
    patch.paint(edge(1 - glint, 0.6) * shown * 0.9, GLINT)


def paint_brow(canvas: Canvas, person: Person, shot: Shot, side: int) -> None:
    """One brow, of single hairs at its border. `side` is -1 or 1 in the picture."""
    middle = side * (person.eye_distance / 2 + 0.6)
    height = EYE_Y - person.brow_y - shot.brow_raise
    patch = canvas.patch(middle - 16, middle + 16, height - 9, height + 8)
    out = (patch.x - middle) * side
    along = out / (person.eye_width * 1.38)
    line = (
        height - person.brow_arch * bump(along, 0.25, 0.6) - person.brow_tilt * out + 1.6 * np.clip(along, 0, None) ** 2
    )
    thick = person.brow_thickness * np.clip(1.05 - 0.75 * np.clip(along, 0, 1) ** 1.4, 0.15, 1)
    hairs = canvas.noise(out * 1.3 + patch.y * 0.9 + 40 + 20 * side, patch.y * 0.35 + 9)
    body = edge(thick - abs(patch.y - line) + 0.7 * (hairs - 0.5), 1.3) * edge(1 - abs(along), 0.35)
    color = linear(person.hair_color) * BROWN
    patch.paint(body * person.brow_density, np.minimum(color, 0.25))


def paint_nostrils(canvas: Canvas, person: Person) -> None:
    """What the relief of a nose does not show: its openings, the crease of its wings, the shade below."""
    tip, wide = person.nose_y, person.nose_width
    patch = canvas.patch(-16, 16, tip - 10, tip + 12)
    for side in (-1, 1):
        x = patch.x * side
        hole = np.hypot((x - wide * 0.42) / 1.9, (patch.y - tip - 3.4 + 0.25 * (x - wide * 0.42)) / 0.95)
        patch.tint(edge(1 - hole, 0.8) * 0.8, (0.16, 0.09, 0.08))
        ring = np.hypot((x - wide * 0.62) / (wide * 0.42), (patch.y - tip - 0.2) / 3.6)
        crease = bump(ring, 1.0, 0.15) * edge(x - wide * 0.6, 2.5)
        patch.tint(crease * 0.42, (0.5, 0.36, 0.34))
    below = bump(patch.y, tip + 5.0, 1.5) * bump(patch.x, 0, wide * 0.6)
    patch.tint(below * 0.35, (0.6, 0.48, 0.46))


def paint_mouth(canvas: Canvas, person: Person, shot: Shot) -> None:
    """Lips, and what an open mouth shows between them."""
    smile, gape = shot.smile, shot.mouth_open
    half = person.mouth_width * (1 + 0.14 * max(smile, 0) - 0.06 * gape)
    patch = canvas.patch(-half - 6, half + 6, person.mouth_y - 14, person.mouth_y + 18)
    x, down = patch.x, patch.y - person.mouth_y
    along = np.clip(x / half, -1, 1)
    arch = 1 - along * along
    within = edge(half - abs(x), 1.2)
    line = -1.9 * smile * (1 - arch) + 0.9 * smile * arch - 0.35 * bump(along, 0, 0.2)
    gap = 7.5 * gape * np.sqrt(arch) * arch**0.4
    upper, lower = line - 0.25 * gap, line + 0.75 * gap
    bow = person.cupid * (0.28 * bump(abs(along), 0.24, 0.13) - 0.22 * bump(along, 0, 0.1))
    top = upper - person.upper_lip * (1 - 0.22 * max(smile, 0)) * (arch**0.85 + bow)
    bottom = lower + person.lower_lip * (1 - 0.15 * max(smile, 0)) * arch**0.75
    color = _lip_color(person)
    patch.tint(bump(down - bottom, 1.6, 1.2) * arch * within * 0.35, (0.62, 0.5, 0.48))
    _open_mouth(patch, along, down, upper, lower, within)
    blur = 1.0 if person.makeup else 1.6
    upper_lip = edge(down - top, blur) * edge(upper - down, patch.soft) * within
    lower_lip = edge(bottom - down, blur) * edge(down - lower, patch.soft) * within
    patch.paint(upper_lip * 0.9, color * 0.82)
    patch.paint(lower_lip * 0.9, color)
    patch.polish(lower_lip, 0.35 + 0.3 * person.makeup)
    seam = bump(down - upper, 0.1, 0.45) * within
    patch.tint(np.maximum(seam, bump(down - lower, 0, 0.4) * within * min(gape * 3, 1) * 0.6), (0.28, 0.16, 0.15))
    corner = bump(abs(x), half, 1.3) * bump(down + 1.9 * smile, 0, 1.3)
    patch.tint(corner * (0.45 + 0.2 * max(smile, 0)), (0.42, 0.3, 0.29))


def _lip_color(person: Person) -> Map:
    skin = linear(person.skin)
    bare = skin * np.array((0.82, 0.46, 0.47), np.float32)[:, None, None] + linear(person.lips) * 0.13
    return (bare + 0.75 * person.makeup * (linear(person.lips) - bare)).astype(np.float32)


def _open_mouth(patch: Patch, along: Map, down: Map, upper: Map, lower: Map, within: Map) -> None:
    hole = edge(down - upper, patch.soft) * edge(lower - down, patch.soft) * within
    patch.paint(hole, linear((0.25, 0.09, 0.09)) * (1 - 0.6 * abs(along)))
    between = 0.10 * bump((along * 9.5) % 1.0, 0.5, 0.09)
    ivory = linear((0.92, 0.89, 0.84)) * (1 - 0.6 * along * along - between)
    rim = upper + 4.6 * np.sqrt(np.clip(1 - along * along, 0, 1))
    patch.paint(hole * edge(rim - down, 0.8) * edge(0.86 - abs(along), 0.2) * 0.95, ivory)


def paint_lines(canvas: Canvas, person: Person, shot: Shot) -> None:
    """The folds beside the mouth, which a smile deepens, and the furrows of age on the forehead."""
    smile = max(shot.smile, 0)
    y0, y1 = person.nose_y - 2, person.mouth_y + 2
    patch = canvas.patch(-30, 30, y0 - 4, y1 + 6)
    way = np.clip((patch.y - y0) / (y1 - y0), 0, 1)
    fold = (
        person.nose_width + 2.2 + (person.mouth_width + 5 + 1.5 * smile - person.nose_width - 2.2) * np.sin(1.45 * way)
    )
    ends = edge(patch.y - y0, 4) * edge(y1 - patch.y, 8)
    line = bump(abs(patch.x) - fold, 0, 1.5) * ends
    patch.tint(line * min(0.06 + 0.22 * person.age + 0.26 * smile, 0.5), (0.6, 0.48, 0.46))
    brow = canvas.patch(-30, 30, 12, 42)
    waves = np.clip(np.sin((brow.y + 0.012 * np.square(brow.x)) * 1.05) - 0.55, 0, 1) * 2
    reach = bump(brow.x, 0, 14) * bump(brow.y, 28, 7)
    brow.tint(waves * reach * np.clip(person.age * 0.5 + 0.12 * shot.brow_raise - 0.1, 0, 0.5), (0.6, 0.5, 0.48))


def paint_beard(canvas: Canvas, person: Person, shot: Shot) -> None:
    """The shade of shaven cheeks on every man, and the beard that a person wears."""
    if person.masculine < 0.5:
        return
    patch = canvas.patch(-46, 46, 56, 124)
    where, shade = _beard_region(patch, person, shot)
    shaven = 0.07 if person.beard == "none" else 0.3
    patch.tint(shade * shaven, (0.62, 0.64, 0.68))
    strength = {"none": 0.0, "stubble": 0.45}.get(person.beard, 1.0) * person.beard_density
    if strength:
        hairs = canvas.noise(patch.x * 1.6 + 11, patch.y * 0.8 + 3) * 0.7 + canvas.clouds(patch, 3) * 0.5
        body = np.clip(where * 1.4 - 0.35 + (hairs - 0.6) * 0.5 * np.minimum(where * 2, 1), 0, 1) * strength
        dark = linear(person.hair_color) * (0.45 + 0.5 * hairs)
        patch.paint(body, dark)
        patch.polish(body, 0.05)
        patch.raise_by(body * (0.8 + 0.8 * hairs) * (person.beard != "stubble"))


def _beard_region(patch: Patch, person: Person, shot: Shot) -> tuple[Map, Map]:
    """Where this person's beard grows and where any beard would, both (h, w) 0..1."""
    x, y, mouth = abs(patch.x), patch.y, person.mouth_y
    jaw = half_width(person, shot, patch.canvas.y[patch.rows])[:, None]
    cheek = mouth - 10 - np.clip(x - 20, 0, None) * 1.1 + np.clip(20 - x, 0, None) * 0.9
    full = edge(y - cheek, 9) * edge(jaw + 2 - x, 3) * edge(chin_y(person, shot) + 3 - y, 4)
    lip = edge(np.hypot(x / (person.mouth_width + 1), (y - mouth) / 7) - 1, 0.3)
    moustache = edge(5.6 - abs(y - mouth + 8.2 - 0.012 * x * x), 5) * edge(person.mouth_width + 3 - x, 5)
    goatee = edge(15 - np.hypot(x, (y - chin_y(person, shot) + 8) * 0.9), 6) * edge(y - mouth - 5, 3)
    everywhere = np.maximum(full * lip, moustache)
    region = {"moustache": moustache, "goatee": np.maximum(moustache * 0.9, goatee)}.get(person.beard, everywhere)
    return region, everywhere


def paint_glasses(canvas: Canvas, person: Person) -> None:
    """Frames, what they shade and what the glass mirrors; nothing for who wears none."""
    if person.glasses == "none":
        return
    power = {"round": 2.0, "square": 4.0, "rimless": 3.0}[person.glasses]
    wide, tall = (13.0, 11.5) if person.glasses == "round" else (14.0, 9.5)
    thick = 0.45 if person.glasses == "rimless" else 1.05
    patch = canvas.patch(-person.face_width - 3, person.face_width + 3, 36, 72)
    x, y = abs(patch.x), patch.y
    middle = person.eye_distance / 2 + 0.8
    radius = (np.abs((x - middle) / wide) ** power + np.abs((y - 53.0) / tall) ** power) ** (1 / power)
    rim = edge(thick - abs(radius - 1) * min(wide, tall), 1.0)
    bridge = edge(thick - abs(y - 50.5 + 0.04 * (30 - x * x)), 1.0) * edge(middle - wide + 0.5 - x, 1.0)
    arm = edge(thick - abs(y - 49.5), 1.0) * edge(x - middle - wide + 0.5, 1.0)
    frame = np.maximum(np.maximum(rim, bridge), arm)
    below = cv2.GaussianBlur(frame, (0, 0), 1.2 * canvas.scale)
    patch.tint(np.roll(below, round(1.6 * canvas.scale), axis=0) * 0.5, (0.5, 0.42, 0.4))
    patch.paint(edge(1 - radius, 0.1) * (0.05 + 0.05 * bump(x - y, -36, 4)), SHEEN)
    patch.paint(frame * 0.95, linear(person.frame_color))
    patch.polish(frame, 0.8)
