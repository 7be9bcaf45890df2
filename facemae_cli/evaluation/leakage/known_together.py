"""All attackers as one who knows some members: each learns from them by its own best method, and what they see then is
added up in z-scores, as the ensemble's is, each counting as much as it found of the known people left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE, combine
from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.known_members import (
    METHODS,
    KnownMembers,
    Sides,
    attack_rest,
    known_and_rest,
    map_faces,
)
from facemae_cli.evaluation.leakage.statistics import compare
from facemae_cli.inference.embed import Embeddings, Features

OWN = "each attacker's own method"


@dataclass(frozen=True)
class Knowing:
    """An attacker, by its `sides`, which are of the same faces for all, what it `found` alone, and its `weight`."""

    sides: Sides
    found: KnownMembers
    weight: float

    @property
    def score(self) -> float:
        """What its method found of the known people left out."""
        return self.found.held_out[self.found.method]


def attack_together(
    attackers: Sequence[Knowing], *, seed: int = 0, resamples: int = 2000, device: str = "cpu"
) -> KnownMembers:
    """The attack of them all, on the people whom each attacked alone. Raises InputError as that."""
    alone, first = attackers[0].found, attackers[0].sides
    members, rest = known_and_rest(first, alone.known, seed)
    methods = [METHODS[each.found.method](each.sides, np.sort(members)) for each in attackers]
    mapped = [map_faces(each.sides, maps) for each, maps in zip(attackers, methods, strict=True)]
    plain = [(each.sides.real, each.sides.released) for each in attackers]
    ways = [(mapped, [each.weight * each.score for each in attackers]), (plain, [each.weight for each in attackers])]
    learnt, unlearnt = (
        attack_rest(together, METHODS["none"](together, members), rest, alone.k, alone.photo, device)
        for together in (_added_up(first, faces, weights) for faces, weights in ways)
    )
    return KnownMembers(
        attacker=ENSEMBLE,
        photo=alone.photo,
        known=alone.known,
        k=alone.k,
        method=OWN,
        learnt=learnt[0],
        unlearnt=unlearnt[0],
        compared=compare(learnt[1], unlearnt[1], seed=seed, resamples=resamples),
        held_out={f"{each.found.attacker}, {each.found.method}": each.score for each in attackers},
    )


def _added_up(sides: Sides, faces: Sequence[tuple[Features, Features]], weights: Sequence[float]) -> Sides:
    """What the ensemble sees of real and released faces; who sees all alike there sees a constant direction."""
    sets = [FeatureSets(str(at), _seen(real), _seen(released)) for at, (real, released) in enumerate(faces)]
    made = combine(sets, weights)
    features = []
    for side in (made.real, made.released):
        side.features[~side.valid] = np.float32(side.features.shape[1] ** -0.5)
        features.append(side.features)
    return Sides(features[0], features[1], sides.real_people, sides.released_people, sides.same_photo)


def _seen(features: Features) -> Embeddings:
    return Embeddings(features, np.ones(len(features), np.bool_), [])
