"""The control against plain loops, and what it says of releases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.audits import faces_of, rate_by_looping

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.control import Control, attack_control, interval_above_control
from facemae_cli.evaluation.leakage.known_members import Sides
from facemae_cli.inference.embed import normalised


def unit(rows: np.ndarray) -> np.ndarray:
    return normalised(np.asarray(rows, np.float32))[0]


def audit(
    released: np.ndarray | None = None, photo: str = "other", k: int = 2, people: int = 15, outside: int = 9
) -> tuple[Control, tuple[np.ndarray, ...]]:
    """A control over three photos a person, of which the release holds all; `outside` people ask from without."""
    whose = np.repeat(np.arange(people + outside), 3)
    faces = unit(faces_of(whose, 8, 0.6, seed=2))
    inside = whose < people
    real, others = faces[inside], faces[~inside]
    random = np.random.default_rng(3)
    made = unit(real + 0.25 * random.normal(size=real.shape)) if released is None else released
    arrays = real, whose[inside], np.arange(len(real)), made, whose[inside], others, whose[~inside]
    sides = Sides(real, made, whose[inside], whose[inside], np.arange(len(real)))
    return attack_control(sides, *arrays[5:], k, attacker="a", photo=photo, given=True), arrays


@pytest.mark.parametrize("photo", ["other", "same"])
@pytest.mark.parametrize("k", [1, 3])
def test_both_rates_are_those_of_plain_loops(photo: str, k: int) -> None:
    found, (real, people, same, made, whose, others, outside) = audit(photo=photo, k=k)
    gallery = [(int(person), face) for person, face in zip(whose, made, strict=True)]
    asking = [
        (int(person), face, int(own) if photo == "other" else -1)
        for person, face, own in zip(people, real, same, strict=True)
    ]
    strangers = []
    for face in others:
        likeness = [sum(float(a) * float(b) for a, b in zip(face, own, strict=True)) for own in real]
        likest = likeness.index(max(likeness))
        strangers.append((int(people[likest]), face, int(same[likest])))
    for got, queries in ((found.attack, asking), (found.control, strangers)):
        risk, chance, asked, _ = rate_by_looping(queries, gallery, k)
        assert (got.risk, got.chance, got.queries) == (
            pytest.approx(risk, abs=1e-9),
            pytest.approx(chance, abs=1e-9),
            asked,
        )
    assert found.control.people == len(set(outside.tolist()))
    expected = (found.attack.risk - found.control.risk) / (1 - found.control.risk)
    assert found.due_to_release == pytest.approx(expected, abs=1e-9)
    low, high = found.interval or (0, 0)
    assert low < expected < high


def test_a_release_of_anybody_s_faces_is_found_as_little_by_members_as_by_others() -> None:
    random = np.random.default_rng(4)
    found, _ = audit(unit(random.normal(size=(180, 8))), people=60, outside=60)
    low, high = found.interval or (1, 1)
    assert low < 0 < high
    assert found.control.interval[0] <= found.control.chance <= found.control.interval[1]


@pytest.mark.parametrize("photo", ["other", "same"])
def test_of_the_originals_themselves_most_is_due_to_the_release(photo: str) -> None:
    found, (real, *_) = audit(photo=photo, people=60, outside=60)
    kept, _ = audit(real, photo=photo, people=60, outside=60)
    assert kept.attack.risk > 0.5
    assert (kept.interval or (0, 0))[0] > 0.2
    assert (kept.due_to_release or 0) > (found.due_to_release or 1)


def test_ends_of_the_interval() -> None:
    assert interval_above_control(0.3, (0.2, 0.4), 1.0, (0.9, 1.0)) is None
    low, high = interval_above_control(0.3, (0.2, 0.4), 0.1, (0.1, 0.1)) or (
        0,
        0,
    )  # the control is known: the attack's ends
    assert (low, high) == (pytest.approx((0.2 - 0.1) / 0.9), pytest.approx((0.4 - 0.1) / 0.9))
    low, high = interval_above_control(0.0, (0.0, 0.1), 0.0, (0.0, 0.2)) or (0, 0)
    assert (low, high) == (pytest.approx(1 - 1 / 0.8), pytest.approx(0.1))
    low, high = interval_above_control(1.0, (0.9, 1.0), 0.2, (0.1, 0.3)) or (0, 0)
    assert (low, high) == (pytest.approx(1 - 0.1 / 0.7), 1.0)
    assert interval_above_control(0.5, (0.0, 1.0), 0.5, (0.0, 1.0)) == (-math.inf, 1.0)


def test_sides_without_faces() -> None:
    none = np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    faces = np.eye(3, dtype=np.float32)

    def sides(same_photo: np.ndarray) -> Sides:
        return Sides(faces, faces, np.arange(3), np.arange(3), same_photo)

    with pytest.raises(InputError, match="there are 3 in and 0 not in"):
        attack_control(sides(np.arange(3)), *none, 1, attacker="a", photo="same", given=True)
    with pytest.raises(InputError, match="there are 0 in and 3 not in"):
        attack_control(sides(np.full(3, -1)), faces, np.arange(7, 10), 1, attacker="a", photo="same", given=True)
