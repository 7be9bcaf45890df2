"""How well embeddings tell people apart: InsightFace's verification protocol, and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facemae_cli.reports.text import decimal

Interval = tuple[float, float]
Floats = NDArray[np.float64]

FOLDS = 10
FARS = (1e-3, 1e-4)
THRESHOLDS: Floats = np.arange(0, 4, 0.01)  # InsightFace's grid of squared distances: 400 of them
BLOCK = 4096  # pairs whose features are held in float64 at once
Z95 = 1.959964


def wilson(successes: float, total: float) -> Interval:
    """Wilson's 95 % score interval of a proportion, inside [0, 1]; (0, 1) where nothing was counted.

    `total` may be an effective sample size, hence floats. Raises ValueError unless 0 <= successes <= total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"successes are between 0 and the total, not {successes} of {total}")
    if total == 0:
        return 0.0, 1.0
    rate, square = successes / total, Z95 * Z95 / total
    middle = (rate + square / 2) / (1 + square)
    half = Z95 / (1 + square) * math.sqrt(rate * (1 - rate) / total + square / total / 4)
    # the ends are exact where they meet the rate, which rounding would miss
    low = 0.0 if successes == 0 else min(max(middle - half, 0.0), rate)
    return low, 1.0 if successes == total else max(min(middle + half, 1.0), rate)


def wilson_band(rates: Floats, total: float) -> tuple[Floats, Floats]:
    """`wilson`'s ends, (n,) each, of (n,) rates of `total`, of which rounding may have put some above 1."""
    low, high = np.array([wilson(min(rate, 1.0) * total, total) for rate in rates.tolist()]).T
    return low, high


@dataclass(frozen=True)
class Verification:
    """What InsightFace's protocol says of a pack of pairs; None where the pairs cannot tell, with a note why.

    `accuracy` and `std` (population) are over the `folds`' accuracies, `interval` is Wilson's 95 % over all pairs;
    `threshold` is the mean of the folds' `thresholds`, squared distances in [0, 4]. TAR, by FAR, is pooled over all
    pairs, its interval Wilson's over the `positives` at the threshold of `tar_thresholds`. All rates are in [0, 1].
    """

    pairs: int
    positives: int  # pairs of one person
    accuracy: float | None
    std: float | None
    interval: Interval | None
    threshold: float | None
    folds: tuple[float, ...]
    thresholds: tuple[float, ...]
    tar_at_far: dict[float, float | None]
    tar_intervals: dict[float, Interval | None]
    tar_thresholds: dict[float, float | None]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types; FARs as plain decimals: "0.001"."""
        return {
            "accuracy": self.accuracy,
            "std": self.std,
            "interval": _listed(self.interval),
            "tar_at_far": {decimal(far): tar for far, tar in self.tar_at_far.items()},
            "tar_intervals": {decimal(far): _listed(interval) for far, interval in self.tar_intervals.items()},
            "tar_thresholds": dict(zip(map(decimal, self.tar_thresholds), self.tar_thresholds.values(), strict=True)),
            "threshold": self.threshold,
            "folds": list(self.folds),
            "pairs": self.pairs,
            "positives": self.positives,
            "notes": list(self.notes),
        }


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def distances(features: NDArray[np.floating], pairs: ArrayLike) -> Floats:
    """(p,) squared L2 distances, in float64, of the rows of `features`, (n, D), that `pairs`, (p, 2) int, names.

    Raises ValueError where a distance is not finite, IndexError where there is no such row.
    """
    left, right = _pairs(pairs).T
    found = np.empty(len(left))
    for start in range(0, len(left), BLOCK):
        part = slice(start, start + BLOCK)
        difference = features[left[part]].astype(np.float64) - features[right[part]]
        found[part] = np.square(difference).sum(axis=1)
    if not np.isfinite(found).all():
        raise ValueError(f"distance of pair {int(np.argmin(np.isfinite(found)))} is not finite; leave such faces out")
    return found


def _pairs(pairs: ArrayLike) -> NDArray[np.int64]:
    listed = np.asarray(pairs, np.int64)
    if listed.ndim != 2 or listed.shape[1] != 2:
        raise ValueError(f"pairs are (p, 2) rows of features, not {listed.shape}")
    return listed


def verify_pairs(features: NDArray[np.floating], pairs: ArrayLike, same: ArrayLike) -> Verification:
    """InsightFace's protocol over `pairs`, (p, 2) rows of `features`, (n, D), L2-normalised; `same` is (p,) bool.

    See `verify_distances`. A pair with a face that has no embedding must be left out. Raises ValueError for
    distances that are not finite and for shapes that do not fit.
    """
    return verify_distances(distances(features, pairs), same)


def verify_distances(
    distances: ArrayLike, same: ArrayLike, folds: int = FOLDS, fars: Sequence[float] = FARS
) -> Verification:
    """InsightFace's protocol over (p,) squared `distances` of pairs and whether each is of the `same` person.

    Folds are contiguous, as scikit-learn's KFold makes them. Each fold's pairs are judged `distance < t` by the first
    threshold of the grid that judges most pairs of the other folds correctly. Fewer pairs than folds make as many
    folds as pairs. One pair has no others to choose a threshold on, and gets no accuracy. Raises ValueError.
    """
    far_apart, together = _checked(distances, same)
    if folds < 2:
        raise ValueError(f"a protocol has 2 folds or more, not {folds}")
    pairs, positives = len(together), int(together.sum())
    notes = _notes(pairs, positives, folds, fars)
    rates = [_tar(far_apart[together], far_apart[~together], far) for far in fars]
    right, sizes, thresholds = _judge(far_apart, together, min(folds, pairs))
    accuracies = right / sizes
    return Verification(
        pairs=pairs,
        positives=positives,
        accuracy=float(accuracies.mean()) if len(accuracies) else None,
        std=float(accuracies.std()) if len(accuracies) else None,
        interval=wilson(int(right.sum()), pairs) if len(accuracies) else None,
        threshold=float(thresholds.mean()) if len(accuracies) else None,
        folds=tuple(accuracies.tolist()),
        thresholds=tuple(thresholds.tolist()),
        tar_at_far={far: rate and rate[0] / positives for far, rate in zip(fars, rates, strict=True)},
        tar_intervals={far: rate and wilson(rate[0], positives) for far, rate in zip(fars, rates, strict=True)},
        tar_thresholds={far: rate and rate[1] for far, rate in zip(fars, rates, strict=True)},
        notes=notes,
    )


def called_same(verification: Verification, distances: ArrayLike) -> NDArray[np.bool_]:
    """(p,) which of the pairs of `distances`, (p,), that were verified are called of one person by their fold's
    threshold. Raises ValueError where these are not those pairs, or there were no folds."""
    return _beyond(verification, np.asarray(distances, np.float64)) < 0


def _beyond(verification: Verification, distances: Floats) -> Floats:
    """(p,) how far each distance lies over its fold's threshold."""
    if len(distances) != verification.pairs:
        raise ValueError(f"{verification.pairs} pairs were verified, not {len(distances)}")
    if not verification.folds:
        raise ValueError("no thresholds were chosen: there were no folds")
    return distances - np.repeat(verification.thresholds, _fold_sizes(len(distances), len(verification.folds)))


def worst_pairs(verification: Verification, distances: ArrayLike, same: ArrayLike, each: int = 8) -> NDArray[np.int64]:
    """The misjudged pairs, farthest from their fold's threshold first: at most `each` of either kind.

    `distances` and `same` are the (p,) that were verified. None where there were no folds. Raises ValueError.
    """
    found, together = _checked(distances, same)
    if not verification.folds and len(found) == verification.pairs:
        return np.empty(0, np.int64)
    beyond = _beyond(verification, found)
    off = np.where(together, beyond, -beyond)
    order = np.argsort(-off, kind="stable")
    wrong = order[(beyond < 0)[order] != together[order]]
    listed = np.concatenate([wrong[together[wrong]][:each], wrong[~together[wrong]][:each]])
    return listed[np.argsort(-off[listed], kind="stable")]


def _checked(distances: ArrayLike, same: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    found, together = np.asarray(distances, np.float64), np.asarray(same, bool)
    if found.ndim != 1 or found.shape != together.shape:
        raise ValueError(f"distances and same are (p,) both, not {found.shape} and {together.shape}")
    if not np.isfinite(found).all():
        raise ValueError("a distance is not finite; leave such pairs out")
    return found, together


def _judge(
    distances: Floats, same: NDArray[np.bool_], folds: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pairs judged correctly, pairs, and threshold of each fold; of no folds where fewer than two can be made."""
    if folds < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    pairs, grid = len(distances), len(THRESHOLDS)
    sizes = _fold_sizes(pairs, folds)
    # the first threshold above a distance is where its pair begins to be called the same
    begins = np.searchsorted(THRESHOLDS, distances, side="right")
    cell = np.repeat(np.arange(folds), sizes) * (grid + 1) + begins

    def called(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(folds, grid): how many of the chosen pairs each threshold calls the same."""
        counts = np.bincount(cell[chosen], minlength=folds * (grid + 1)).reshape(folds, grid + 1)
        return counts.cumsum(axis=1)[:, :grid]

    different = np.bincount(np.repeat(np.arange(folds), sizes)[~same], minlength=folds)
    right = called(same) + different[:, None] - called(~same)
    best = (right.sum(axis=0) - right).argmax(axis=1)
    return right[np.arange(folds), best], sizes, THRESHOLDS[best]


def _fold_sizes(pairs: int, folds: int) -> NDArray[np.int64]:
    sizes = np.full(folds, pairs // folds)
    sizes[: pairs % folds] += 1
    return sizes


def allowed_errors(far: float, negatives: int) -> int:
    """floor(FAR x negatives), with 0.001 x 3000 taken as 3 whatever the rounding of binary fractions."""
    return math.floor(far * negatives * (1 + 1e-12))


def _tar(positives: Floats, negatives: Floats, far: float) -> tuple[int, float] | None:
    """How many positives are accepted at `far`, and the threshold; None where the pairs cannot tell.

    `distance < t` makes at most `allowed` false positives for every t up to, and including, the distance of the
    negative after the `allowed` nearest: that is the largest threshold, however many negatives are tied there.
    """
    allowed = allowed_errors(far, len(negatives))
    if allowed < 1 or not len(positives):
        return None
    threshold = np.partition(negatives, allowed)[allowed] if allowed < len(negatives) else math.inf
    return int(np.count_nonzero(positives < threshold)), float(threshold)


def _notes(pairs: int, positives: int, folds: int, fars: Sequence[float]) -> tuple[str, ...]:
    notes = []
    negatives = pairs - positives
    if pairs < 2:
        counted = "1 pair" if pairs else "no pair"
        notes.append(f"{counted}: there are no others to choose a threshold on, so there is no accuracy")
    elif pairs < folds:
        notes.append(f"{pairs} pairs are fewer than {folds} folds: each pair is a fold of its own")
    if pairs and not (positives and negatives):
        missing = "two people" if positives else "one person"
        notes.append(
            f"no pair is of {missing}: there is no TAR{', and the accuracy means little' if pairs > 1 else ''}"
        )
    else:
        short = [far for far in fars if pairs and allowed_errors(far, negatives) < 1]
        notes += [
            f"TAR at FAR {decimal(far)} needs {math.ceil(1 / far)} pairs of two people; there are {negatives}"
            for far in short
        ]
    return tuple(notes)


@dataclass(frozen=True)
class Roc:
    """A receiver operating curve: at `thresholds` (k,), ascending, the shares of negatives and of positives below.

    Runs from (0, 0), at the smallest distance, to (1, 1), at infinity; one point for each distance met.
    """

    thresholds: Floats
    far: Floats
    tar: Floats

    @property
    def auc(self) -> float:
        """The area below it: how often a positive is nearer than a negative, ties counting half."""
        area = float(np.sum(np.diff(self.far) * (self.tar[1:] + self.tar[:-1])) / 2)
        return min(area, 1.0)  # widths that sum to 1 may round to a little more


def roc(distances: ArrayLike, same: ArrayLike) -> Roc:
    """The curve of calling pairs the same where `distance < t`, pooled over all pairs.

    Raises ValueError where there are no positives or no negatives.
    """
    found, together = _checked(distances, same)
    if together.all() or not together.any():
        raise ValueError("a ROC curve needs pairs of one person and pairs of two")
    met, place = np.unique(found, return_inverse=True)

    def below(chosen: NDArray[np.bool_]) -> Floats:
        counts = np.bincount(place[chosen], minlength=len(met))
        return np.concatenate([[0.0], counts.cumsum() / counts.sum()])

    return Roc(np.append(met, np.inf), below(~together), below(together))
