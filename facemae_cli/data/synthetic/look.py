"""How somebody looks on the day of a photo: hair, beard, glasses, make-up and clothes change, the face does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from facemae_cli.data.synthetic.person import (
    COLLARS,
    FRAMES,
    HAIR_DARK,
    HAIR_LIGHT,
    Beard,
    Color,
    Dice,
    Glasses,
    Hair,
    Person,
)

STREAM = 1  # apart from the dice of the shot, so that neither moves the other
SHORT: tuple[Hair, ...] = ("buzz", "short", "swept", "fringe", "curly")
LONG: tuple[Hair, ...] = ("fringe", "tied", "bob", "long", "wavy", "curly")
SHAVED: tuple[Hair, ...] = ("bald", "buzz")
SHAPES: tuple[Glasses, ...] = ("round", "square", "rimless")
BEARDS: tuple[Beard, ...] = ("none", "none", "stubble", "stubble", "moustache", "goatee", "full")


def on_the_day(person: Person, seed: int, index: int, photo: int) -> Person:
    """`person` (number `index` of the people of `seed`) as photo `photo` finds them: the same bones, skin, eyes, nose
    and mouth, with the hair, beard, glasses, make-up and clothes of that day."""
    dice = Dice(seed, index, photo + 1, STREAM)
    beard, density = _beard(dice, person)
    return replace(
        person,
        hair=_hair(dice, person),
        hair_color=_hair_color(dice, person),
        hair_volume=min(max(person.hair_volume + dice.bell(0, 0.25), 0.5), 1.6),
        hair_part=person.hair_part if dice.chance(0.5) else dice.between(-0.8, 0.8),
        hairline=person.hairline + dice.bell(0, 1.2),
        brow_density=min(max(person.brow_density + dice.bell(0, 0.1), 0.4), 1.0),
        beard=beard,
        beard_density=density,
        glasses=_glasses(dice, person),
        frame_color=dice.pick(FRAMES),
        makeup=dice.between(0.0, 1.0) if person.makeup else 0.0,
        skin=_shaded(person.skin, 1 + dice.bell(0, 0.04)),
        collar=dice.color(COLLARS, 0.2),
    )


def _hair(dice: Dice, person: Person) -> Hair:
    cuts: Sequence[Hair] = SHORT if person.masculine > 0.5 else LONG
    if person.hair in SHAVED:
        cuts = SHAVED  # what has gone does not come back
    return person.hair if dice.chance(0.5) else dice.pick(cuts)


def _hair_color(dice: Dice, person: Person) -> Color:
    if dice.chance(0.03 if person.masculine > 0.5 else 0.12):
        return dice.color((*HAIR_DARK, *HAIR_LIGHT))  # dyed
    return _shaded(person.hair_color, 1 + dice.bell(0, 0.15))  # bleached by the sun, or wet


def _beard(dice: Dice, person: Person) -> tuple[Beard, float]:
    if person.masculine < 0.5:
        return "none", person.beard_density
    return (person.beard if dice.chance(0.5) else dice.pick(BEARDS)), dice.between(0.5, 0.95)


def _glasses(dice: Dice, person: Person) -> Glasses:
    worn, shape = dice.chance(0.04 if person.glasses == "none" else 0.6), dice.pick(SHAPES)
    if not worn:
        return "none"
    return person.glasses if person.glasses != "none" and dice.chance(0.6) else shape


def _shaded(color: Color, gain: float) -> Color:
    red, green, blue = (min(channel * gain, 1.0) for channel in color)
    return red, green, blue
