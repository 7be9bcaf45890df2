"""What a release tells by itself: whether a person's released faces find each other, and what a face says of its
person, such as an age group, beyond what is most common anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import Column
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.ranks import rank_over_ranks
from facemae_cli.evaluation.leakage.risk import Risk, above_chance, interval_above_chance, risk
from facemae_cli.evaluation.leakage.spread import ridge
from facemae_cli.evaluation.leakage.statistics import Clusters, People
from facemae_cli.evaluation.metrics import Floats, Interval
from facemae_cli.evaluation.retrieval import Features

FOLDS = 5  # of people
# Of the mean variance of a direction, added to each one's. The first, of equals, is taken: it says what is most common.
STRENGTHS = (100.0, 10.0, 1.0, 0.1)
INFERRING = 3  # tells its folds from the other samples of one seed
FEWEST = 20  # people whose attribute is known; of fewer nothing is learnt that could be measured


@dataclass(frozen=True)
class Linkability:
    """How often a released face has another of its person among its K nearest released faces, itself left out."""

    attacker: str
    found: Risk

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {"attacker": self.attacker, **self.found.as_json()}


def link_released(released: Features, people: People, k: int, *, attacker: str, device: str = "cpu") -> Linkability:
    """Each of the (m, D) `released` faces, float32 rows of length 1, asks for the others of its person; `people`: (m,).

    Raises InputError where nobody has two faces.
    """
    ranks = rank_over_ranks(released, released, people, people, k, exclude=np.arange(len(people)), device=device)
    return Linkability(attacker, risk(ranks, people, k))


@dataclass(frozen=True)
class Inference:
    """How well an attribute is inferred of faces whose people the attacker knows nothing of.

    `accuracy`: of photos, with its 95 % `interval` over people; `base_rate`: what always saying the value that is most
    common among these photos gets right. `real`: the accuracy on the real photos of the same
    people, None where these are not known. `values`: how many there are.
    """

    attacker: str
    column: str
    values: int
    photos: int
    people: int
    accuracy: float
    interval: Interval
    base_rate: float
    real: float | None = None

    @property
    def gain(self) -> float | None:
        """(accuracy - base rate) / (1 - base rate): 0 is knowing nothing, 1 everything; None for one value."""
        return above_chance(self.accuracy, self.base_rate)

    @property
    def gain_interval(self) -> Interval | None:
        """The ends of `interval`, each as a gain."""
        return interval_above_chance(self.interval, self.base_rate)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "attacker": self.attacker,
            "attribute": self.column,
            "values": self.values,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "base_rate": self.base_rate,
            "gain": self.gain,
            "gain_interval": None if self.gain_interval is None else list(self.gain_interval),
            "accuracy_on_real": self.real,
            "photos": self.photos,
            "identities": self.people,
        }


def infer(
    released: Features,
    people: People,
    column: Column,
    *,
    attacker: str,
    seed: int = 0,
    real: tuple[Features, People, NDArray[np.int64]] | None = None,
) -> Inference:
    """Infer `column`, (m,) codes, from the (m, D) `released` faces of (m,) `people`.

    The attacker learns from the released faces of four fifths of the people, whose values they know, and say those of
    the rest; so for each fifth. They learn by regularised least squares on the values, of the strength that serves best
    on the next fifth, learnt without it. `real`: features, people and
    codes of real photos, to be told by what the same people's real photos teach. Raises InputError where fewer than
    FEWEST people, or fewer than two values, are known.
    """
    right, codes, whose = _tested(released, people, column.codes, len(column.values), seed)
    counted = Clusters.of(right, whose)
    on_real = None
    if real is not None:
        right_on_real, _, _ = _tested(*real, len(column.values), seed)
        on_real = float(right_on_real.mean())
    return Inference(
        attacker,
        column.name,
        len(np.unique(codes)),
        len(right),
        len(counted.people),
        counted.rate,
        counted.interval()[0],
        float(np.bincount(codes).max() / len(codes)),
        on_real,
    )


def _tested(
    features: Features, people: People, codes: NDArray[np.int64], values: int, seed: int
) -> tuple[Floats, NDArray[np.int64], People]:
    """(n,) of the faces with a value: whether it is inferred correctly, the value, and whose faces they are."""
    known = codes >= 0
    faces, people, codes = features[known].astype(np.float64), people[known], codes[known]
    everybody = np.unique(people)
    if len(everybody) < FEWEST or len(np.unique(codes)) < 2:
        raise InputError(
            f"{len(everybody)} people with {len(np.unique(codes))} values are known; {FEWEST} people and 2 values are "
            "the least to infer from"
        )
    right = np.zeros(len(codes))
    order = np.random.default_rng([seed, INFERRING]).permutation(everybody)
    for fold in range(FOLDS):
        asked, held = (np.isin(people, order[at % FOLDS :: FOLDS]) for at in (fold, fold + 1))
        first = ~asked & ~held
        scores = [
            (_classify(faces[first], codes[first], faces[held], values, strength) == codes[held]).mean()
            for strength in STRENGTHS
        ]
        strength = STRENGTHS[int(np.argmax(scores))]
        right[asked] = _classify(faces[~asked], codes[~asked], faces[asked], values, strength) == codes[asked]
    return right, codes, people


def _classify(
    taught: Floats, codes: NDArray[np.int64], asked: Floats, values: int, strength: float
) -> NDArray[np.int64]:
    """The value of each of the `asked` faces by least squares on those `taught`, each value being one of `values`."""
    mean = taught.mean(axis=0)
    x, wanted = taught - mean, np.eye(values)[codes]
    shares = wanted.mean(axis=0)
    scores = (asked - mean) @ ridge(x, wanted - shares, strength) + shares
    return np.asarray(scores.argmax(axis=1), np.int64)


def gains(found: Sequence[Inference]) -> list[Inference]:
    """The attributes by what is gained, most first."""
    return sorted(found, key=lambda each: -(each.gain or 0.0))
