"""Accuracy by group against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.groups import group_lines, worst_group
from facemae_cli.evaluation.metrics import called_same, verify_distances, wilson
from facemae_cli.evaluation.verification.groups import by_group


def column(name: str, *values: str | None) -> Column:
    known = tuple(sorted({value for value in values if value}))
    return Column(name, known, np.array([known.index(value) if value else -1 for value in values]))


def test_each_pair_is_judged_by_its_fold_s_threshold() -> None:
    random = np.random.default_rng(0)
    same = random.random(403) < 0.5
    distances = np.where(same, random.normal(1.0, 0.4, 403), random.normal(1.8, 0.4, 403)).clip(0, 4)
    pairs = random.integers(0, 50, (403, 2))
    sexes = [("f", "m", None)[face % 3] for face in range(50)]
    found = verify_distances(distances, same)
    sizes = [403 // 10 + (fold < 403 % 10) for fold in range(10)]
    thresholds = [found.thresholds[fold] for fold, size in enumerate(sizes) for _ in range(size)]
    for rate in by_group(found, distances, same, pairs, [column("sex", *sexes)]):
        right = pairs_in = accepted = two = rejected = one = 0
        for (left, other), distance, together, threshold in zip(pairs, distances, same, thresholds, strict=True):
            if sexes[left] == sexes[other] == rate.value:
                called = distance < threshold
                pairs_in, right = pairs_in + 1, right + (called == together)
                one, two = one + together, two + (not together)
                accepted, rejected = accepted + (called and not together), rejected + (together and not called)
        assert (rate.pairs, rate.positives) == (pairs_in, one)
        assert rate.accuracy == pytest.approx(right / pairs_in, abs=1e-9)
        assert rate.false_accepts == pytest.approx(accepted / two, abs=1e-9)
        assert rate.false_rejects == pytest.approx(rejected / one, abs=1e-9)
        assert rate.interval == wilson(right, pairs_in)
    whole = by_group(found, distances, same, pairs, [column("all", *["x"] * 50)])[0]
    right = called_same(found, distances) == same
    assert whole.accuracy == pytest.approx(np.mean([part.mean() for part in np.array_split(right, 10)]), abs=0.01)


def test_the_worst_group_is_a_large_one_and_small_ones_are_named() -> None:
    same = np.arange(300) % 2 == 0
    distances = np.where(same, 0.5, 2.0)
    distances[140:160] = 3.0 - distances[140:160]
    pairs = np.stack([np.arange(300), np.arange(300)], axis=1)
    ages = ["young"] * 130 + ["old"] * 130 + ["tiny"] * 40
    rates = by_group(verify_distances(distances, same), distances, same, pairs, [column("age", *ages)])
    worst = worst_group(rates)
    assert worst is not None
    assert worst.value == "old"
    first, second = group_lines(rates)
    assert first.startswith(
        "the worst of 2 groups is age old: 92.31 % of 130 pairs are judged correctly (95 % interval "
    )
    assert second == "too small to tell, under 100 pairs: age tiny (40)"


def test_groups_without_pairs_of_a_kind_or_without_folds() -> None:
    pairs = np.array([[0, 0], [1, 2]])
    found = verify_distances([0.1, 0.2], [True, True])
    sexes = [column("sex", "f", "m", "m")]
    first, second = by_group(found, np.array([0.1, 0.2]), np.array([True, True]), pairs, sexes)
    assert (first.false_accepts, first.false_accepts_interval) == (None, None)
    assert second.as_json()["false_accept_interval"] is None
    assert by_group(verify_distances([0.1], [True]), np.array([0.1]), np.array([True]), pairs[:1], sexes) == []
    with pytest.raises(ValueError, match="2 pairs were verified, not 1"):
        called_same(found, [0.1])
    assert worst_group([]) is None
    assert group_lines([]) == []
