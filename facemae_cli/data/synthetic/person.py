"""Who is shown, and how the photo was taken: the two sets of parameters behind every synthetic face.

Lengths are in units of the 112-pixel ArcFace template, seen from the front, x from the midline of the face.
All random numbers use nothing but `Generator.random`, whose stream numpy keeps stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, TypeVar

import numpy as np

Hair = Literal["bald", "buzz", "short", "swept", "fringe", "curly", "tied", "bob", "long", "wavy"]
Beard = Literal["none", "stubble", "moustache", "goatee", "full"]
Glasses = Literal["none", "round", "square", "rimless"]
Color = tuple[float, float, float]  # sRGB, 0..1
T = TypeVar("T")

SKIN = (
    (242, 204, 184),
    (232, 187, 161),
    (217, 167, 134),
    (191, 138, 104),
    (156, 105, 75),
    (124, 82, 59),
    (100, 66, 50),
)
HAIR_DARK = ((30, 24, 22), (45, 33, 27), (66, 45, 33))
HAIR_LIGHT = ((92, 66, 48), (134, 98, 66), (190, 156, 110), (222, 196, 154), (150, 84, 54))
HAIR_GREY = ((150, 147, 144), (198, 196, 193))
EYES_DARK = ((62, 38, 24), (82, 52, 30))
FRAMES: tuple[Color, ...] = ((0.06, 0.06, 0.07), (0.25, 0.13, 0.07), (0.5, 0.42, 0.3), (0.35, 0.05, 0.08))
COLLARS = ((25, 28, 40), (225, 225, 225), (120, 30, 35), (60, 90, 130), (70, 70, 70))
EYES_LIGHT = ((84, 112, 130), (110, 140, 158), (96, 110, 70), (120, 100, 62), (92, 96, 98))


class Dice:
    """Random values from uniform numbers alone, so that they stay the same under every version of numpy."""

    def __init__(self, *seed: int) -> None:
        self.random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed))).random

    def between(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * float(self.random())

    def bell(self, middle: float, spread: float) -> float:
        """Bell-shaped about `middle`, never further from it than 2 * `spread`."""
        return middle + spread * (float(self.random(4).sum()) - 2.0)

    def chance(self, probability: float) -> bool:
        return float(self.random()) < probability

    def pick(self, options: Sequence[T], weights: Sequence[float] | None = None) -> T:
        shares = np.cumsum(weights if weights is not None else np.ones(len(options)))
        return options[int(np.searchsorted(shares, self.random() * shares[-1], side="right"))]

    def color(self, palette: Sequence[tuple[int, int, int]], jitter: float = 0.05) -> Color:
        """A colour between two neighbours of the palette, a little off in brightness and hue."""
        place = self.between(0, len(palette) - 1)
        return shade_of(palette, place, 1 + self.bell(0, jitter), self.bell(0, jitter / 3))


def shade_of(palette: Sequence[tuple[int, int, int]], place: float, gain: float = 1.0, warmth: float = 0.0) -> Color:
    """The sRGB colour at `place` (0 .. len - 1) of a palette, times `gain`, shifted from blue to red by `warmth`."""
    ends = np.array(palette, float) / 255
    red, green, blue = (float(np.interp(place, range(len(palette)), ends[:, channel])) * gain for channel in range(3))
    return min(max(red + warmth, 0.0), 1.0), min(green, 1.0), min(max(blue - warmth, 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody: a face, and how its owner mostly looks, which `look` changes from day to day.

    Made by `Person.random`; every field may be set by hand.
    """

    texture: int  # seeds moles, freckles and strands
    masculine: float  # 0 .. 1
    age: float  # 0 young .. 1 old
    skin: Color
    face_width: float  # half width at the cheekbones
    jaw: float  # jaw width as a share of the face's
    chin: float  # chin width as a share of the face's
    chin_y: float
    cheekbones: float  # height of their relief
    hairline: float
    ears: float
    eye_distance: float
    eye_width: float  # half
    eye_height: float  # opening of a relaxed eye
    eye_tilt: float  # outer corner up, as a slope
    eye_depth: float
    lid_fold: float  # how far the crease stands above the upper lid
    iris: Color
    brow_y: float  # above the eye
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_density: float
    nose_y: float
    nose_width: float
    nose_height: float
    nose_bridge: float
    nose_tip: float
    mouth_y: float
    mouth_width: float  # half
    upper_lip: float
    lower_lip: float
    cupid: float
    lips: Color
    makeup: float
    hair: Hair
    hair_color: Color
    hair_volume: float
    hair_part: float  # where the parting stands, -1 .. 1
    beard: Beard
    beard_density: float
    freckles: int
    moles: int
    glasses: Glasses
    frame_color: Color
    collar: Color

    @classmethod
    def random(cls, seed: int, index: int) -> Person:
        """Person `index` of the people that `seed` stands for."""
        dice = Dice(seed, index)
        masculine = dice.pick([dice.between(0, 0.25), dice.between(0.75, 1)])
        age = dice.between(0, 1) ** 1.4
        tone = dice.between(0, 6) if dice.chance(0.6) else dice.between(0, 2.2)
        return cls(
            **_head(dice, masculine),
            **_eyes(dice, masculine, tone),
            **_nose_and_mouth(dice, masculine, tone),
            **_hair(dice, masculine, age, tone),
            texture=int(dice.between(0, 2**31)),
            masculine=masculine,
            age=age,
            skin=shade_of(SKIN, tone, 1 + dice.bell(0, 0.04), dice.bell(0, 0.015)),
            makeup=dice.between(0.2, 1) if masculine < 0.5 and dice.chance(0.6) else 0.0,
            freckles=int(dice.between(20, 90)) if tone < 2 and dice.chance(0.2) else 0,
            moles=dice.pick([0, 1, 2, 4], [5, 3, 2, 1]),
            glasses=dice.pick(["none", "round", "square", "rimless"], [15, 0.8, 1.4, 0.6]),
            frame_color=dice.pick(FRAMES),
            collar=dice.color(COLLARS, 0.2),
        )


class _Head(TypedDict):
    """The shape of a head, as `Person` names it."""

    face_width: float
    jaw: float
    chin: float
    chin_y: float
    cheekbones: float
    hairline: float
    ears: float


class _Eyes(TypedDict):
    """Eyes and brows."""

    eye_distance: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    eye_depth: float
    lid_fold: float
    iris: Color
    brow_y: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_density: float


class _NoseAndMouth(TypedDict):
    """Nose and mouth."""

    nose_y: float
    nose_width: float
    nose_height: float
    nose_bridge: float
    nose_tip: float
    mouth_y: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    cupid: float
    lips: Color


class _Hairdo(TypedDict):
    """Hair and beard."""

    hair: Hair
    hair_color: Color
    hair_volume: float
    hair_part: float
    beard: Beard
    beard_density: float


def _head(dice: Dice, masculine: float) -> _Head:
    return {
        "face_width": dice.bell(38.5 + 1.5 * masculine, 2.2),
        "jaw": dice.bell(0.80 + 0.05 * masculine, 0.045),
        "chin": dice.bell(0.40 + 0.07 * masculine, 0.05),
        "chin_y": dice.bell(115 + 2.5 * masculine, 2.6),
        "cheekbones": dice.bell(3.2, 1.0),
        "hairline": dice.bell(15 - 2 * masculine, 4.5),
        "ears": dice.bell(1.0, 0.12),
    }


def _eyes(dice: Dice, masculine: float, tone: float) -> _Eyes:
    light = dice.chance(max(0.7 - 0.22 * tone, 0.0))
    return {
        "eye_distance": dice.bell(35.2, 1.7),
        "eye_width": dice.bell(8.5 - 0.3 * masculine, 0.5),
        "eye_height": dice.bell(7.4 - 1.1 * masculine, 0.8),
        "eye_tilt": dice.bell(0.06 - 0.03 * masculine, 0.06),
        "eye_depth": dice.bell(3.2 + 1.5 * masculine, 0.9),
        "lid_fold": dice.between(0.7, 2.4),
        "iris": dice.color(EYES_LIGHT if light else EYES_DARK, 0.1),
        "brow_y": dice.bell(11.0 - 1.6 * masculine, 1.0),
        "brow_thickness": dice.bell(1.5 + 0.7 * masculine, 0.35),
        "brow_arch": dice.bell(1.7 - 1.1 * masculine, 0.6),
        "brow_tilt": dice.bell(-0.06, 0.07),
        "brow_density": dice.between(0.55, 0.95),
    }


def _nose_and_mouth(dice: Dice, masculine: float, tone: float) -> _NoseAndMouth:
    fullness = 0.15 * tone
    return {
        "nose_y": dice.bell(71.7, 1.7),
        "nose_width": dice.bell(7.4 + 0.9 * masculine + 0.25 * tone, 0.8),
        "nose_height": dice.bell(11.5 + 1.5 * masculine - 0.4 * tone, 1.5),
        "nose_bridge": dice.bell(3.8 + 0.4 * masculine, 0.5),
        "nose_tip": dice.bell(4.2, 0.7),
        "mouth_y": dice.bell(92.3, 1.2),
        "mouth_width": dice.bell(15.4, 1.2),
        "upper_lip": dice.bell(3.3 - 0.8 * masculine + fullness, 0.6),
        "lower_lip": dice.bell(4.8 - 0.9 * masculine + fullness, 0.7),
        "cupid": dice.between(0.3, 1.1),
        "lips": dice.color([(190, 105, 100), (170, 80, 84), (196, 60, 70)], 0.08),
    }


def _hair(dice: Dice, masculine: float, age: float, tone: float) -> _Hairdo:
    if masculine > 0.5:
        thin = 0.5 + 3 * age
        style: Hair = dice.pick(
            ["bald", "buzz", "short", "swept", "fringe", "curly", "bob"], [thin / 2, thin, 4, 3, 2, 1.2, 0.5]
        )
    else:
        style = dice.pick(["short", "fringe", "curly", "tied", "bob", "long", "wavy"], [0.7, 1.2, 1, 2, 2.5, 4, 4])
    if tone > 2.5:
        color = dice.color(HAIR_DARK)
    else:
        color = dice.color(HAIR_LIGHT) if dice.chance(0.65) else dice.color(HAIR_DARK)
    if age > 0.62 and dice.chance(0.7):
        color = dice.color(HAIR_GREY)
    beards: list[Beard] = ["none", "stubble", "moustache", "goatee", "full"]
    return {
        "hair": style,
        "hair_color": color,
        "hair_volume": dice.bell(1.0, 0.25),
        "hair_part": dice.between(-0.8, 0.8),
        "beard": dice.pick(beards, [5, 3, 0.7, 1, 2]) if masculine > 0.5 else "none",
        "beard_density": dice.between(0.5, 0.95),
    }


@dataclass(frozen=True, slots=True)
class Shot:
    """What changes from photo to photo. Angles in degrees; the plain `Shot()` is a front view under soft light."""

    yaw: float = 0.0  # positive: the face turns to the picture's right
    pitch: float = 0.0  # positive: the face looks down
    roll: float = 0.0  # what the aligner has left over
    light_x: float = -0.35  # where the key light stands: -1 left .. 1 right
    light_y: float = -0.45  # -1 above .. 1 below
    key: float = 0.75
    ambient: float = 0.45
    warmth: float = 0.0  # colour of the light, blue to red, about -0.12 .. 0.12
    smile: float = 0.2  # -0.3 .. 1
    mouth_open: float = 0.0  # 0 .. 1
    lids: float = 1.0  # opening of the eyes, relative to relaxed
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    brow_raise: float = 0.0
    backdrop: int = 0  # seeds the background
    shift_x: float = 0.0  # what the aligner is off by, in pixels of 112
    shift_y: float = 0.0
    zoom: float = 1.0
    exposure: float = 1.0
    blur: float = 0.0  # sigma, in pixels of 112
    noise: float = 0.0  # sigma, in 0 .. 255
    grain: int = 0  # seeds the noise

    @classmethod
    def random(cls, seed: int, index: int, photo: int) -> Shot:
        """Photo `photo` of person `index`: another pose, light, expression, place and camera."""
        dice = Dice(seed, index, photo + 1)
        smile = dice.pick([dice.between(-0.1, 0.35), dice.between(0.4, 1.0)])
        return cls(
            yaw=dice.bell(0, 17),
            pitch=dice.bell(0, 9),
            roll=dice.bell(0, 2.0),
            light_x=dice.bell(0, 1.1),
            light_y=dice.bell(-0.4, 0.4),
            key=dice.between(0.55, 1.3),
            ambient=dice.between(0.12, 0.45),
            warmth=dice.bell(0.015, 0.07),
            smile=smile,
            mouth_open=dice.between(0.15, 0.6) if smile > 0.45 and dice.chance(0.7) else dice.pick([0.0, 0.25], [5, 1]),
            lids=dice.bell(1.0 - 0.15 * max(smile, 0), 0.12),
            gaze_x=dice.bell(0, 0.5),
            gaze_y=dice.bell(0, 0.25),
            brow_raise=dice.bell(0, 0.7),
            backdrop=int(dice.between(0, 2**31)),
            shift_x=dice.bell(0, 0.5),
            shift_y=dice.bell(0, 0.5),
            zoom=1 + dice.bell(0, 0.012),
            exposure=dice.bell(0.97, 0.2),
            blur=dice.between(0, 0.8),
            noise=dice.between(0.5, 2.5),
            grain=int(dice.between(0, 2**31)),
        )
