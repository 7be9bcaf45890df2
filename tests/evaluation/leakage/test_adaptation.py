"""An attacker who learns sees through what was done to all faces alike."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import seen

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.adaptation import FEWEST, learn

DIM = 12


def drawn_anew(rows: np.ndarray, seed: int) -> np.ndarray:
    """What a drawing does to features: turns them, moves all to one side, and drowns half of the directions."""
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, DIM)))[0]
    noise = np.random.default_rng(seed).normal(size=rows.shape) * np.where(np.arange(DIM) < DIM // 2, 0.1, 3.0)
    return (rows * np.where(np.arange(DIM) < DIM // 2, 1.0, 0.3) + noise) @ turn + 4


def found(real: np.ndarray, reconstructed: np.ndarray) -> float:
    """How many real faces have their own drawn one for the nearest."""
    return float(np.mean((real @ reconstructed.T).argmax(axis=1) == np.arange(len(real))))


def test_real_and_drawn_faces_of_other_people_meet() -> None:
    random = np.random.default_rng(0)
    own, others = random.normal(size=(400, DIM)), random.normal(size=(150, DIM))
    learnt = learn(seen(own), seen(drawn_anew(own, 1)))
    real, reconstructed = seen(others), seen(drawn_anew(others, 2))
    before = found(real.features, reconstructed.features)
    after = found(learnt.of_real(real).features, learnt.of_reconstructed(reconstructed).features)
    assert before < 0.1
    assert after > 0.5
    assert (learnt.faces, learnt.dim) == (400, DIM)


def test_faces_without_a_feature_teach_nothing_and_stay_without() -> None:
    rows = np.random.default_rng(1).normal(size=(60, DIM))
    made = drawn_anew(rows, 1)
    with_gaps, gaps = rows.copy(), made.copy()
    with_gaps[3], gaps[7] = 0, 0
    learnt = learn(seen(with_gaps), seen(gaps))
    kept = [at for at in range(60) if at not in (3, 7)]
    again = learn(seen(rows[kept]), seen(made[kept]))
    assert learnt.faces == 58
    np.testing.assert_array_equal(learnt.reconstructed_map, again.reconstructed_map)
    mapped = learnt.of_real(seen(with_gaps))
    assert np.flatnonzero(~mapped.valid).tolist() == [3]
    np.testing.assert_allclose(np.linalg.norm(mapped.features[kept], axis=1), 1, atol=1e-6)


def test_fewer_faces_than_dimensions_do() -> None:
    rows = np.random.default_rng(2).normal(size=(FEWEST, 40))
    learnt = learn(seen(rows), seen(rows))
    assert learnt.dim == FEWEST - 1
    assert np.isfinite(learnt.of_reconstructed(seen(rows)).features).all()


def test_too_few_faces_teach_nothing() -> None:
    rows = np.eye(FEWEST)
    rows[0] = 0
    with pytest.raises(InputError, match="15 faces have a feature both real and drawn"):
        learn(seen(rows), seen(np.eye(FEWEST)))
