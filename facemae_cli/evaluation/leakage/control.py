"""A control: photos of people who are not in a release attack it, to tell what is due to the population.

A person who is not there cannot be found, so what would a success be? As in anonymeter's attacks (Giomi et al., PoPETs
2023), the control makes the same guess about people whom the release does not hold, and counts how often a guess of
that kind would be right of the population at large. Here the guess of a photo is "one of these K faces is of this
person"; the nearest thing to being right without the person is to find the person of the release who looks most like
the photo, the stand-in: the one with the real face most like it, as the attacker sees real faces. What was made of
that very face is left out, as a query's own reconstruction is: else a release of the originals would find every
stand-in, by the way it was chosen. So

- attack: the share of photos of people in the release with a face of their person among the K nearest released faces;
- control: the share of photos of people not in it with a face of their stand-in there;
- due to the release: (attack - control) / (1 - control).

A stand-in chosen at random would give chance, which stands beside the risk already, and knows nothing of looks. A
stand-in is the hardest control: it says how much of the finding any resemblance would explain. A release that keeps
looks, but not who a person is, lets both be found alike. The figure stands beside the risk, and no gate rests on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.known_members import Sides
from facemae_cli.evaluation.leakage.ranks import nearest_over_ranks, rank_over_ranks
from facemae_cli.evaluation.leakage.results import Photo
from facemae_cli.evaluation.leakage.risk import Risk, above_chance, risk
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.metrics import Interval
from facemae_cli.evaluation.retrieval import Features


@dataclass(frozen=True)
class Control:
    """The attack and the control on one gallery, at one K, by one attacker.

    `given`: whether the people of the control were given, or are the half who were left out of the release.
    """

    attacker: str
    photo: Photo
    k: int
    given: bool
    attack: Risk
    control: Risk

    @property
    def due_to_release(self) -> float | None:
        """(attack - control) / (1 - control), below 0 where the control finds more; None where the control is 1."""
        return above_chance(self.attack.risk, self.control.risk)

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of `due_to_release`."""
        return interval_above_control(self.attack.risk, self.attack.interval, self.control.risk, self.control.interval)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "attacker": self.attacker,
            "photo": self.photo,
            "k": self.k,
            "control_people_are": "given" if self.given else "half of the people left out",
            "attack": self.attack.as_json(),
            "control": self.control.as_json(),
            "due_to_release": self.due_to_release,
            "due_to_release_interval": None if self.interval is None else list(self.interval),
        }


def interval_above_control(
    attack: float, attack_ends: Interval, control: float, control_ends: Interval
) -> Interval | None:
    """The 95 % interval of `above_chance`, of the intervals of both rates, which are of different people.

    It is 1 less a ratio of two shares of misses, whose interval is recovered from both on the scale of logarithms
    (MOVER: Zou and Donner, Statistics in Medicine 27, 2008; Li et al., Statistics in Medicine 33, 2014). None where
    the control is 1.
    """
    if control >= 1:
        return None
    misses, low, high = (1 - attack, 1 - attack_ends[1], 1 - attack_ends[0])
    others, others_low, others_high = (1 - control, 1 - control_ends[1], 1 - control_ends[0])
    ratio = misses / others
    down = math.hypot(_log_ratio(misses, low), _log_ratio(others_high, others))
    up = math.hypot(_log_ratio(high, misses), _log_ratio(others, others_low))
    if misses == 0:  # the upper end of the ratio is that of the misses, over the lower one of the others
        return (1 - high / others_low if others_low > 0 else -math.inf), 1.0
    return 1 - ratio * math.exp(up), 1 - ratio * math.exp(-down)


def _log_ratio(larger: float, smaller: float) -> float:
    return math.inf if smaller <= 0 else math.log(larger / smaller)


def attack_control(
    sides: Sides,
    outside: Features,
    outside_people: People,
    k: int,
    *,
    attacker: str,
    photo: Photo,
    given: bool,
    device: str = "cpu",
) -> Control:
    """Members' real photos and photos of people `outside` (c, D) ask among the released faces, both of `sides`.

    `outside`: float32 rows of length 1; `outside_people`: (c,) their numbers, none of which the release has. With
    `photo` other the released face of the very photo is left out, with `photo` same only photos that have one ask.
    Photos outside whose stand-in has no other face do not count. Raises InputError where a side is empty.
    """
    asks = sides.asking(photo)
    if not (asks.any() and len(outside)):
        raise InputError(
            f"a control needs photos of both kinds; there are {int(asks.sum())} in and {len(outside)} not in"
        )
    people = sides.real_people
    members = sides.rank(asks, k, photo, device)
    known = np.flatnonzero(np.isin(people, sides.released_people))
    likest = known[nearest_over_ranks(outside, sides.real[known], 1, device=device)[1][:, 0]]
    left_out = sides.same_photo[likest]
    others = rank_over_ranks(
        outside, sides.released, people[likest], sides.released_people, k, exclude=left_out, device=device
    )
    return Control(attacker, photo, k, given, risk(members, people[asks], k), risk(others, outside_people, k))
