"""Open-set identification against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.known_members import Sides
from facemae_cli.evaluation.leakage.open_set import identify
from facemae_cli.inference.embed import normalised


def unit(rows: np.ndarray) -> np.ndarray:
    return normalised(np.asarray(rows, np.float32))[0]


@pytest.mark.parametrize("photo", ["other", "same"])
@pytest.mark.parametrize("k", [1, 2])
def test_rates_are_those_of_plain_loops(photo: str, k: int) -> None:
    whose = np.repeat(np.arange(40), 3)
    faces = unit(faces_of(whose, 8, 0.5, 0))
    real, others, people = faces[:60], faces[60:], whose[:60]
    random = np.random.default_rng(1)
    released = unit(real + 0.2 * random.normal(size=real.shape))
    got = identify(
        Sides(real, released, people, people, np.arange(60)), others, k, attacker="a", photo=photo, fpirs=(0.1, 0.01)
    )

    def score(one: np.ndarray, other: np.ndarray) -> float:
        return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))

    highest = sorted(max(score(face, made) for made in released) for face in others)
    bar = highest[-1 - 6]  # floor(0.1 x 60) searches exceed it
    missed, missed_at = 0, 0
    for at in range(60):
        kept = [row for row in range(60) if photo == "same" or row != at]
        near = sorted(kept, key=lambda row: -score(real[at], released[row]))[:k]
        own = [score(real[at], released[row]) for row in near if people[row] == people[at]]
        missed += not own
        missed_at += not own or max(own) <= bar
    assert got.fnir == pytest.approx(missed / 60, abs=1e-9)
    assert got.fnir_at_fpir[0.1] == pytest.approx(missed_at / 60, abs=1e-9)
    assert (got.fnir_at_fpir[0.01], got.intervals[0.01]) == (None, None)
    assert got.notes == ("FNIR at FPIR 0.01 needs 100 photos of people not in it; there are 60",)
    assert (got.identities, got.searches, got.others) == (20, 60, 60)
    low, high = got.interval
    assert low <= got.fnir <= high
    assert got.as_json()["fnir_at_fpir"] == {"0.1": got.fnir_at_fpir[0.1], "0.01": None}


def test_sides_without_faces() -> None:
    some, nobody = np.eye(3, dtype=np.float32), np.zeros((0, 3), np.float32)
    sides = Sides(some, some, np.arange(3), np.arange(3), np.arange(3))
    with pytest.raises(InputError, match="3 photos of people in the release and 0 of others"):
        identify(sides, nobody, 1, attacker="a", photo="same")
    with pytest.raises(InputError, match="none of 3 query photos has another face"):
        identify(sides, some, 1, attacker="a", photo="other")
