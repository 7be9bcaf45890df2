"""Intervals over people: by hand, by plain loops, and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.coverage import PEOPLE, RISKS, cell

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.statistics import Clusters, clopper_pearson, compare, percentiles, resampled
from facemae_cli.evaluation.metrics import wilson


def grouped(hits: list[float], people: list[int]) -> Clusters:
    return Clusters.of(np.array(hits, float), np.array(people))


def alike(people: int, leaking: int, photos: int = 1) -> Clusters:
    """`leaking` of `people` are found in all of their photos, the others in none."""
    return grouped(
        [float(p < leaking) for p in range(people) for _ in range(photos)], np.arange(people * photos) // photos
    )


def test_hits_are_grouped_by_person() -> None:
    found = grouped([1, 0, 0.5, 0, 0.5, 1], [7, 2, 7, 2, 9, 4])
    assert found.people.tolist() == [2, 4, 7, 9]
    assert found.hits.tolist() == [0, 1, 1.5, 0.5]
    assert found.photos.tolist() == [2, 1, 2, 1]
    assert found.rate == 0.5
    np.testing.assert_allclose(found.leaking, [0, 1, 1, 0.5])
    np.testing.assert_allclose(found.hiding, [1, 0, 0.5, 0.5])


def test_one_photo_a_person_has_wilsons_interval_but_for_students_t() -> None:
    interval, effective = alike(1000, 500).interval()
    assert effective == pytest.approx(1000, rel=0.01)  # 499 degrees of freedom, and 999 / 1000 of the jackknife
    assert interval == wilson(effective / 2, effective)


def test_photos_that_are_all_alike_count_once_a_person() -> None:
    once, many = alike(200, 60), alike(200, 60, photos=12)
    assert many.interval()[1] == pytest.approx(once.interval()[1], rel=1e-12)
    np.testing.assert_allclose(many.interval()[0], once.interval()[0], rtol=1e-12)


def test_photos_that_are_independent_count_each() -> None:
    random = np.random.default_rng(0)
    photos = grouped(random.random(8000) < 0.3, np.arange(8000) // 8)
    assert 7000 < photos.interval()[1] <= 8000


def test_the_design_effect_is_that_of_leaving_each_person_out() -> None:
    random = np.random.default_rng(1)
    people = np.repeat(np.arange(60), random.integers(1, 9, 60))
    hits = (random.random(len(people)) < random.random(60)[people]).astype(float)
    without = [hits[people != person].mean() for person in range(60)]
    variance = 59 / 60 * sum((rate - hits.mean()) ** 2 for rate in without)
    found = Clusters.of(hits, people)
    expected = hits.mean() * (1 - hits.mean()) / variance
    assert expected < len(people)
    assert found._photos_over_design_effect() == pytest.approx(expected)
    assert 0.85 * expected < found.interval()[1] < expected  # Student's t


def test_photos_less_alike_than_chance_count_no_more_than_once_each() -> None:
    assert grouped([1, 0] * 50, np.arange(100) // 2).interval()[1] <= 100


def test_no_leak_is_no_proof_of_none() -> None:
    interval, effective = alike(100, 0, photos=7).interval()
    assert effective == 100
    assert interval == (0, pytest.approx(wilson(0, 100)[1]))
    low, high = alike(100, 100, photos=7).interval()[0]
    assert (low, high) == (pytest.approx(wilson(100, 100)[0]), 1)


def test_few_who_leak_count_as_people_however_many_their_photos() -> None:
    photos = grouped([1.0] * 5 + [0.0] * 995, np.arange(1000) % 100)
    assert photos._photos_over_design_effect() > 900
    assert photos.interval()[1] == pytest.approx(100)
    skewed = grouped([1.0] + [0.0] * 198, [0] * 100 + list(range(1, 100)))
    assert skewed.interval()[1] == pytest.approx(199**2 / (100**2 + 99))  # Kish: one person has half of the photos


def test_one_event_reaches_down_to_the_exact_interval() -> None:
    (low, high), effective = alike(100, 1).interval()
    assert effective == pytest.approx(99)
    exact = clopper_pearson(0.99, effective)
    assert low == pytest.approx(exact[0])
    assert high == pytest.approx(max(wilson(0.99, effective)[1], exact[1]))
    assert low < 0.2 * wilson(0.99, effective)[0]


def test_one_person_alone_counts_once() -> None:
    interval, effective = alike(1, 1, photos=50).interval()
    assert effective == 1
    assert interval == (pytest.approx(min(wilson(1, 1)[0], 0.025)), 1)


def test_clopper_and_pearsons_interval() -> None:
    assert clopper_pearson(0, 10) == (0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1)
    assert clopper_pearson(7, 20) == (pytest.approx(0.15390920), pytest.approx(0.59218853))  # R: binom.test(7, 20)


@pytest.mark.parametrize("people", PEOPLE)
def test_intervals_hold_the_true_rate(people) -> None:
    """A reduced form of benchmarks/coverage.py: photos varying from 2 to 20, correlated at 0.3."""
    for risk in RISKS:
        held, among_many, leaking = cell(risk, people, "wide", 0.3, 500)
        assert held >= 0.92, (people, risk)
        if leaking >= 20:
            assert 0.92 <= held <= 0.98, (people, risk)
            assert among_many is not None
            assert 0.92 <= among_many <= 0.98


def test_attacks_are_compared_over_the_people_they_share() -> None:
    random = np.random.default_rng(2)
    people = np.repeat(np.arange(80), 5)
    strong, weak = ((random.random(400) < rate).astype(float) for rate in (0.9, 0.3))
    a, b = Clusters.of(strong[:350], people[:350]), Clusters.of(weak[50:], people[50:])
    found = compare(a, b, seed=5, resamples=400)
    assert found.people == 60
    both = slice(50, 350)
    assert found.difference == pytest.approx(strong[both].mean() - weak[both].mean())
    assert found.ratio == pytest.approx(strong[both].mean() / weak[both].mean())
    differences, ratios = [], []
    for weights in np.concatenate(list(resampled(60, [5], 400))):
        chosen = np.repeat(np.arange(10, 70), weights)
        first, second = (np.concatenate([side[people == person] for person in chosen]) for side in (strong, weak))
        differences.append(first.mean() - second.mean())
        ratios.append(first.mean() / second.mean())
    np.testing.assert_allclose(found.difference_interval, np.quantile(differences, [0.025, 0.975]))
    np.testing.assert_allclose(found.ratio_interval, np.quantile(ratios, [0.025, 0.975]))
    assert compare(a, b, seed=5, resamples=400) == found
    assert compare(a, b, seed=6, resamples=400) != found


def test_comparing_with_nothing_has_no_ratio() -> None:
    a, b = alike(30, 10), alike(30, 0)
    found = compare(a, b, resamples=100)
    assert (found.ratio, found.ratio_interval) == (None, None)
    assert found.difference == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="no people in common"):
        compare(a, grouped([1], [99]))


def test_resamples_draw_as_many_people_each_and_all_alike_often() -> None:
    draws = np.concatenate(list(resampled(7, [0], 3000, block=1000)))
    assert draws.shape == (3000, 7)
    assert (draws.sum(axis=1) == 7).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(draws.var(axis=0), 6 / 7, atol=0.08)


def test_percentiles_are_the_middle_95_percent() -> None:
    assert percentiles(np.arange(1001.0)) == (pytest.approx(25), pytest.approx(975))
