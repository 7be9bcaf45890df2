"""Membership against plain loops over all pairs of people and all thresholds."""

from __future__ import annotations

import numpy as np
import pytest

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage import membership as module
from facemae_cli.evaluation.leakage.membership import averaged, highest_scores, membership
from facemae_cli.evaluation.leakage.statistics import resampled
from facemae_cli.evaluation.metrics import wilson


def auc_by_looping(members, others) -> float:
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in members for b in others]
    return sum(wins) / len(wins)


def tpr_by_looping(members, others, allowed: int) -> float:
    """The most members that `score >= t` calls, over all thresholds that call at most `allowed` others."""
    thresholds = [t for t in [*members, *others] if sum(score >= t for score in others) <= allowed]
    return max((float(np.mean([score >= t for score in members])) for t in thresholds), default=0.0)


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray]:
    """Members score a little higher; many are tied, within a side and across."""
    random = np.random.default_rng(0)
    return np.round(random.normal(0.45, 0.2, 50), 1), np.round(random.normal(0.3, 0.2, 130), 1)


def test_figures_are_those_of_plain_loops(scores) -> None:
    members, others = scores
    found = membership(members, others, fprs=(0.3, 0.1, 0.01, 0.001))
    assert found.auc == pytest.approx(auc_by_looping(members, others))
    allowed = {0.3: 39, 0.1: 13, 0.01: 1}
    assert found.tpr_at_fpr == {fpr: tpr_by_looping(members, others, n) for fpr, n in allowed.items()} | {0.001: None}
    assert found.tpr_intervals[0.001] is None
    assert found.notes == ("TPR at FPR 0.1 % needs 1000 people not in it; there are 130",)
    assert (found.members, found.non_members) == (50, 130)


def test_the_curve_runs_over_all_thresholds(scores) -> None:
    members, others = scores
    curve = membership(members, others, resamples=10).curve
    levels = np.unique(np.concatenate(scores))[::-1]
    assert curve.far.tolist() == pytest.approx([0, *[float(np.mean(others >= level)) for level in levels]])
    assert curve.tar.tolist() == pytest.approx([0, *[float(np.mean(members >= level)) for level in levels]])


def test_resamples_are_those_of_drawing_people_anew(scores) -> None:
    members, others = np.sort(scores[0]), np.sort(scores[1])
    found = np.concatenate(list(module._resample(members, others, [13, 1], 3, 60)), axis=1)
    draws = [np.concatenate(list(resampled(len(side), [3, i], 60, 60))) for i, side in enumerate((members, others))]
    for (auc, *tprs), inside, outside in zip(found.T, *draws, strict=True):
        again = np.repeat(members, inside), np.repeat(others, outside)
        assert auc == pytest.approx(auc_by_looping(*again))
        assert tprs == pytest.approx([tpr_by_looping(*again, allowed) for allowed in (13, 1)])


@pytest.mark.parametrize("drawn", [1, 2000, 2**20])
def test_intervals_are_of_all_resamples_and_of_wilson(scores, drawn, monkeypatch) -> None:
    monkeypatch.setattr(module, "SAMPLED", drawn)
    found = membership(*scores, fprs=(0.1,), seed=3, resamples=60)
    again = np.concatenate(list(module._resample(*map(np.sort, scores), [13], 3, 60)), axis=1)
    bounds = np.quantile(again, [0.025, 0.975], axis=1).T
    assert found.auc_interval == pytest.approx(bounds[0].tolist())
    low, high = wilson(round(found.tpr_at_fpr[0.1] * 50), 50)
    assert found.tpr_intervals[0.1] == pytest.approx((min(bounds[1][0], low), max(bounds[1][1], high)))


def test_none_found_is_no_proof_of_none() -> None:
    found = membership(np.zeros(50), np.linspace(0.1, 1, 200), resamples=50)
    assert found.tpr_at_fpr[0.01] == 0
    assert found.tpr_intervals[0.01][1] == pytest.approx(1.96**2 / (50 + 1.96**2), abs=1e-4)
    assert found.auc == 0


def test_constant_scores_tell_nothing() -> None:
    random = np.random.default_rng(1)
    found = membership(0.7 + 1e-9 * random.random(40), 0.7 + 1e-9 * random.random(300), resamples=50)
    assert found.auc == 0.5
    low, high = found.auc_interval  # resamples are all alike, which is no certainty
    assert low < 0.5 < high
    assert found.tpr_at_fpr == {0.01: 0.0, 0.001: None}


def test_all_errors_allowed_find_everybody() -> None:
    found = membership(np.zeros(5), np.ones(4), fprs=(1.0,), resamples=20)
    assert found.tpr_at_fpr == {1.0: 1.0}
    assert found.tpr_intervals[1.0][1] == 1


def test_seeds_decide_the_intervals(scores) -> None:
    first, again, other = (membership(*scores, seed=seed, resamples=50).as_json() for seed in (1, 1, 2))
    assert first == again
    assert first["auc_interval"] != other["auc_interval"]
    assert list(first["tpr_at_fpr"]) == ["0.01", "0.001"]
    assert first["tpr_at_fpr"]["0.001"] is None


def test_a_person_scores_as_his_best_photo() -> None:
    people, best = highest_scores([0.1, 0.9, -0.5, 0.3, -0.7], [4, 2, 9, 4, 9])
    assert people.tolist() == [2, 4, 9]
    assert best.tolist() == [0.9, 0.3, -0.5]


def test_an_empty_side_is_refused() -> None:
    with pytest.raises(InputError, match="there are 3 in and 0 not in"):
        membership(np.zeros(3), [])


def test_splits_are_averaged_figure_by_figure_and_curve_by_curve() -> None:
    random = np.random.default_rng(0)
    parts = [membership(random.normal(0.5, 1, 50), random.normal(0, 1, 120), seed=1, resamples=50) for _ in range(3)]
    made = averaged(parts)
    assert made.auc == pytest.approx(np.mean([each.auc for each in parts]))
    assert made.auc_interval == pytest.approx(np.mean([each.auc_interval for each in parts], axis=0))
    assert made.tpr_at_fpr[0.01] == pytest.approx(np.mean([each.tpr_at_fpr[0.01] for each in parts]))
    assert made.tpr_at_fpr[0.001] is None
    assert made.notes == parts[0].notes
    for far in (0.0, 0.05, 0.5, 1.0):
        reached = [each.curve.tar[each.curve.far <= far + 1e-12][-1] for each in parts]
        assert made.curve.tar[made.curve.far <= far + 1e-12][-1] == pytest.approx(np.mean(reached))
    assert made.curve.auc == pytest.approx(made.auc, abs=0.01)


def test_where_all_resamples_are_alike_the_interval_is_wilson_s() -> None:
    assert membership([0.9] * 4, [0.1] * 5, resamples=50).auc_interval == pytest.approx(wilson(4, 4))
    tied = membership([0.5] * 8, [0.5] * 8, resamples=50)
    assert tied.auc_interval == pytest.approx(wilson(4, 8))


def test_who_is_told_from_everybody_is_told_in_all_cases() -> None:
    """1,047 widths that sum to 1 round to a little more: 1.0000000000000002 is no share of people."""
    told = membership(np.linspace(0.8, 0.9, 764), np.linspace(0.1, 0.2, 283), resamples=50)
    assert told.auc == 1
    assert told.auc_interval == pytest.approx(wilson(283, 283))
