"""Names are believed unless pictures that stand out bear another person's."""

from __future__ import annotations

import numpy as np
from helpers.audits import scan
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation.leakage.matching import match_names
from facemae_cli.evaluation.leakage.name_check import FEWEST, NameCheck, check_names

COUNT = FEWEST + 4
PEOPLE = [f"p{at}" for at in range(COUNT)]


def check(released: list[tuple[str, np.ndarray]]) -> NameCheck:
    original = MemorySource([(person, "1", encode_png(smooth_face(at))) for at, person in enumerate(PEOPLE)])
    made = MemorySource([(person, "1", encode_png(face)) for person, face in released])
    matching = match_names(original, made, None)
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


def test_people_under_several_names_are_not_believed_either() -> None:
    for names in (2, 4):
        made = [
            (f"{person}{again}", noisy(at)) for at, person in enumerate(PEOPLE) for again in ["", "b", "c", "d"][:names]
        ]
        found = check(made)
        assert (found.stand_out, found.another, found.misnamed) == (COUNT, COUNT, True)


def test_two_names_exchanged_among_many_are_said() -> None:
    exchanged = [PEOPLE[1], PEOPLE[0], *PEOPLE[2:]]
    found = check([(person, noisy(at)) for at, person in enumerate(exchanged)])
    assert (found.stand_out, found.another, found.misnamed) == (COUNT, 2, True)
    many = NameCheck(200, 190, 2)
    assert not many.misnamed
    assert many.lines() == [
        "of 190 photos whose picture stands out in the release 2 are there under another person's name, and the rates "
        "miss them"
    ]
    assert NameCheck(200, 190, 0).lines() == found.lines() == []


def test_photos_that_are_not_in_the_release_are_not_looked_for() -> None:
    """The first people's photo was not released, but another one of theirs, and somebody's picture is like it."""
    original = MemorySource(
        [(person, "1", encode_png(smooth_face(at))) for at, person in enumerate(PEOPLE)]
        + [(PEOPLE[0], "2", encode_png(noisy(3, 5.0)))]
    )
    made = MemorySource([(person, "1", encode_png(noisy(at))) for at, person in enumerate(PEOPLE)])
    found = check_names(*map(scan, (original, made)), match_names(original, made, None))
    assert (found.photos, found.stand_out, found.another) == (COUNT, COUNT, 0)
