"""Photos are probed under transforms, and ask in the way that looks most like the release."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import named, people_and_photos, seen

from facemae_cli.evaluation.leakage.matching import match_names
from facemae_cli.evaluation.leakage.see_through import PROBED, Probe, best_way, probe
from facemae_cli.evaluation.leakage.transforms import TRANSFORMS
from facemae_cli.inference.embed import Embeddings

FACES = people_and_photos(40, 2)
MATCHING = match_names(named(*FACES), named(*FACES), None)
REAL = np.random.default_rng(0).normal(size=(80, 16))
OTHER = {name: np.random.default_rng(at + 1).normal(size=(80, 16)) for at, name in enumerate(TRANSFORMS)}


def see(transform: str | None, faces: np.ndarray) -> Embeddings:
    """Under every transform a face looks like another one altogether."""
    return seen((REAL if transform is None else OTHER[transform])[faces])


def test_what_was_done_to_the_release_is_found() -> None:
    assert probe(see, seen(REAL), MATCHING, 0, "cpu").worth_it == []
    turned = probe(see, seen(OTHER["turned left"]), MATCHING, 0, "cpu")
    assert turned.worth_it == ["turned left"]
    assert turned.photos == PROBED
    assert turned.only_under["turned left"] == 1 - turned.found
    half = np.where((np.arange(80) % 2 == 0)[:, None], REAL, OTHER["inverted"])
    assert probe(see, seen(half), MATCHING, 0, "cpu").worth_it == ["inverted"]


def test_a_release_was_changed_so_where_more_people_are_found_than_lost() -> None:
    turned = probe(see, seen(OTHER["turned left"]), MATCHING, 0, "cpu")
    assert turned.finds_more == ["turned left"]
    half = probe(see, seen(np.where((np.arange(80) % 2 == 0)[:, None], REAL, OTHER["inverted"])), MATCHING, 0, "cpu")
    assert half.worth_it == ["inverted"]
    assert half.lost_under["inverted"] == pytest.approx(half.only_under["inverted"], abs=0.2)
    assert half.finds_more == []


@pytest.mark.parametrize(("only", "lost", "more"), [(16, 0, True), (16, 10, False), (24, 6, True), (10, 24, False)])
def test_more_is_more_than_luck(only: int, lost: int, more: bool) -> None:
    """Of 64, 24 - 6 is 3.6 standard errors, 16 - 10 is 1.2."""
    found = Probe(64, 0.5, {"a": only / 64}, 0.05, {"a": lost / 64})
    assert (found.worth_it, found.finds_more) == (["a"], ["a"] if more else [])


def test_luck_is_not_worth_it_and_few_faces_need_more() -> None:
    assert Probe(64, 0.0, {"a": 0.15, "b": 0.2}, 0.05).worth_it == ["b"]  # 0.05 + 0.05 + 3 * 0.0280
    assert Probe(64, 0.5, {"a": 0.15, "b": 0.2}, 0.05).worth_it == ["a", "b"]
    random = np.random.default_rng(99).normal(size=(80, 16))
    assert probe(see, seen(random), MATCHING, 0, "cpu").worth_it == []


def test_chance_is_that_of_people_among_the_released_faces() -> None:
    found = probe(see, seen(REAL), MATCHING, 0, "cpu")
    assert found.luck == pytest.approx(2 * 2 / 80)
    nobody = match_names(named("a/1"), named("b/1"), None)
    assert probe(see, seen(REAL[:1]), nobody, 0, "cpu") == Probe(0, 0.0, {}, 0.0)


def test_each_face_asks_in_its_best_way() -> None:
    gallery = seen(np.eye(4))
    first = seen(np.array([[1, 0.1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]))
    second = seen(np.array([[1, 1, 0, 0], [0, 0, 1, 0.2], [0, 1, 0, 0]]))
    made = best_way([first, second], gallery, "cpu")
    assert made.valid.tolist() == [True, True, True]
    np.testing.assert_array_equal(made.features, np.stack([first.features[0], *second.features[1:]]))
