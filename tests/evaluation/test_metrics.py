from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.evaluation import metrics

GRID = [step * 0.01 for step in range(400)]


def slow_folds(pairs: int, folds: int) -> list[list[int]]:
    """scikit-learn's KFold without shuffling, in words: contiguous, the first ones longer by one."""
    out, start = [], 0
    for fold in range(folds):
        end = start + pairs // folds + (1 if fold < pairs % folds else 0)
        out.append(list(range(start, end)))
        start = end
    return out


def slow_share(distances: Sequence[float], same: Sequence[bool], chosen: Sequence[int], threshold: float) -> float:
    return sum((distances[i] < threshold) == same[i] for i in chosen) / len(chosen)


def slow_protocol(distances: Sequence[float], same: Sequence[bool], folds: int) -> tuple[float, float, list[float]]:
    """Mean, population std and thresholds, pair by pair and threshold by threshold."""
    shares, thresholds = [], []
    for fold in slow_folds(len(same), min(folds, len(same))):
        others = [i for i in range(len(same)) if i not in fold]
        best, best_share = 0.0, -1.0
        for threshold in GRID:
            share = slow_share(distances, same, others, threshold)
            if share > best_share:
                best, best_share = threshold, share
        shares.append(slow_share(distances, same, fold, best))
        thresholds.append(best)
    mean = sum(shares) / len(shares)
    return mean, math.sqrt(sum((share - mean) ** 2 for share in shares) / len(shares)), thresholds


def slow_tar(distances: Sequence[float], same: Sequence[bool], allowed: int) -> float:
    """The best TAR among all thresholds that let at most `allowed` pairs of two people pass."""
    together = [d for d, s in zip(distances, same, strict=True) if s]
    apart = [d for d, s in zip(distances, same, strict=True) if not s]
    passing = [t for t in [*sorted(set(distances)), math.inf] if sum(d < t for d in apart) <= allowed]
    return sum(d < max(passing) for d in together) / len(together)


def sampled_pairs(seed: int, pairs: int, people: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coarse embeddings, so that many distances are tied; pairs of photos that are their own partner are among them."""
    random = np.random.default_rng(seed)
    centres = random.integers(-2, 3, (people, 4)) + 0.5
    who = random.integers(0, people, 40)
    features = centres[who] + random.integers(-1, 2, (40, 4))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    chosen = random.integers(0, 40, (pairs, 2))
    chosen[::2, 1] = [random.choice(np.flatnonzero(who == who[left])) for left in chosen[::2, 0]]
    return features, chosen, who[chosen[:, 0]] == who[chosen[:, 1]]


@pytest.mark.parametrize("pairs", [2, 3, 7, 9, 10, 11, 29, 100, 203])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_protocol_equals_a_slow_one(pairs: int, seed: int) -> None:
    features, chosen, same = sampled_pairs(seed, pairs)
    slow = [sum((float(x) - float(y)) ** 2 for x, y in zip(features[a], features[b], strict=True)) for a, b in chosen]
    mean, std, thresholds = slow_protocol(slow, same.tolist(), 10)
    got = metrics.verify_pairs(features, chosen, same)
    assert got.pairs == pairs
    assert got.positives == sum(same)
    assert got.accuracy == pytest.approx(mean, abs=1e-12)
    assert got.std == pytest.approx(std, abs=1e-12)
    assert got.thresholds == pytest.approx(thresholds, abs=1e-12)
    assert got.threshold == pytest.approx(sum(thresholds) / len(thresholds), abs=1e-12)
    assert len(got.folds) == min(pairs, 10)


def test_the_drawn_distances_are_tied() -> None:
    features, chosen, _ = sampled_pairs(0, 203)
    distances = metrics.distances(features, chosen)
    assert len(np.unique(distances)) < 150
    assert (distances == 0).any()


@pytest.mark.parametrize("together", [True, False])
def test_pairs_all_alike_are_measured_without_tar(together: bool) -> None:
    features, chosen, _ = sampled_pairs(3, 25)
    same = np.full(25, together)
    got = metrics.verify_pairs(features, chosen, same)
    mean, std, _ = slow_protocol(metrics.distances(features, chosen).tolist(), same.tolist(), 10)
    assert (got.accuracy, got.std) == pytest.approx((mean, std), abs=1e-12)
    assert set(got.tar_at_far.values()) == {None}
    (note,) = got.notes
    assert f"no pair is of {'two people' if together else 'one person'}" in note


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 16).map(lambda n: n / 4), st.booleans()), min_size=2, max_size=30),
    st.integers(2, 12),
    st.floats(0.01, 0.99),
)
def test_any_pairs_are_judged_as_slowly(pairs: list[tuple[float, bool]], folds: int, far: float) -> None:
    distances, same = [d for d, _ in pairs], [s for _, s in pairs]
    got = metrics.verify_distances(distances, same, folds=folds, fars=[far])
    mean, std, thresholds = slow_protocol(distances, same, folds)
    assert (got.accuracy, got.std) == pytest.approx((mean, std), abs=1e-12)
    assert got.thresholds == pytest.approx(thresholds, abs=1e-12)
    allowed = math.floor(far * same.count(False))
    if allowed and any(same):
        assert got.tar_at_far[far] == slow_tar(distances, same, allowed)
        threshold = got.tar_thresholds[far]
        assert threshold is not None
        assert sum(d < threshold for d, s in pairs if not s) <= allowed
    else:
        assert got.tar_at_far[far] is got.tar_intervals[far] is got.tar_thresholds[far] is None
        assert got.notes


def test_a_fold_by_hand() -> None:
    """Two folds: (0.1 same, 0.5 different) and (0.3 same, 0.2 different)."""
    got = metrics.verify_distances([0.1, 0.5, 0.3, 0.2], [True, False, True, False], folds=2)
    # Fold 1 is judged by the first best threshold of fold 2: one of its two pairs is right at 0, as at any other
    # threshold up to 0.2, so 0: both called different. Fold 2 by that of fold 1: all is right just above 0.1.
    assert got.thresholds == pytest.approx((0.0, 0.11))
    assert got.folds == (0.5, 0.5)
    assert (got.accuracy, got.std) == (0.5, 0.0)
    assert got.interval == metrics.wilson(2, 4)


def test_a_distance_on_the_threshold_is_not_below_it() -> None:
    grid = metrics.THRESHOLDS
    got = metrics.verify_distances([grid[50], grid[51]] * 2, [True, False] * 2, folds=2)
    assert got.thresholds == (grid[51], grid[51])
    assert got.accuracy == 1.0


def test_folds_of_unequal_size_count_alike() -> None:
    """Of three pairs, the first fold holds two; the mean is over folds, the interval over pairs."""
    got = metrics.verify_distances([0.105, 0.105, 3.0], [True, True, True], folds=2)
    # On the last pair alone the first best threshold is 3.01, right for both first ones; theirs is 0.11, wrong for it.
    assert got.thresholds == pytest.approx((3.01, 0.11))
    assert got.folds == (1.0, 0.0)
    assert got.accuracy == 0.5
    assert got.interval == metrics.wilson(2, 3)


def test_tar_by_hand() -> None:
    """1 of 4 negatives may pass: the threshold is the second nearest, and what is as near does not pass."""
    negatives, positives = [0.5, 1.0, 1.0, 2.0], [0.1, 0.7, 0.99, 1.0, 3.0]
    got = metrics.verify_distances(negatives + positives, [False] * 4 + [True] * 5, fars=[0.25, 0.2, 0.5])
    assert got.tar_thresholds == {0.25: 1.0, 0.2: None, 0.5: 1.0}  # two may pass at 0.5, but three would above 1.0
    assert got.tar_at_far == {0.25: 0.6, 0.2: None, 0.5: 0.6}
    assert got.tar_intervals == {0.25: metrics.wilson(3, 5), 0.2: None, 0.5: metrics.wilson(3, 5)}
    assert metrics.verify_distances([0.1, 3.9], [False, True], fars=[1.0]).tar_at_far == {1.0: 1.0}
    assert got.notes == (
        "9 pairs are fewer than 10 folds: each pair is a fold of its own",
        "TAR at FAR 0.2 needs 5 pairs of two people; there are 4",
    )


@pytest.mark.parametrize(("negatives", "known"), [(999, False), (1000, True)])
def test_a_far_below_one_pair_has_no_tar(negatives: int, known: bool) -> None:
    distances = np.linspace(0.1, 3.9, negatives + 10)
    same = np.arange(negatives + 10) < 10
    got = metrics.verify_distances(distances, same)
    assert (got.tar_at_far[1e-3] is not None) is known
    assert got.tar_at_far[1e-4] is None
    note = f"TAR at FAR 0.0001 needs 10000 pairs of two people; there are {negatives}"
    assert got.notes[-1] == note
    assert ("TAR at FAR 0.001 needs 1000 pairs of two people; there are 999" in got.notes) is not known


def test_binary_fractions_lose_no_allowed_pair() -> None:
    wrong = [n for n in range(1, 20001) if metrics.allowed_errors(0.001, n) != n // 1000]
    assert wrong == []
    assert [metrics.allowed_errors(0.29, 100), metrics.allowed_errors(0.07, 100)] == [29, 7]  # 28.999.., 7.000..1


@pytest.mark.parametrize(("pairs", "said"), [(0, "no pair: "), (1, "1 pair: ")])
def test_too_few_pairs_have_no_accuracy(pairs: int, said: str) -> None:
    got = metrics.verify_pairs(np.eye(2, dtype=np.float32), np.zeros((pairs, 2), int), [True] * pairs)
    assert got.accuracy is got.std is got.interval is got.threshold is None
    assert got.folds == got.thresholds == ()
    assert got.notes[0].startswith(said)


def test_as_json_is_json() -> None:
    got = metrics.verify_distances([0.5, 1.5] * 2, [True, False] * 2, fars=[1e-3, 1e-5, 0.5])
    said = json.loads(json.dumps(got.as_json(), allow_nan=False))
    assert said["accuracy"] == 1.0
    assert said["std"] == 0.0
    assert said["interval"] == pytest.approx([0.5101, 1.0], abs=1e-4)
    assert said["tar_at_far"] == {"0.001": None, "0.00001": None, "0.5": 1.0}
    assert said["tar_intervals"]["0.5"] == pytest.approx([0.3424, 1.0], abs=1e-4)
    assert said["threshold"] == pytest.approx(0.51)
    assert (said["pairs"], said["positives"], len(said["folds"]), len(said["notes"])) == (4, 2, 4, 3)


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # these four: Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (50, 100, 0.4038, 0.5962),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_as_published(successes: int, total: int, low: float, high: float) -> None:
    assert metrics.wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(1e-3, 1e9))
def test_wilson_holds_the_share_and_solves_its_equation(share: float, total: float) -> None:
    low, high = metrics.wilson(share * total, total)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    for end in (low, high):
        if 1e-6 < end < 1 - 1e-6:
            assert (share - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / total, rel=1e-3, abs=1e-12)


@pytest.mark.parametrize(("successes", "total"), [(-1, 3), (4, 3), (math.nan, 3), (1, math.nan)])
def test_wilson_refuses_what_is_no_share(successes: float, total: float) -> None:
    with pytest.raises(ValueError, match="between 0 and the total"):
        metrics.wilson(successes, total)


def test_a_band_is_wilson_of_each_rate_and_of_1_where_rounding_went_above() -> None:
    low, high = metrics.wilson_band(np.array([0.0, 0.25, 1.0 + 2e-16 * 2]), 8)
    assert list(zip(low, high, strict=True)) == [metrics.wilson(successes, 8) for successes in (0, 2, 8)]


def test_distances_are_squared_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.array([[1, 0], [0, 1], [-1, 0], [0.6, 0.8]], np.float32)
    chosen = [[0, 0], [0, 1], [0, 2], [1, 3], [3, 1]]
    whole = metrics.distances(features, chosen)
    assert whole.dtype == np.float64
    assert whole == pytest.approx([0, 2, 4, 0.4, 0.4], abs=1e-6)
    monkeypatch.setattr(metrics, "BLOCK", 2)
    assert (metrics.distances(features, chosen) == whole).all()


def test_what_does_not_fit_is_refused() -> None:
    features = np.eye(3, dtype=np.float32)
    features[2, 0] = np.nan
    with pytest.raises(ValueError, match="pair 1 is not finite"):
        metrics.distances(features, [[0, 1], [0, 2]])
    with pytest.raises(ValueError, match=r"\(p, 2\)"):
        metrics.distances(features, [0, 1])
    with pytest.raises(IndexError):
        metrics.distances(features, [[0, 3]])
    with pytest.raises(ValueError, match=r"\(2,\) and \(1,\)"):
        metrics.verify_distances([0.1, 0.2], [True])
    with pytest.raises(ValueError, match="not finite"):
        metrics.verify_distances([0.1, math.inf], [True, False])
    with pytest.raises(ValueError, match="2 folds or more"):
        metrics.verify_distances([0.1, 0.2], [True, False], folds=1)


def test_roc_by_hand() -> None:
    curve = metrics.roc([0.1, 0.4, 0.4, 0.4, 2.0], [True, True, False, False, True])
    assert curve.thresholds.tolist() == [0.1, 0.4, 2.0, math.inf]
    assert curve.far.tolist() == [0, 0, 1, 1]
    assert curve.tar == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert curve.auc == pytest.approx((2 + 2 * 0.5) / 6)  # of 6 comparisons 2 are won and 2 are tied


def test_roc_passes_through_the_tar() -> None:
    features, chosen, same = sampled_pairs(5, 203)
    distances = metrics.distances(features, chosen)
    curve, got = metrics.roc(distances, same), metrics.verify_distances(distances, same, fars=[0.1])
    (at,) = np.flatnonzero(curve.thresholds == got.tar_thresholds[0.1])
    assert curve.tar[at] == got.tar_at_far[0.1]
    assert curve.far[at] <= 0.1 < curve.far[at + 1]
    wins = [(p < n) + (p == n) / 2 for p in distances[same] for n in distances[~same]]
    assert curve.auc == pytest.approx(sum(wins) / len(wins))


def test_roc_needs_both_kinds() -> None:
    with pytest.raises(ValueError, match="pairs of two"):
        metrics.roc([0.1, 0.2], [True, True])


def test_the_worst_pairs_by_hand() -> None:
    """Wrong by their fold's threshold, by how much, at most so many of either kind."""
    distances, same = [0.1, 3.0, 0.2, 2.5, 0.3, 0.4], [True, True, True, False, False, False]
    thresholds = (1.0, 0.35)
    found = metrics.Verification(6, 3, 0.5, 0.0, None, 0.6, (0.5, 0.5), thresholds, {}, {}, {}, ())
    # Fold 1: pair 1 is too far by 2.0. Fold 2: pair 4 is too near by 0.05; pair 5 and pair 3 are right.
    assert metrics.worst_pairs(found, distances, same).tolist() == [1, 4]
    assert metrics.worst_pairs(found, distances, [not each for each in same]).tolist() == [3, 0, 2, 5]
    assert metrics.worst_pairs(found, distances, [not each for each in same], each=1).tolist() == [3, 0]
    assert metrics.worst_pairs(metrics.verify_distances([0.5], [True]), [0.5], [True]).tolist() == []
    with pytest.raises(ValueError, match="6 pairs were verified, not 1"):
        metrics.worst_pairs(found, [0.1], [True])
