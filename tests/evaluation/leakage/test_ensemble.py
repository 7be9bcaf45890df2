"""The ensemble finds exactly what adding up z-scores finds, and needs nobody to be right."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, hit_by_looping, named, people_and_photos, seen

from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE, combine
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.matching import match_names

FACES = people_and_photos(7, 3)
PEOPLE = np.repeat(np.arange(7), 3)
WEIGHTS = (1.0, 0.5, 2.0)


def members() -> list[FeatureSets]:
    random = np.random.default_rng(0)
    sides = [(faces_of(PEOPLE, dim, 2.0, seed), dim) for seed, dim in enumerate((5, 9, 4))]
    return [FeatureSets(str(dim), seen(rows), seen(rows + random.normal(size=rows.shape))) for rows, dim in sides]


def z_scores(each: FeatureSets, real: bool = False) -> np.ndarray:
    """(n, m) by a plain loop over queries, from all gallery faces."""
    gallery = (each.real if real else each.released).features.astype(np.float64)
    rows = []
    for query in each.real.features.astype(np.float64):
        scores = np.array([sum(a * b for a, b in zip(query, face, strict=True)) for face in gallery])
        rows.append((scores - scores.mean()) / scores.std())
    return np.array(rows)


@pytest.mark.parametrize("real", [False, True])
def test_its_similarities_order_faces_as_sums_of_z_scores_do(real: bool) -> None:
    made = combine(members(), WEIGHTS)
    assert made.attacker == ENSEMBLE
    queries, gallery = made.among_real if real and made.among_real else (made.real, made.released)
    expected = sum(weight * z_scores(each, real) for weight, each in zip(WEIGHTS, members(), strict=True))
    found = queries.features.astype(np.float64) @ gallery.features.astype(np.float64).T
    for mine, theirs in zip(found, expected, strict=True):
        slope, shift = np.polyfit(theirs, mine, 1)
        assert slope > 0
        np.testing.assert_allclose(mine, slope * theirs + shift, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(gallery.features, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("k", [1, 2])
def test_its_rates_are_those_of_a_plain_loop_to_the_ninth_decimal(k: int) -> None:
    matching = match_names(named(*FACES), named(*FACES), None)
    findings = measure(combine(members(), WEIGHTS), matching, Plan(ks=(k,), resamples=20)).findings
    by = {(each.attack, each.photo): each.risk for each in findings}
    for attack, real in (("real_to_released", False), ("real_to_real", True)):
        scores = sum(weight * z_scores(each, real) for weight, each in zip(WEIGHTS, members(), strict=True))
        hits = []
        for at, row in enumerate(scores):
            gallery = [(str(PEOPLE[face]), np.array([row[face]])) for face in range(len(row)) if face != at]
            hits.append(hit_by_looping(np.ones(1), str(PEOPLE[at]), gallery, k)[0])
        assert by[attack, "other"] == pytest.approx(np.mean(hits), abs=1e-9)


def test_who_sees_all_alike_tells_nothing() -> None:
    first, second, _ = members()
    blind = FeatureSets("blind", seen(np.ones((21, 3))), seen(np.ones((21, 3))))
    made, without = combine([first, blind, second], [1.0, 5.0, 1.0]), combine([first, second], [1.0, 1.0])
    pairs = [each.real.features @ each.released.features.T for each in (made, without)]
    assert np.argsort(-pairs[0][0]).tolist() == np.argsort(-pairs[1][0]).tolist()
    assert not combine([blind], [1.0]).real.valid.any()


def test_a_face_that_a_member_does_not_see_scores_there_as_an_average_one() -> None:
    first, second, third = members()
    lost = (np.arange(21) % 4 == 1)[:, None]
    partly = FeatureSets("partly", seen(second.real.features * ~lost[::-1]), seen(second.released.features * ~lost))
    nothing = FeatureSets("nothing", *(seen(np.full((21, 3), np.nan)) for _ in range(2)))
    made = combine([first, partly, nothing, third], [1.0, 0.5, 1.0, 2.0])
    assert made.real.valid.all()
    assert made.released.valid.all()
    np.testing.assert_allclose(np.linalg.norm(made.released.features, axis=1), 1, atol=1e-6)
    expected = z_scores(first) + 2.0 * z_scores(third)
    for at, query in enumerate(partly.real.features.astype(np.float64)):
        if partly.real.valid[at]:
            scores = (partly.released.features.astype(np.float64) @ query)[~lost[:, 0]]
            expected[at, ~lost[:, 0]] += 0.5 * (scores - scores.mean()) / scores.std()
    found = made.real.features.astype(np.float64) @ made.released.features.astype(np.float64).T
    for mine, theirs in zip(found, expected, strict=True):
        slope, shift = np.polyfit(theirs, mine, 1)
        assert slope > 0
        np.testing.assert_allclose(mine, slope * theirs + shift, atol=1e-6)


def test_what_no_member_sees_is_not_there() -> None:
    first, second, _ = members()
    blank = (np.arange(21) != 4)[:, None]
    sides = [FeatureSets(each.attacker, seen(each.real.features * blank), each.released) for each in (first, second)]
    assert np.flatnonzero(~combine(sides, [1.0, 1.0]).real.valid).tolist() == [4]
