"""Ranks against a plain loop over all pairs, with ties wherever they can hurt."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from facemae_cli.evaluation import retrieval
from facemae_cli.evaluation.leakage import ranks
from facemae_cli.evaluation.leakage.ranks import Ranks, concatenate_ranks, find_genuine_matches, rank_queries

TIE = 1e-6


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def by_looping(queries, gallery, query_people, gallery_people, k, exclude) -> list[tuple[int, ...]]:
    """(above, tied, own, gallery, mates) of each query."""
    rows = []
    for number, query in enumerate(queries):
        out = () if exclude is None else np.atleast_1d(exclude[number])
        left = [row for row in range(len(gallery)) if row not in out]
        scores = [sum(float(a) * float(b) for a, b in zip(query, gallery[row], strict=True)) for row in left]
        his = [query_people[number] in np.atleast_1d(gallery_people[row]) for row in left]
        best = max((score for score, own in zip(scores, his, strict=True) if own), default=np.inf)
        above = sum(score > best + TIE for score in scores)
        group = [own for score, own in zip(scores, his, strict=True) if abs(score - best) <= TIE]
        if not any(his) or above >= k:
            rows.append((k, 0, 0, len(left), sum(his)))
        else:
            rows.append((above, len(group), sum(group), len(left), sum(his)))
    return rows


def counts(result: Ranks) -> list[tuple[int, ...]]:
    columns = (result.above, result.tied, result.own, result.gallery, result.genuine)
    return list(zip(*(column.tolist() for column in columns), strict=True))


class Case:
    """Queries and gallery of few distinct directions, so that many scores are tied, and of people on one side only."""

    def __init__(self, seed: int, tied: bool) -> None:
        random = np.random.default_rng(seed)
        reconstruct = (
            (lambda n: random.integers([-1, -1, -1, 1], [2, 2, 2, 4], (n, 4)))
            if tied
            else lambda n: random.normal(size=(n, 8))
        )
        self.gallery, self.queries = unit(reconstruct(60)), unit(reconstruct(35))
        self.gallery_people = random.integers(0, 12, 60)
        self.query_people = random.integers(2, 15, 35)
        self.gallery_people[:3] = [100, 101, 102]  # people of one photo
        self.query_people[:4] = [100, 101, 102, 103]
        self.exclude = random.integers(-1, 60, 35)
        self.exclude[:2] = [0, -1]  # the only photo of person 100

    def attack(self):
        return self.queries, self.gallery, self.query_people, self.gallery_people

    def of_several(self) -> Case:
        """The same where a face shows up to three people, none of them twice, and up to two faces are left out."""
        random = np.random.default_rng(7)
        more = np.stack([random.permutation([-1, -1, *range(15)])[:2] for _ in range(60)])
        more[more == self.gallery_people[:, None]] = -1
        self.gallery_people = np.concatenate([self.gallery_people[:, None], more], axis=1)
        second = random.integers(-1, 60, 35)
        self.exclude = np.stack([self.exclude, np.where(second == self.exclude, -1, second)], axis=1)
        return self


@pytest.mark.parametrize("k", [1, 3, 60])
@pytest.mark.parametrize("tied", [False, True])
def test_standings_among_faces_of_several_people_are_those_of_a_plain_loop(tied, k, monkeypatch) -> None:
    case = Case(int(tied), tied).of_several()
    for module, name, size in ((retrieval, "QUERIES", 9), (ranks, "ROWS", 4), (ranks, "COLUMNS", 7)):
        monkeypatch.setattr(module, name, size)
    found = rank_queries(*case.attack(), k, exclude=case.exclude)
    assert counts(found) == by_looping(*case.attack(), k, case.exclude)
    assert (found.genuine > 5).any()


@pytest.mark.parametrize("k", [1, 3, 60, 80])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("backend", ["faiss", "torch"])
@pytest.mark.parametrize("tied", [False, True])
def test_standings_are_those_of_a_plain_loop(tied, backend, excluding, k, monkeypatch) -> None:
    case = Case(int(tied), tied)
    exclude = case.exclude if excluding else None
    for module, name, size in (
        (retrieval, "QUERIES", 9),
        (retrieval, "GALLERY", 25),
        (ranks, "ROWS", 4),
        (ranks, "COLUMNS", 7),
    ):
        monkeypatch.setattr(module, name, size)
    found = rank_queries(*case.attack(), k, exclude=exclude, backend=backend)
    assert counts(found) == by_looping(*case.attack(), k, exclude)


@pytest.mark.parametrize("seed", range(20))
def test_standings_hold_for_many_draws(seed) -> None:
    case = Case(seed, tied=True)
    found = rank_queries(*case.attack(), 2, exclude=case.exclude)
    assert counts(found) == by_looping(*case.attack(), 2, case.exclude)


def test_ties_that_reach_over_a_lists_end_are_counted_in_the_whole_gallery(monkeypatch) -> None:
    counted = []
    count = ranks._count
    monkeypatch.setattr(ranks, "_count", lambda *args: counted.extend(args[1]) or count(*args))
    gallery = np.repeat(np.eye(3, dtype=np.float32), 30, axis=0)
    queries = unit(np.array([[2, 1, 0], [0, 2, 1], [1, 0, 2]], float))
    found = rank_queries(queries, gallery, np.array([1, 1, 7]), np.arange(90) // 10, 2)
    # Person 1 is 10 of the 30 faces on the first axis: tied with 20 others, all above the rest. For the second query
    # these are the farthest: both lists of 30 stand above. Person 7 is 10 of the 30 nearest to the third query.
    assert counts(found) == [(0, 30, 10, 90, 10), (2, 0, 0, 90, 10), (0, 30, 10, 90, 10)]
    assert counted == [0, 2]


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_backend_that_rounds_as_badly_as_fp32_may_gives_the_same_standings(seed, k, monkeypatch) -> None:
    """Its lists then hold the wrong ones of faces that are a few millionths apart."""
    random = np.random.default_rng(seed)

    def rough(queries, gallery, width, device):
        scores = queries.astype(np.float64) @ gallery.astype(np.float64).T
        scores += random.uniform(-1, 1, scores.shape) * 0.99 * retrieval.rounding(8)
        rows = np.argsort(-scores, axis=1)[:, :width]
        return np.take_along_axis(scores, rows, axis=1), rows

    monkeypatch.setattr(retrieval, "_faiss", rough)
    monkeypatch.setattr(retrieval, "MARGIN", 1)
    queries, base = unit(random.normal(size=(40, 8))), random.normal(size=(3, 8))
    gallery = unit(base[random.integers(0, 3, 80)] + 4e-6 * random.normal(size=(80, 8)))
    attack = queries, gallery, random.integers(0, 20, 40), random.integers(0, 20, 80)
    assert counts(rank_queries(*attack, k)) == by_looping(*attack, k, None)


def test_scores_a_millionth_apart_are_tied_and_two_are_not() -> None:
    angle = lambda score: [score, (1 - score**2) ** 0.5]  # noqa: E731
    gallery = np.array([angle(0.5), angle(0.5 + 0.8e-6), angle(0.5 - 0.8e-6), angle(0.5 + 2e-6), angle(0.5 - 2e-6)])
    found = rank_queries(
        np.array([[1, 0]], np.float32), gallery.astype(np.float32), np.array([0]), np.array([0, 1, 0, 1, 0]), 3
    )
    assert counts(found) == [(1, 3, 2, 5, 3)]


def test_mates_are_found_by_a_plain_loop() -> None:
    case = Case(3, tied=False)
    genuine = find_genuine_matches(*case.attack(), exclude=case.exclude)
    for number, query in enumerate(case.queries):
        own = [
            (float(query.astype(np.float64) @ face.astype(np.float64)), row)
            for row, face in enumerate(case.gallery)
            if case.gallery_people[row] == case.query_people[number] and row != case.exclude[number]
        ]
        score, row = max(own, default=(-np.inf, -1))
        assert (genuine.count[number], genuine.row[number]) == (len(own), row)
        assert genuine.best[number] == pytest.approx(score, abs=1e-15)


def test_shares_of_the_queries_join_to_the_whole() -> None:
    case = Case(4, tied=True)
    whole = rank_queries(*case.attack(), 3, exclude=case.exclude)
    parts = [
        rank_queries(
            case.queries[p], case.gallery, case.query_people[p], case.gallery_people, 3, exclude=case.exclude[p]
        )
        for p in (slice(0, 11), slice(11, 11), slice(11, 35))
    ]
    joined = concatenate_ranks(parts)
    assert len(joined) == len(whole) == 35
    for item in fields(Ranks):
        np.testing.assert_allclose(getattr(joined, item.name), getattr(whole, item.name), atol=1e-15)


def test_people_must_be_as_many_as_faces() -> None:
    case = Case(5, tied=False)
    with pytest.raises(ValueError, match="needs its person"):
        rank_queries(case.queries, case.gallery, case.query_people[1:], case.gallery_people, 1)
    with pytest.raises(ValueError, match="needs its person"):
        rank_queries(case.queries, case.gallery, case.query_people, case.gallery_people[1:], 1)
