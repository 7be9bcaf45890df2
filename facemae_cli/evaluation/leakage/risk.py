"""Leakage rates (Eq. 3 of arXiv 2205.11090) by the rule for ties, and exact chance."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.ranks import People, Ranks
from facemae_cli.evaluation.leakage.statistics import Clusters
from facemae_cli.evaluation.metrics import Floats, Interval


def above_chance(rate: float, chance: float) -> float | None:
    """(rate - chance) / (1 - chance): 0 at chance, 1 at certainty, below 0 for less; None where chance is 1."""
    return None if chance >= 1 else (rate - chance) / (1 - chance)


def interval_above_chance(ends: Interval, chance: float) -> Interval | None:
    """Each end `above_chance`; None where chance is 1."""
    low, high = (above_chance(end, chance) for end in ends)
    return None if low is None or high is None else (low, high)


@dataclass(frozen=True)
class Risk:
    """One attack at one K: the share of real photos whose person is among the K nearest faces.

    Only `queries` whose person has a face in the gallery count; `left_out` could never hit and would lower the rate.
    `leaking` is how many of the `people` are hit by at least one photo (its expectation, where ties are broken at
    random); `effective` the number of independent photos the `interval` (95 %) stands on; `chance` what random faces
    would reach, and `relative` = (risk - chance) / (1 - chance), None where chance is 1, with its own interval.
    """

    k: int
    risk: float
    interval: Interval
    chance: float
    queries: int
    left_out: int
    people: int
    leaking: float
    effective: float

    @property
    def relative(self) -> float | None:
        """How far the attack goes from chance, 0, to certainty, 1; below 0 where it does worse than chance."""
        return above_chance(self.risk, self.chance)

    @property
    def relative_interval(self) -> Interval | None:
        """The ends of `interval`, each relative to chance."""
        return interval_above_chance(self.interval, self.chance)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types; people are counted as `identities`."""
        return {
            "k": self.k,
            "risk": self.risk,
            "interval": list(self.interval),
            "chance": self.chance,
            "relative": self.relative,
            "relative_interval": None if self.relative_interval is None else list(self.relative_interval),
            "queries": self.queries,
            "queries_left_out": self.left_out,
            "queries_effective": self.effective,
            "identities": self.people,
            "identities_leaking": self.leaking,
        }


class OverTrials:
    """What was measured of several samples of people, a Risk each: the figures are means over them."""

    trials: tuple[Risk, ...]

    @property
    def risk(self) -> float:
        """The share of query photos whose person is among the K nearest, in [0, 1]."""
        return fmean(trial.risk for trial in self.trials)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the risk: the mean of each end."""
        low, high = zip(*(trial.interval for trial in self.trials), strict=True)
        return fmean(low), fmean(high)

    @property
    def chance(self) -> float:
        """What random faces would reach."""
        return fmean(trial.chance for trial in self.trials)

    @property
    def queries(self) -> int:
        """Photos that asked, a sample."""
        return round(fmean(trial.queries for trial in self.trials))

    @property
    def people(self) -> int:
        """People whose photos asked, a sample."""
        return round(fmean(trial.people for trial in self.trials))


def risk(ranks: Ranks, people: People, k: int) -> Risk:
    """The leakage rate at `k`; people: (n,) the queries' people. Raises InputError where no query's person is there."""
    there = ranks.genuine > 0
    if not there.any():
        raise InputError(f"none of {len(there)} query photos has another face of its person in the gallery")
    found = hits(ranks, k)[there]
    counted = Clusters.of(found, people[there])
    interval, effective = counted.interval()
    return Risk(
        k=k,
        risk=counted.rate,
        interval=interval,
        chance=float(chance(ranks, k)[there].mean()),
        queries=len(found),
        left_out=int(len(there) - there.sum()),
        people=len(counted.photos),
        leaking=float(counted.leaking.sum()),
        effective=effective,
    )


def hits(ranks: Ranks, k: int) -> Floats:
    """(n,) how likely each query's person is among the k nearest faces, in [0, 1], ties broken at random.

    With g faces above the person's tie group, t in it and m of these the person's: 0 if g >= k, 1 if t <= k - g, else
    1 - C(t - m, k - g) / C(t, k - g). Raises ValueError for a k that the ranks were not made for.
    """
    if not 1 <= k <= ranks.k:
        raise ValueError(f"k is 1 to {ranks.k}, for which the search was made, not {k}")
    return hit_chance(ranks.tied, ranks.own, k - ranks.above)


def chance(ranks: Ranks, k: int) -> Floats:
    """(n,) how likely k random faces of the gallery hold the query's person: 1 - C(G - m, k) / C(G, k)."""
    return hit_chance(ranks.gallery, ranks.genuine, np.full(len(ranks), k))


def hit_chance(total: People, own: People, places: ArrayLike) -> Floats:
    """How likely `places` of `total` faces, taken at random, hold one of `own`: 1 - C(t - m, d) / C(t, d).

    A product of `places` factors, 1 - m / (t - j), kept as a sum of logarithms: exact to about 1e-15 a factor, for any
    number of faces. No places, or none of one's own, is 0; more places than there are others is 1.
    """
    places = np.asarray(places)
    missed = np.zeros(len(total))
    for j in range(int(places.max(initial=0))):
        goes_on = (places > j) & (own > 0) & np.isfinite(missed)
        left = (total - j)[goes_on]
        share = np.where(own[goes_on] < left, own[goes_on] / np.maximum(left, 1), 1.0)
        with np.errstate(divide="ignore"):
            missed[goes_on] += np.log1p(-share)
    return -np.expm1(missed)
