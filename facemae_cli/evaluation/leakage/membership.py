"""The open-set question: can it be told whether a person is in a release at all?

A person's score is the highest similarity of any of their photos to any released face. Members are people in the
release, non-members are not; whoever scores over a threshold is called a member.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.statistics import RESAMPLES, SAMPLED, People, percentiles, resampled
from facemae_cli.evaluation.metrics import Floats, Interval, Roc, allowed_errors, roc, wilson
from facemae_cli.reports.text import decimal, exact_percent

FPRS = (1e-2, 1e-3)
DECIMALS = 6  # scores are compared to this many: what differs by less is tied


@dataclass(frozen=True)
class Membership:
    """How well members are told from non-members, with 95 % intervals.

    `auc`: how often a member scores higher than a non-member, ties counting half; its interval is of a bootstrap over
    people from `seed`. `tpr_at_fpr`: the share of members called so at the lowest threshold that calls at most
    floor(FPR x non_members) non-members so; None where that is below 1 (`notes` say what it would need). Its interval
    spans Wilson's, at that threshold, and the bootstrap's, which chooses the threshold again. `curve`: the ROC, `far`
    and `tar` its axes.
    """

    members: int
    non_members: int
    auc: float
    auc_interval: Interval
    tpr_at_fpr: dict[float, float | None]
    tpr_intervals: dict[float, Interval | None]
    curve: Roc
    seed: int
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types, without the curve; FPRs as plain decimals: "0.001"."""
        return {
            "auc": self.auc,
            "auc_interval": list(self.auc_interval),
            "tpr_at_fpr": {decimal(fpr): tpr for fpr, tpr in self.tpr_at_fpr.items()},
            "tpr_intervals": {decimal(fpr): None if i is None else list(i) for fpr, i in self.tpr_intervals.items()},
            "members": self.members,
            "non_members": self.non_members,
            "seed": self.seed,
            "notes": list(self.notes),
        }


def highest_scores(scores: ArrayLike, people: ArrayLike) -> tuple[People, Floats]:
    """Each person's highest score: people (p,) ascending and their scores (p,), from (n,) photos."""
    known, place = np.unique(np.asarray(people), return_inverse=True)
    highest = np.full(len(known), -np.inf)
    np.maximum.at(highest, place, np.asarray(scores, np.float64))
    return known, highest


def membership(
    members: ArrayLike,
    non_members: ArrayLike,
    *,
    fprs: Sequence[float] = FPRS,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Membership:
    """Tell members (a,) from non-members (b,) by their people's scores. Raises InputError where a side is empty."""
    inside, outside = _sorted(members), _sorted(non_members)
    if not (len(inside) and len(outside)):
        raise InputError(f"membership needs people on both sides; there are {len(inside)} in and {len(outside)} not in")
    curve = roc(-np.concatenate([inside, outside]), np.arange(len(inside) + len(outside)) < len(inside))
    allowed = {fpr: allowed_errors(fpr, len(outside)) for fpr in fprs}
    measurable = {fpr: count for fpr, count in allowed.items() if count >= 1}
    again = np.concatenate(list(_resample(inside, outside, list(measurable.values()), seed, resamples)), axis=1)
    tprs: dict[float, float | None] = dict.fromkeys(fprs)
    intervals: dict[float, Interval | None] = dict.fromkeys(fprs)
    for (fpr, count), values in zip(measurable.items(), again[1:], strict=True):
        found = len(inside) - int(np.searchsorted(inside, _threshold(outside, count), side="right"))
        tprs[fpr] = found / len(inside)
        both = wilson(found, len(inside)), percentiles(values)
        intervals[fpr] = min(low for low, _ in both), max(high for _, high in both)
    return Membership(
        members=len(inside),
        non_members=len(outside),
        auc=curve.auc,
        auc_interval=_wide_enough(curve.auc, percentiles(again[0]), min(len(inside), len(outside))),
        tpr_at_fpr=tprs,
        tpr_intervals=intervals,
        curve=curve,
        seed=seed,
        notes=tuple(
            f"TPR at FPR {exact_percent(fpr)} needs {math.ceil(1 / fpr)} people not in it; there are {len(outside)}"
            for fpr in fprs
            if fpr not in measurable
        ),
    )


def averaged(parts: Sequence[Membership]) -> Membership:
    """The means of several splits of the same people: of figures, of each end of their intervals, and of the curves.

    Raises InputError where there is none.
    """
    if not parts:
        raise InputError("membership needs a split of the people")
    first = parts[0]
    tprs: dict[float, float | None] = {}
    intervals: dict[float, Interval | None] = {}
    for fpr in first.tpr_at_fpr:
        known = [(each.tpr_at_fpr[fpr], each.tpr_intervals[fpr]) for each in parts]
        given = [(rate, ends) for rate, ends in known if rate is not None and ends is not None]
        whole = len(given) == len(parts)
        tprs[fpr] = fmean(rate for rate, _ in given) if whole else None
        intervals[fpr] = (fmean(low for _, (low, _) in given), fmean(high for _, (_, high) in given)) if whole else None
    low, high = zip(*(each.auc_interval for each in parts), strict=True)
    return Membership(
        members=round(fmean(each.members for each in parts)),
        non_members=round(fmean(each.non_members for each in parts)),
        auc=fmean(each.auc for each in parts),
        auc_interval=(fmean(low), fmean(high)),
        tpr_at_fpr=tprs,
        tpr_intervals=intervals,
        curve=_mean_curve([each.curve for each in parts]),
        seed=first.seed,
        notes=tuple(dict.fromkeys(note for each in parts for note in each.notes)),
    )


def _mean_curve(curves: Sequence[Roc]) -> Roc:
    """The mean TPR at every FPR that one of them reaches; each is taken as the steps that it is."""
    far = np.unique(np.concatenate([[0.0, 1.0], *(curve.far for curve in curves)]))
    reached = [curve.tar[np.searchsorted(curve.far, far, side="right") - 1] for curve in curves]
    return Roc(np.arange(len(far), dtype=np.float64), far, np.mean(reached, axis=0))


def _wide_enough(auc: float, interval: Interval, people: int) -> Interval:
    """The bootstrap's interval, or, where all its resamples are alike, Wilson's of as many people as the fewer side."""
    if interval[1] - interval[0] > 0:
        return interval
    low, high = wilson(auc * people, people)
    return min(low, interval[0]), max(high, interval[1])


def _sorted(scores: ArrayLike) -> Floats:
    rounded: Floats = np.sort(np.round(np.asarray(scores, np.float64), DECIMALS))
    return rounded


def _threshold(outside: Floats, allowed: int) -> float:
    """The score that must be exceeded so that at most `allowed` of `outside`, ascending, exceed it."""
    return float(outside[-1 - allowed]) if allowed < len(outside) else -math.inf


def _resample(inside: Floats, outside: Floats, allowed: list[int], seed: int, resamples: int) -> Iterator[Floats]:
    """Blocks (1 + len(allowed), b): AUC, and TPR with so many errors allowed, of people sampled again on both sides."""
    below, upto = (np.searchsorted(outside, inside, side=side) for side in ("left", "right"))
    past = np.append(np.searchsorted(inside, outside, side="right"), 0)  # members up to each non-member's score; none
    block = max(1, SAMPLED // (len(inside) + len(outside)))
    sides = (resampled(len(side), [seed, i], resamples, block) for i, side in enumerate((inside, outside)))
    for sampled_in, sampled_out in zip(*sides, strict=True):
        before = np.zeros((len(sampled_out), len(outside) + 1))  # drawn non-members before each place
        np.cumsum(sampled_out, axis=1, out=before[:, 1:])
        auc = (sampled_in * (before[:, below] + before[:, upto])).sum(axis=1) / (2 * len(inside) * len(outside))
        kept = np.zeros((len(sampled_in), len(inside) + 1))
        np.cumsum(sampled_in, axis=1, out=kept[:, 1:])
        rows = np.arange(len(kept))
        tprs = []
        for count in allowed:
            # The threshold is the highest score that has more than `count` draws at or above it.
            place = (len(outside) - before[:, :-1] > count).sum(axis=1) - 1
            tprs.append(1 - kept[rows, past[place]] / len(inside))
        yield np.stack([auc, *tprs])
