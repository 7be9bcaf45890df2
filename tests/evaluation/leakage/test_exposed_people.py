"""The people whose released faces are nearest to real ones of theirs, worst first."""

from __future__ import annotations

import numpy as np
from helpers.audits import named, people_and_photos, seen
from helpers.sources import MemorySource

from facemae_cli.evaluation.leakage.exposed_people import LISTED, exposed, nearest_of_own, triplets
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.matching import Matching, match_names


class Case:
    """People a, b, c of two photos each, in a plane by angle; c's are far from all when released; d is not."""

    def __init__(self) -> None:
        self.original = named("a/1", "a/2", "b/1", "b/2", "c/1", "c/2", "d/1")
        self.released = named("c/2", "a/2", "b/1", "a/1", "b/2", "c/1")
        self.matching = match_names(self.original, self.released, None)
        self.real = [0, 10, 50, 60, 100, 110, 200]
        self.made = [300, 13, 85, 40, 61, 280]
        self.sets = FeatureSets("x", *(seen(self.around(side)) for side in (self.real, self.made)))

    @staticmethod
    def around(angles: list[int]) -> np.ndarray:
        turned = np.deg2rad(angles)
        return np.stack([np.cos(turned), np.sin(turned)], axis=1)


def listed(case: Case, k: int = 1) -> list:
    ranked = measure(case.sets, case.matching, Plan(ks=(k,), resamples=20)).ranked
    return exposed(case.sets, case.matching, case.released, ranked, k)


def test_one_entry_a_person_worst_first() -> None:
    found = listed(Case())
    assert [(each.identity, each.released_photo, each.same_photo) for each in found] == [
        ("b", "2", True), ("a", "2", True), ("c", "2", False),
    ]  # fmt: skip
    np.testing.assert_allclose([each.similarity for each in found], np.cos(np.deg2rad([1, 3, 160])), atol=1e-6)
    assert [(each.real, each.released) for each in found] == [(3, 4), (1, 1), (4, 0)]


def test_photos_that_find_the_person_by_other_photos_are_counted() -> None:
    case = Case()
    by = {each.identity: (each.photos, each.found) for each in listed(case)}
    # a/1 at 0 without its own at 40: nearest is a/2 at 13. a/2 at 10 without 13: a/1 at 40 beats 61, 85, 300, 280.
    # b/1 at 50 without 85: nearest is a/1 at 40. b/2 at 60 without 61: a/1 at 40 again. c's are far from all.
    assert by == {"a": (2, 2), "b": (2, 0), "c": (2, 0)}


def test_the_list_is_short() -> None:
    faces = people_and_photos(LISTED + 3, 2)
    rows = np.random.default_rng(0).normal(size=(len(faces), 8))
    matching = match_names(named(*faces), named(*faces), None)
    sets = FeatureSets("x", seen(rows), seen(rows))
    assert len(exposed(sets, matching, named(*faces), None, 2)) == LISTED


def test_the_nearest_face_is_one_of_the_person_s_own() -> None:
    case = Case()
    case.sets = FeatureSets("x", seen(case.around(case.real) * (np.arange(7) != 3)[:, None]), case.sets.released)
    nearest = nearest_of_own(case.sets, case.matching)
    assert nearest.row.tolist() == [1, 1, 4, -1, 0, 5, -1]
    assert nearest.count.tolist() == [2, 2, 2, 0, 2, 2, 0]


def test_triplets_hold_the_faces_of_the_exposed() -> None:
    case = Case()
    made = triplets(listed(case), case.matching, case.original, case.released)
    assert [(each.identity, each.real, each.own, each.nearest) for each in made] == [
        ("b", b"b/2", b"b/2", b"b/2"), ("a", b"a/2", b"a/2", b"a/2"), ("c", b"c/1", b"c/1", b"c/2"),
    ]  # fmt: skip


def test_nobody_is_exposed_where_nobody_joins() -> None:
    original, released = MemorySource([("a", "1", b"")]), MemorySource([("b", "1", b"")])
    matching: Matching = match_names(original, released, None)
    sets = FeatureSets("x", seen(np.eye(2)[:1]), seen(np.eye(2)[1:]))
    assert exposed(sets, matching, released, None, 2) == []
