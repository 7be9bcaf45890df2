"""Membership against plain loops over all photos and released faces."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, named, people_and_photos, seen

from facemae_cli.evaluation.leakage import membership_attack as module
from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.matching import Matching, match_names
from facemae_cli.evaluation.leakage.membership import averaged, membership
from facemae_cli.evaluation.leakage.membership_attack import SPLITS, half, membership_attack

PEOPLE, PHOTOS = 11, 3


@pytest.fixture
def matching() -> Matching:
    faces = [*people_and_photos(PEOPLE, PHOTOS), "single/1.jpg"]
    return match_names(named(*faces), named(*faces[::-1], "stranger/1.jpg"), None)


def sets(matching: Matching, noise: float, **more: object) -> FeatureSets:
    real = faces_of(matching.real, 6, 0.5, 0)
    released = np.zeros((len(matching.released), 6))
    released[matching.same_photo] = real + noise * np.random.default_rng(1).normal(size=real.shape)
    released[-1] = 1
    real[5] = 0
    return FeatureSets("a", seen(real), seen(released), **more)  # type: ignore[arg-type]


def by_looping(view: FeatureSets, matching: Matching, photo: str, gallery: list[int], people: list[int]) -> list[float]:
    """Each person's highest score, over photos that have another face of the person in the whole release."""
    scores = []
    for person in people:
        best = []
        for at in np.flatnonzero(matching.real == person).tolist():
            without = matching.same_photo[at] if photo == "other" else -1
            others = [face for face in np.flatnonzero(matching.released == person).tolist() if face != without]
            if view.real.valid[at] and any(view.released.valid[face] for face in others):
                best += [float(view.real.features[at] @ view.released.features[g]) for g in gallery if g != without]
        scores += [max(best)] if best else []
    return scores


@pytest.mark.parametrize("depth", [1, 4, 24])
@pytest.mark.parametrize("photo", ["other", "same"])
def test_half_of_the_people_are_left_out_of_the_release(
    matching: Matching, photo: str, depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEPTH", depth)
    view = sets(matching, 0.4)
    found, missing = membership_attack(view, matching, None, seed=3, resamples=30)
    assert missing == []
    told = next(each for each in found if each.photo == photo)
    assert not told.given
    expected = []
    for split in range(SPLITS):
        out = half(matching.both, 3, split).tolist()
        assert len(out) == 6
        inside = [person for person in matching.both.tolist() if person not in out]
        gallery = [
            at for at in range(len(matching.released)) if matching.released[at] not in out and view.released.valid[at]
        ]
        members, others = (by_looping(view, matching, photo, gallery, people) for people in (inside, out))
        assert len(members) + len(others) == PEOPLE + (photo == "same")
        expected.append(membership(members, others, seed=3, resamples=4))
    assert told.membership.auc == pytest.approx(np.mean([each.auc for each in expected]), abs=1e-9)
    assert told.membership.auc_interval == pytest.approx(averaged(expected).auc_interval)


def test_people_who_are_given_are_told_from_the_whole_release(matching: Matching) -> None:
    non_member_people = np.array([0, 0, 1, 2, 2, 2])
    rows = np.random.default_rng(5).normal(size=(6, 6))
    rows[2] = 0
    view = sets(matching, 0.3, non_members=seen(rows))
    found, _ = membership_attack(view, matching, non_member_people, resamples=30)
    told = next(each for each in found if each.photo == "other")
    gallery = list(range(len(matching.released)))
    members = by_looping(view, matching, "other", gallery, matching.both.tolist())
    others = [max(float(row @ face) for row in seen(rows).features[at] for face in view.released.features)
              for at in ([0, 1], [3, 4, 5])]  # fmt: skip
    assert told.given
    assert (told.membership.members, told.membership.non_members) == (PEOPLE, 2)
    assert told.membership.auc == pytest.approx(membership(members, others, resamples=5).auc)
    assert told.as_json()["non_members_are"] == "given"


def test_a_release_of_copies_is_told_at_once_and_noise_is_not(matching: Matching) -> None:
    copied, _ = membership_attack(sets(matching, 0), matching, None, resamples=30)
    assert {each.photo: each.membership.auc for each in copied}["same"] == 1
    noise, _ = membership_attack(sets(matching, 1e6), matching, None, resamples=30)
    assert all(0.1 < each.membership.auc < 0.9 for each in noise)


def test_halves_follow_the_seed() -> None:
    people = np.arange(40)
    assert half(people, 1).tolist() == half(people, 1).tolist() != half(people, 2).tolist()
    assert len(half(np.arange(7), 0)) == 3
    assert half(people, 1, 1).tolist() != half(people, 1).tolist() == half(people, 1, 0).tolist()


def test_without_people_on_both_sides_nothing_is_told() -> None:
    matching = match_names(named("a/1", "a/2"), named("b/1"), None)
    found, missing = membership_attack(FeatureSets("a", seen(np.eye(2)), seen(np.eye(2)[:1])), matching, None)
    assert found == []
    assert missing == ["membership, same photos, a: there are 0 photos to ask with and 1 faces to search"]
