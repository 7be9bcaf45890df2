"""Hits grouped by person: rates over photos, and what can be said of them when people are what is sampled.

Photos of one person are not independent, so a rate's interval is Wilson's at the effective number of photos: how many
independent ones would tell as much. The gallery is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.metrics import Floats, Interval, wilson

FEW = 20  # people leaking, or people hiding: below this many the spread between people cannot be estimated
RESAMPLES = 2000
SAMPLED = 2**22  # people that the bootstrap samples at a time
LEVEL = 0.975  # the upper end of a two-sided 95 % interval

People = NDArray[np.int64]


@dataclass(frozen=True)
class Clusters:
    """Hits grouped by person: `people` (p,) ascending, `hits` (p,) float64 the sum over the person's `photos` (p,).

    `leaking`, `hiding`: (p,) how likely the person is hit by, and missed by, at least one photo.
    """

    people: People
    hits: Floats
    photos: Floats
    leaking: Floats
    hiding: Floats

    @classmethod
    def of(cls, hits: Floats, people: People) -> Clusters:
        """Group (n,) hits in [0, 1] by their (n,) people."""
        known, place = np.unique(people, return_inverse=True)

        def any_of(shares: Floats) -> Floats:
            with np.errstate(divide="ignore"):
                return -np.expm1(np.bincount(place, np.log1p(-shares), len(known)))

        sums, photos = (np.bincount(place, each, len(known)).astype(np.float64) for each in (hits, np.ones(len(hits))))
        return cls(known, sums, photos, any_of(hits), any_of(1 - hits))

    @property
    def rate(self) -> float:
        """The mean over photos, not people."""
        return float(np.clip(self.hits.sum() / self.photos.sum(), 0, 1))

    def interval(self) -> tuple[Interval, float]:
        """The 95 % interval of the rate over other people of the same kind, and the effective number of photos.

        Wilson's at photos / design effect, the design effect being the variance of the rate over people (jackknife)
        over that of independent photos, and at least 1; shortened as Korn and Graubard do (Survey Methodology 24,
        1998) for the few people that the variance was learnt from. Where fewer than FEW leak, or fewer than FEW hide,
        the effective number is at most that of people (Kish's, which is less where some have many photos), and the
        interval also holds Clopper and Pearson's: Wilson's alone is too short for one or two events.
        """
        few = min(self.leaking.sum(), self.hiding.sum()) < FEW
        effective = self._photos_over_design_effect()
        effective = min(effective, _kish(self.photos)) if few else effective * self._shortening()
        events = self.rate * effective
        low, high = wilson(events, effective)
        if few:
            exact_low, exact_high = clopper_pearson(events, effective)
            low, high = min(low, exact_low), max(high, exact_high)
        return (low, high), effective

    def _photos_over_design_effect(self) -> float:
        total, rate, people = self.photos.sum(), self.rate, len(self.photos)
        independent = rate * (1 - rate) / total
        if people < 2 or independent == 0:
            return float(total)
        deviation = (self.hits - rate * self.photos) / (total - self.photos)  # the rate's change without the person
        variance = (people - 1) / people * np.square(deviation).sum()
        return float(total / max(variance / independent, 1.0))

    def _shortening(self) -> float:
        """(normal / Student's t quantile)^2, t with as many degrees as people effectively leak, or hide, less one."""
        from scipy.special import ndtri, stdtrit

        informative = min(_kish(self.hits), _kish(self.photos - self.hits), _kish(self.photos))
        return float((ndtri(LEVEL) / stdtrit(max(informative - 1, 1.0), LEVEL)) ** 2)


def _kish(weights: Floats) -> float:
    """How many equal weights count as much as these: (sum w)^2 / sum w^2."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


def clopper_pearson(successes: float, total: float) -> Interval:
    """The exact 95 % interval of a share, by the beta distribution, which takes fractional counts as well."""
    from scipy.special import betaincinv

    low = float(betaincinv(successes, total - successes + 1, 1 - LEVEL)) if successes > 0 else 0.0
    high = float(betaincinv(successes + 1, total - successes, LEVEL)) if successes < total else 1.0
    return low, high


@dataclass(frozen=True)
class Paired:
    """Two attacks on the same people, a against b: `difference` = a - b and `ratio` = a / b (None where b is 0).

    The 95 % intervals are of a bootstrap over the `people`, from `seed`; that of the difference is of the attacks' own
    intervals (Newcombe, Statistics in Medicine 17, 1998, method 10) where all resamples are alike: neither hits, say.
    """

    difference: float
    difference_interval: Interval
    ratio: float | None
    ratio_interval: Interval | None
    people: int
    seed: int
    resamples: int


def compare(a: Clusters, b: Clusters, *, seed: int = 0, resamples: int = RESAMPLES) -> Paired:
    """Compare two attacks over the people that both measured. Raises InputError where there are none."""
    people, in_a, in_b = np.intersect1d(a.people, b.people, assume_unique=True, return_indices=True)
    if not len(people):
        raise InputError("the two attacks have no people in common, so they cannot be compared")
    sums = np.stack([a.hits[in_a], a.photos[in_a], b.hits[in_b], b.photos[in_b]], axis=1)
    again = np.concatenate([weights @ sums for weights in resampled(len(people), [seed], resamples)])
    rates = np.concatenate([sums.sum(axis=0)[None], again])
    first, second = rates[:, 0] / rates[:, 1], rates[:, 2] / rates[:, 3]
    some = (second[1:] > 0) & (second[0] > 0)
    between = percentiles(first[1:] - second[1:])
    if between[0] == between[1]:  # nobody's hits differ from anybody's: resampling shows nothing
        between = _difference(a, b)
    return Paired(
        difference=float(first[0] - second[0]),
        difference_interval=between,
        ratio=float(first[0] / second[0]) if second[0] > 0 else None,
        ratio_interval=percentiles(first[1:][some] / second[1:][some]) if some.any() else None,
        people=len(people),
        seed=seed,
        resamples=resamples,
    )


def _difference(a: Clusters, b: Clusters) -> Interval:
    """The interval of a difference of two rates, as if independent, from theirs."""
    (a_low, a_high), (b_low, b_high) = a.interval()[0], b.interval()[0]
    between = a.rate - b.rate
    down, up = math.hypot(a.rate - a_low, b_high - b.rate), math.hypot(a_high - a.rate, b.rate - b_low)
    return max(between - down, -1.0), min(between + up, 1.0)


def resampled(count: int, seed: Sequence[int], resamples: int, block: int = 0) -> Iterator[NDArray[np.int64]]:
    """How often each of `count` people is taken, with replacement, in each resample: (b, count), `block` at a time."""
    random = np.random.default_rng(seed)
    block = block or max(1, SAMPLED // count)
    for first in range(0, resamples, block):
        rows = min(block, resamples - first)
        sampled = random.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(sampled.ravel(), minlength=rows * count).reshape(rows, count)


def percentiles(values: Floats) -> Interval:
    """The middle 95 % of bootstrap values."""
    low, high = np.quantile(values, [1 - LEVEL, LEVEL])
    return float(low), float(high)
