"""The plane of utility against leakage: how releases of the same people lie beside each other, and beside a line.

Utilities are accuracies in percent, one a seed, paired over seeds; leakage is the share of photos whose person is
found, in percent, paired over people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from math import hypot, sqrt
from statistics import mean, stdev

import numpy as np

from facemae_cli.evaluation.leakage.statistics import RESAMPLES, Clusters, Paired, compare, resampled
from facemae_cli.evaluation.metrics import Floats

PHOTOS = ("other", "same")


@dataclass(frozen=True)
class Point:
    """A release: by pack, what recognisers learnt from it, and, by attacker and photo, who is found in it."""

    title: str
    utility: Mapping[str, Sequence[float]]
    found: Mapping[tuple[str, str], Clusters]

    def accuracy(self, pack: str) -> float:
        """The mean over seeds."""
        return mean(self.utility[pack])

    def strongest(self, photo: str) -> tuple[str, Clusters]:
        """The attacker who finds most, and whom he finds."""
        return max(
            ((attacker, found) for (attacker, kind), found in self.found.items() if kind == photo),
            key=lambda each: each[1].rate,
        )


def utility_difference(a: Point, b: Point, pack: str) -> tuple[float, float | None]:
    """The mean of a less b over seeds, and its standard error; None for one seed."""
    return _mean_and_error([one - other for one, other in zip(a.utility[pack], b.utility[pack], strict=True)])


def leakage_difference(a: Point, b: Point, photo: str) -> Paired:
    """a less b, each by the attacker who is strongest there."""
    return compare(a.strongest(photo)[1], b.strongest(photo)[1])


@dataclass(frozen=True)
class Gap:
    """What a release gives away, in percent, beside what the line does at its utility: between `low` and `high`.

    `error`: the standard error of the difference, of people and, by the line's slope, of seeds; None for one seed.
    """

    release: float
    line: float
    low: str
    high: str
    error: float | None

    @property
    def difference(self) -> float:
        """The release less the line."""
        return self.release - self.line

    @property
    def reading(self) -> str:
        """In words, by twice the standard error."""
        if self.error is None:
            return "one seed: not decided"
        if abs(self.difference) <= 2 * self.error:
            return "not told apart"
        return "gives away less" if self.difference < 0 else "gives away more"


def gap(point: Point, line: Sequence[Point], pack: str, photo: str) -> Gap | None:
    """How far `point` lies from the straight pieces between the points of `line`, at equal utility on `pack`.

    Each side is attacked by who is strongest there. None where no two points of the line enclose its utility.
    """
    utility = point.accuracy(pack)
    ordered = sorted(line, key=lambda each: each.accuracy(pack))
    enclosing = [pair for pair in pairwise(ordered) if pair[0].accuracy(pack) <= utility <= pair[1].accuracy(pack)]
    if not enclosing:
        return None
    low, high = enclosing[0]
    width = high.accuracy(pack) - low.accuracy(pack)
    share = (utility - low.accuracy(pack)) / width if width else 0.5
    rates, again = _rates([each.strongest(photo)[1] for each in (point, low, high)])
    between = np.array([1 - share, share])
    slope = (rates[2] - rates[1]) / width if width else 0.0
    seeds = zip(point.utility[pack], low.utility[pack], high.utility[pack], strict=True)
    _, error = _mean_and_error([mine - float(between @ [one, other]) for mine, one, other in seeds])
    spread = float(np.std(again[:, 0] - again[:, 1:] @ between))
    return Gap(
        release=100 * float(rates[0]),
        line=100 * float(rates[1:] @ between),
        low=low.title,
        high=high.title,
        error=None if error is None else hypot(100 * spread, 100 * float(slope) * error),
    )


def _mean_and_error(values: Sequence[float]) -> tuple[float, float | None]:
    return mean(values), stdev(values) / sqrt(len(values)) if len(values) > 1 else None


def _rates(counted: Sequence[Clusters]) -> tuple[Floats, Floats]:
    """(n,) the rates of n attacks over the people that all measured, and (RESAMPLES, n) over people sampled again."""
    people = reduce(np.intersect1d, [each.people for each in counted])
    rows = [np.searchsorted(each.people, people) for each in counted]
    hits = np.stack([each.hits[at] for each, at in zip(counted, rows, strict=True)], axis=1)
    photos = np.stack([each.photos[at] for each, at in zip(counted, rows, strict=True)], axis=1)
    again = [(weights @ hits) / (weights @ photos) for weights in resampled(len(people), [0], RESAMPLES)]
    return hits.sum(axis=0) / photos.sum(axis=0), np.concatenate(again)
