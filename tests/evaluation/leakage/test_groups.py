"""Leakage by group against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.groups import group_lines, worst_group
from facemae_cli.evaluation.leakage.groups import FEWEST, by_group
from facemae_cli.evaluation.leakage.statistics import Clusters


def column(name: str, *values: str | None) -> Column:
    known = tuple(sorted({value for value in values if value}))
    return Column(name, known, np.array([known.index(value) if value else -1 for value in values]))


def test_rates_are_those_of_the_photos_of_each_group() -> None:
    random = np.random.default_rng(0)
    people = np.sort(random.integers(0, 90, 400))
    found = np.where(random.random(400) < 0.3, random.random(400), 0.0)
    sexes = [("f", "m", None)[person % 3] for person in people.tolist()]
    lights = [("day", "night")[random.integers(2)] for _ in people]
    rates = by_group(found, people, [column("sex", *sexes), column("light", *lights)])
    assert [(rate.column, rate.value) for rate in rates] == [
        ("sex", "f"), ("sex", "m"), ("light", "day"), ("light", "night"),
    ]  # fmt: skip
    for rate, said in zip(rates, (sexes, sexes, lights, lights), strict=True):
        total, photos, whose, kept = 0.0, 0, set(), []
        for at, value in enumerate(said):
            if value == rate.value:
                total, photos = total + float(found[at]), photos + 1
                whose.add(int(people[at]))
                kept.append(at)
        assert rate.risk == pytest.approx(total / photos, abs=1e-9)
        assert (rate.queries, rate.people, rate.too_small) == (photos, len(whose), len(whose) < FEWEST)
        assert rate.interval == Clusters.of(found[kept], people[kept]).interval()[0]


def test_the_worst_group_is_a_large_one_and_small_ones_are_named() -> None:
    people = np.arange(100)
    found = np.zeros(100)
    found[:30] = 0.1
    found[30:60] = 0.4
    found[95:] = 1.0
    names = ["a"] * 30 + ["b"] * 30 + ["c"] * 35 + ["tiny"] * 5
    rates = by_group(found, people, [column("age", *names)])
    worst = worst_group(rates)
    assert worst is not None
    assert worst.value == "b"
    first, second = group_lines(rates)
    assert first.startswith("the worst of 3 groups is age b: 40.0 % of its photos find their person (95 % interval ")
    assert first.endswith("; 30 people)")
    assert second == "too small to tell, under 20 people: age tiny (5)"
    assert [rate.as_json()["too_small"] for rate in rates] == [False, False, False, True]


def test_groups_that_nobody_asks_for() -> None:
    empty = by_group(np.array([1.0]), np.array([3]), [column("sex", "f")])
    assert worst_group(empty) is None
    assert group_lines(empty) == ["too small to tell, under 20 people: sex f (1)"]
    [unasked] = by_group(np.zeros(0), np.zeros(0, int), [column("sex")]) or [None]
    assert unasked is None
    with pytest.raises(ValueError, match="column sex"):
        by_group(np.zeros(2), np.zeros(2, int), [column("sex", "f")])
