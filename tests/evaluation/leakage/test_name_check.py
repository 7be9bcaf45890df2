"""Names are believed unless pictures that stand out bear another person's."""

from __future__ import annotations

import numpy as np
from helpers.audits import scan
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation.leakage.matching import join
from facemae_cli.evaluation.leakage.name_check import FEWEST, NameCheck, check_names

COUNT = FEWEST + 4
PEOPLE = [f"p{at}" for at in range(COUNT)]


def check(released: list[tuple[str, np.ndarray]]) -> NameCheck:
    original = MemorySource([(person, "1", encode_png(smooth_face(at))) for at, person in enumerate(PEOPLE)])
    made = MemorySource([(person, "1", encode_png(face)) for person, face in released])
    matching = join(original, made, None)
    return check_names(scan(original), scan(made), matching)


def noisy(at: int, strength: float = 20.0) -> np.ndarray:
    noise = np.random.default_rng(at).normal(0, strength, (112, 112, 3))
    return np.clip(smooth_face(at) + noise, 0, 255).astype(np.uint8)


def test_right_names_are_believed() -> None:
    found = check([(person, noisy(at)) for at, person in enumerate(PEOPLE)])
    assert (found.stand_out, found.another, found.misnamed) == (COUNT, 0, False)


def test_shuffled_names_are_not() -> None:
    found = check([(PEOPLE[at - 3], noisy(at)) for at in range(COUNT)])
    assert (found.stand_out, found.another, found.misnamed) == (COUNT, COUNT, True)
    assert f"of {COUNT} photos whose picture stands out in the release {COUNT} are there" in str(found)


def test_a_release_that_shows_nobody_tells_nothing_of_names() -> None:
    grey = check([(person, np.full((112, 112, 3), 128, np.uint8)) for person in PEOPLE])
    assert (grey.stand_out, grey.misnamed) == (0, False)
    assert check([(PEOPLE[0], noisy(0))]) == NameCheck(1, 0, 0)
