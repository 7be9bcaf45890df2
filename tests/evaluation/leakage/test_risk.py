"""Leakage rates against plain loops, enumeration of all tie breaks, and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.ranks import Ranks, rank_queries
from facemae_cli.evaluation.leakage.risk import above_chance, chance, hit_chance, hits, interval_above_chance, risk


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def standing(above: int, tied: int, own: int, gallery: int = 100, k: int = 10, genuine: int | None = None) -> Ranks:
    one = [np.array([value]) for value in (above, tied, own, gallery, own if genuine is None else genuine)]
    return Ranks(k, *one, np.array([0.5]), np.array([0]))


def by_breaking_ties(above: int, tied: int, own: int, k: int) -> Fraction:
    """The share of all ways to choose who of the tied fill the places that are left in which one is the person."""
    places = min(max(k - above, 0), tied)
    ways = list(combinations(range(tied), places))
    return Fraction(sum(any(one < own for one in way) for way in ways), len(ways))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8])
def test_hits_are_the_share_of_tie_breaks_that_hit(k) -> None:
    for above in range(7):
        for tied in range(1, 7):
            for own in range(1, tied + 1):
                expected = float(by_breaking_ties(above, tied, own, k))
                assert hits(standing(min(above, 10), tied, own), k)[0] == pytest.approx(expected, abs=1e-15)


def test_the_tie_rule_by_hand() -> None:
    assert hits(standing(2, 0, 0, k=2), 2)[0] == 0
    assert hits(standing(0, 2, 1), 2)[0] == 1
    assert hits(standing(1, 4, 1), 2)[0] == pytest.approx(1 / 4)
    assert hits(standing(1, 4, 2), 3)[0] == pytest.approx(1 - comb(2, 2) / comb(4, 2))


@pytest.mark.parametrize(
    ("gallery", "genuine", "k"),
    [(10, 3, 2), (5, 2, 4), (5, 5, 1), (3, 1, 7), (42_000_000, 47, 4), (42_000_000, 1, 100)],
)
def test_chance_is_exact(gallery, genuine, k) -> None:
    exact = 1 - Fraction(comb(gallery - genuine, k), comb(gallery, k) or 1)
    assert chance(standing(0, 1, 1, gallery, 100, genuine), k)[0] == pytest.approx(float(exact), rel=1e-12, abs=0)


def test_drawn_goes_over_rows_of_their_own() -> None:
    total, own, places = np.array([4, 4, 4, 0, 6]), np.array([1, 0, 4, 0, 2]), np.array([2, 3, 1, 5, 0])
    np.testing.assert_allclose(hit_chance(total, own, places), [0.5, 0, 1, 0, 0], atol=1e-15)


def test_k_is_one_the_search_was_made_for() -> None:
    for k in (0, 11):
        with pytest.raises(ValueError, match=f"k is 1 to 10, for which the search was made, not {k}"):
            hits(standing(0, 1, 1), k)


def rate_by_looping(queries, gallery, query_people, gallery_people, k, exclude):
    """Eq. 3 as it reads: sort, take the K nearest, look for the person; ties averaged over all their orders."""
    rates, chances, left_out = [], [], 0
    for number, query in enumerate(queries):
        left = [row for row in range(len(gallery)) if row != exclude[number]]
        his = [row for row in left if gallery_people[row] == query_people[number]]
        if not his:
            left_out += 1
            continue
        score = {row: sum(float(a) * float(b) for a, b in zip(query, gallery[row], strict=True)) for row in left}
        best = max(score[row] for row in his)
        above = sum(score[row] > best + 1e-6 for row in left)
        tied = [row for row in left if abs(score[row] - best) <= 1e-6]
        rates.append(by_breaking_ties(above, len(tied), sum(row in his for row in tied), k))
        chances.append(
            1 - Fraction(comb(len(left) - len(his), k), comb(len(left), k)) if k <= len(left) else Fraction(1)
        )
    return float(sum(rates) / len(rates)), float(sum(chances) / len(chances)), left_out, len(rates)


@pytest.mark.parametrize("k", [1, 2, 4, 40])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_a_plain_loop(seed, k) -> None:
    random = np.random.default_rng(seed)
    gallery, queries = (unit(random.integers([-1, -1, -1, 1], [2, 2, 2, 4], (n, 4))) for n in (25, 40))
    gallery_people, query_people = random.integers(0, 6, 25), random.integers(2, 9, 40)
    exclude = random.integers(-1, 25, 40)
    ranks = rank_queries(queries, gallery, query_people, gallery_people, k, exclude=exclude)
    found = risk(ranks, query_people, k)
    rate, by_chance, left_out, counted = rate_by_looping(queries, gallery, query_people, gallery_people, k, exclude)
    assert (found.risk, found.chance) == (pytest.approx(rate, abs=1e-14), pytest.approx(by_chance, abs=1e-14))
    assert (found.left_out, found.queries) == (left_out, counted)
    assert left_out > 0
    assert found.interval[0] <= found.risk <= found.interval[1]
    assert found.relative == (None if by_chance == 1 else pytest.approx((rate - by_chance) / (1 - by_chance)))


def test_constant_embeddings_give_chance() -> None:
    faces, people = unit(np.ones((90, 8))), np.arange(90) // 3
    found = risk(rank_queries(faces, faces, people, people, 4, exclude=np.arange(90)), people, 2)
    assert found.risk == pytest.approx(1 - comb(87, 2) / comb(89, 2), rel=1e-12)
    assert found.chance == pytest.approx(found.risk, rel=1e-12)
    assert found.relative == pytest.approx(0, abs=1e-12)


def test_random_embeddings_have_chance_in_their_interval() -> None:
    random = np.random.default_rng(0)
    people, inside = np.arange(400) // 4, 0
    for _ in range(50):
        faces = unit(random.normal(size=(400, 16)))
        found = risk(rank_queries(faces, faces, people, people, 4, exclude=np.arange(400)), people, 4)
        inside += found.interval[0] <= found.chance <= found.interval[1]
    assert inside >= 46


def test_everybody_found_is_certain_and_its_interval_ends_at_one() -> None:
    faces, people = np.eye(8, dtype=np.float32), np.arange(8)
    found = risk(rank_queries(faces, faces, people, people, 1), people, 1)
    assert (found.risk, found.interval[1], found.people, found.leaking) == (1, 1, 8, 8)
    assert found.relative == 1


def test_nobody_there_is_refused() -> None:
    faces, people = np.eye(8, dtype=np.float32), np.arange(8)
    with pytest.raises(InputError, match="none of 8 query photos has another face of its person in the gallery"):
        risk(rank_queries(faces, faces, people, people, 1, exclude=people), people, 1)


def test_json_has_people_and_photos_side_by_side() -> None:
    faces = unit(np.random.default_rng(1).normal(size=(30, 8)))
    people = np.append(np.arange(29) // 2, 99)
    found = risk(rank_queries(faces, faces, people, people, 3, exclude=np.arange(30)), people, 3).as_json()
    assert found["k"] == 3
    assert (found["queries"], found["queries_left_out"], found["identities"]) == (28, 2, 14)
    assert found["interval"][0] <= found["risk"] <= found["interval"][1]
    low = (found["interval"][0] - found["chance"]) / (1 - found["chance"])
    assert found["relative_interval"][0] == pytest.approx(low)
    assert 0 <= found["identities_leaking"] <= 14
    assert found["queries_effective"] <= 28


def test_a_rate_above_chance() -> None:
    assert above_chance(0.4, 0.1) == pytest.approx(1 / 3)
    assert above_chance(0.1, 0.4) == pytest.approx(-0.5)
    assert interval_above_chance((0.1, 0.4), 0.1) == pytest.approx((0, 1 / 3))
    assert (above_chance(1.0, 1.0), interval_above_chance((0.5, 1.0), 1.0)) == (None, None)
