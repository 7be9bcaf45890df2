from __future__ import annotations

import re

import numpy as np
import pytest
from helpers.auditcases import findings, told

from facemae_cli.evaluation.leakage.plots import k_figure, over_k, over_people, people_figure, roc_figure, series_of


def test_curves_take_the_largest_k_and_all_people() -> None:
    series = series_of(findings("a"))
    assert list(series) == [
        "real → real",
        "real → released, other photos",
        "real → released, the very photo",
        "imitated by facemae-v1 → released, other photos",
    ]
    for found in over_people(series, 2).values():
        assert [(each.identities, each.k) for each in found] == [(100, 2), (1000, 2), (3059, 2)]
    for found in over_k(series).values():
        assert [(each.identities, each.k) for each in found] == [(3059, 1), (3059, 2)]
    draws = [each for each in findings("a") if not each.whole]
    assert {each.identities for found in over_k(series_of(draws)).values() for each in found} == {1000}


def points(svg: str, number: int) -> np.ndarray:
    """(n, 2) where line `number` passes, y in percent by the ticks; the first and the last tick tell the scale."""
    line = re.search(rf'<path d="([^"]*)"[^>]*fill: none[^>]*stroke: var\(--series-{number}\)', svg)
    assert line
    found = np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", line[1]), float)
    ticks = re.findall(r'end" x="[\d.]+" y="([\d.]+)"[^>]*>([\d.]+) %<', svg)
    (y_low, low), *_, (y_high, high) = [(float(y) - 3.6, float(said)) for y, said in ticks]  # letters stand lower
    found[:, 1] = low + (found[:, 1] - y_low) / (y_high - y_low) * (high - low)
    return found


def test_lines_pass_through_the_risks_and_chance() -> None:
    series = series_of(findings("a"))
    for figure, found in ((people_figure, over_people(series, 2)), (k_figure, over_k(series))):
        drawn = figure(found, "Risk.", [])
        assert drawn is not None
        for number, each in enumerate(found.values(), 1):
            assert points(drawn.plot.svg, number)[:, 1] == pytest.approx([100 * at.risk for at in each], abs=0.4)
        chances = [100 * at.chance for at in found["real → released, other photos"]]
        assert points(drawn.plot.svg, len(found) + 1)[:, 1] == pytest.approx(chances, abs=0.4)


def test_numbers_of_people_stand_on_a_logarithmic_scale_where_they_spread() -> None:
    drawn = people_figure(over_people(series_of(findings("a")), 2), "Risk.", [])
    assert drawn is not None
    x = points(drawn.plot.svg, 1)[:, 0]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(np.log(10) / np.log(30.59), abs=0.01)
    near = people_figure(over_people(series_of(findings("a", sizes=(1000, 2000))), 2), "Risk.", [])
    assert near is not None
    x = points(near.plot.svg, 1)[:, 0]
    assert (x[1] - x[0]) / (x[2] - x[0]) == pytest.approx(1000 / 2059, abs=0.01)


def test_ticks_that_would_touch_are_left_out() -> None:
    drawn = people_figure(over_people(series_of(findings("a", sizes=(100, 300, 1000, 3000))), 2), "Risk.", [])
    assert drawn is not None
    ticks = re.findall(r'<text style="[^"]*middle" x="[\d.]+"[^>]*>([\d.]+)<', drawn.plot.svg)
    assert ticks == ["100", "300", "1000", "3059"]


def test_one_number_makes_no_curve() -> None:
    series = series_of(findings("a", ks=(2,), sizes=()))
    assert people_figure(over_people(series, 2), "Risk.", []) is None
    assert k_figure(over_k(series), "Risk.", []) is None


def test_the_roc_starts_at_the_first_false_alarm_and_ends_at_the_top() -> None:
    found = told("a")
    drawn = roc_figure([found])
    y = points(drawn.plot.svg, 1)[:, 1]
    curve = found.membership.curve
    first = curve.tar[curve.far <= 1 / found.membership.non_members][-1]
    assert y[0] <= 100 * first + 0.4
    assert y[-1] == pytest.approx(100, abs=0.4)
    assert (np.diff(y) >= -1e-6).all()
    assert points(drawn.plot.svg, 2)[-1, 1] == pytest.approx(100, abs=0.4)  # guessing
    assert re.findall(r'middle" x="[\d.]+"[^>]*>([\d.]+)<', drawn.plot.svg) == ["1", "0.1", "0.01", "0.001"]
