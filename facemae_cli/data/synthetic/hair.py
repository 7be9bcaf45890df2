"""Hair: a few cuts, laid over the skull as strands, curls or a mixture, before and behind the face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from facemae_cli.data.synthetic.canvas import Canvas, Map, Patch, bump, edge, linear
from facemae_cli.data.synthetic.head import half_width
from facemae_cli.data.synthetic.person import Hair, Person, Shot

SKULL_Y = 40.0  # below it hair hangs, above it lies on the round of the skull


@dataclass(frozen=True, slots=True)
class Cut:
    """A hair style. Lengths in template units."""

    end: float  # how far down the sides reach
    top: float  # thickness over the crown
    side: float  # thickness beside the temples
    opening: float  # half width of the face it leaves free at the cheeks, as a share of the face's
    fringe: float = 0.0  # how far it comes down over the forehead
    sweep: float = 0.0  # how far the hairline slants away from the parting
    wave: float = 0.0
    curl: float = 0.0  # 0 straight strands .. 1 curls
    flare: float = 0.0  # how much wider it gets per unit down
    density: float = 1.0

    @property
    def short(self) -> bool:
        """Whether the ears are free and nothing of it shows behind the face."""
        return self.end < 80


CUTS: dict[Hair, Cut] = {
    "bald": Cut(end=58, top=0.3, side=0.6, opening=0.97, density=0.0),
    "buzz": Cut(end=56, top=1.2, side=0.8, opening=0.95, density=0.75),
    "short": Cut(end=58, top=6.5, side=2.2, opening=0.94, sweep=3, curl=0.15),
    "swept": Cut(end=60, top=11, side=2.8, opening=0.93, sweep=7),
    "fringe": Cut(end=64, top=8, side=4.0, opening=0.90, fringe=14, sweep=3),
    "curly": Cut(end=84, top=15, side=10, opening=0.90, curl=1.0, flare=-0.02),
    "tied": Cut(end=50, top=3.5, side=1.2, opening=0.93, sweep=4),
    "bob": Cut(end=104, top=8, side=7, opening=0.84, sweep=6, flare=0.06),
    "long": Cut(end=190, top=6, side=5, opening=0.86, sweep=6, flare=0.05),
    "wavy": Cut(end=190, top=8, side=8, opening=0.85, sweep=7, wave=2.6, flare=0.10, curl=0.1),
}


@dataclass(frozen=True, slots=True)
class Strands:
    """Where hair is, and its grain: `outer` and `free` are signed depths in units, `grain` is noise 0..1."""

    outer: Map
    free: Map
    grain: Map


@lru_cache(maxsize=4)
def comb(person: Person, scale: float) -> Strands:
    """Lay out the hair of a person, which is the same on every photo, over a whole canvas of `scale`."""
    canvas, cut = Canvas(scale, person.texture), CUTS[person.hair]
    patch, width = canvas.patch(), half_width(person, Shot(), canvas.y)[:, None]
    x, y = patch.x, patch.y
    hang = np.clip(y - SKULL_Y, 0, None)
    across = person.face_width + cut.side * person.hair_volume + cut.flare * hang
    over = SKULL_Y + 16 + cut.top * person.hair_volume
    rise = np.clip(SKULL_Y - y, 0, None) / over
    wave = cut.wave * np.sin(y * 0.17 + person.hair_part * 5) * np.clip(hang / 20, 0, 1)
    reach = np.abs(x + wave * np.sign(x)) / across
    around = (np.sqrt(reach) * np.square(reach) + np.sqrt(rise) * np.square(rise)) ** np.float32(0.4)
    grain = _grain(canvas, patch, person, cut, around, rise)
    ragged = (grain - 0.5) * (1.2 + 4 * cut.curl)
    outer = np.minimum((1 - around) * person.face_width * 0.9 + ragged, cut.end - y + ragged * (4 - 3 * cut.curl))
    away = np.clip(abs(x / person.face_width - 0.55 * person.hair_part), 0, 1.6)
    line = person.hairline + cut.fringe * (1 - 0.25 * away) + cut.sweep * (np.square(away) - 0.4) * 2
    line = line + 4 * np.square(x / person.face_width)
    side = width * (1 - (1 - cut.opening) * np.clip((y - 20) / 30, 0.6, 1)) + 0.8 * wave
    # the corner between hairline and temple is rounded: the depths meet as in a circle of 12 units
    below, beside = y - line, side - abs(x)
    free = 12 - np.hypot(np.clip(12 - below, 0, None), np.clip(12 - beside, 0, None))
    return Strands(outer, free + ragged * 0.8, grain)


def _grain(canvas: Canvas, patch: Patch, person: Person, cut: Cut, around: Map, rise: Map) -> Map:
    """Strand noise: along arcs over the skull that hang down below it, or curls, or a mixture of both."""
    angle = np.arctan2(patch.x - 20 * person.hair_part, SKULL_Y + 34 - patch.y) * 14
    hanging, hang_way = around * 30 + patch.x * 0.05, patch.y * 0.05 + angle * 0.1
    strands = 0.6 * canvas.noise(hanging * 2.6 + 7, hang_way) + 0.4 * canvas.noise(hanging * 0.8 + 70, hang_way + 20)
    if cut.end < 90 and cut.top > 2:  # combed back from the forehead, or down over it
        combed = 0.6 * canvas.noise(angle * 2.6 + 7, around * 3) + 0.4 * canvas.noise(angle * 0.9 + 70, around * 2 + 20)
        strands = strands + edge(rise - 0.45, 0.4) * (combed - strands)
    if not cut.curl:
        return strands
    curls = np.clip(1.2 * canvas.clouds(patch, 2.8) + 0.7 * canvas.clouds(patch, 1.5) - 0.45, 0, 1)
    return strands + np.float32(cut.curl) * (curls - strands)


def paint_back(canvas: Canvas, person: Person, strands: Strands) -> None:
    """The hair behind face and neck."""
    body = edge(strands.outer, 1.6)
    patch = canvas.patch()
    color = linear(person.hair_color) * (0.35 + 0.5 * strands.grain)
    patch.paint(body, color)
    canvas.relief += body * (4 - canvas.relief)
    np.maximum(canvas.cover, body, out=canvas.cover)


def paint_front(canvas: Canvas, person: Person, strands: Strands) -> None:
    """The hair that lies over the head and falls before the ears."""
    cut, patch = CUTS[person.hair], canvas.patch()
    if not cut.density:
        return
    wisps = (strands.grain - 0.5) * 4
    body = edge(strands.outer, 2.0) * edge(wisps - strands.free, 3.5 if cut.density == 1 else 7.0) * cut.density
    if cut.short:
        body *= np.clip((cut.end + 1 - patch.y) / 13, 0, 1)
    puff = 0.35 * np.clip(-strands.free, 0, 9) + 0.2 * np.clip(strands.outer, 0, 9)
    gain = (0.4 + 1.1 * strands.grain) * (1 + 0.2 * bump(strands.outer, 13, 5) * (1 - cut.curl))
    patch.paint(body, linear(person.hair_color) * gain)
    ground = np.maximum(canvas.relief, 6)
    canvas.relief += body * (ground + puff + 0.7 * (strands.grain - 0.5) - canvas.relief)
    canvas.gloss += body * (0.05 - canvas.gloss)
    np.maximum(canvas.cover, body, out=canvas.cover)
