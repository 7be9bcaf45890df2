"""Whoever whitens thumbnails as the release spreads, against other solvers and plain loops."""

from __future__ import annotations

import numpy as np
from helpers.audits import seen
from scipy.linalg import inv, sqrtm

from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.whitened import RIDGE, whitening
from facemae_cli.inference.embed import Embeddings

DIM = 60


def faces(count: int, seed: int) -> np.ndarray:
    """What all share differs most: a few directions, far from zero, in which everybody's photos vary."""
    random = np.random.default_rng(seed)
    spread = np.where(np.arange(DIM) < 4, 4.0, 0.5)
    return 3 + spread * random.normal(size=(count, DIM))


def test_both_sides_are_whitened_by_the_release_to_the_ninth_decimal() -> None:
    real, released = seen(faces(30, 0)), seen(faces(50, 1))
    released.features[7], released.valid[7] = 0, False
    maps = whitening(real, released)
    there = [face.astype(float) for face, valid in zip(released.features, released.valid, strict=True) if valid]
    mean = sum(there) / len(there)
    scatter = sum(np.outer(face - mean, face - mean) for face in there) / len(there)
    root = inv(sqrtm(scatter + RIDGE * np.trace(scatter) / DIM * np.eye(DIM))).real
    np.testing.assert_allclose(maps.reconstructed_mean, mean, rtol=0, atol=1e-9)
    np.testing.assert_allclose(maps.real_mean, real.features.astype(float).mean(axis=0), rtol=0, atol=1e-9)
    for found in (maps.real_map, maps.reconstructed_map):
        np.testing.assert_allclose(found, root, rtol=1e-9, atol=1e-9)
    sets = FeatureSets("a", real, released, {"m": seen(faces(30, 3))}, seen(faces(5, 4)))
    made = maps.of_sets(sets, "b")
    assert (made.attacker, made.released.valid.tolist()) == ("b", released.valid.tolist())
    assert made.non_members is not None
    for mine, given, middle in (
        (made.real, real, maps.real_mean),
        (made.released, released, mean),
        (made.imitated["m"], sets.imitated["m"], mean),
        (made.non_members, sets.non_members, maps.real_mean),
    ):
        for at in np.flatnonzero(mine.valid):
            expected = (given.features[at].astype(float) - middle) @ root
            np.testing.assert_allclose(mine.features[at], expected / np.linalg.norm(expected), atol=1e-6)


def test_what_everybody_shares_drowns_nobody_any_more() -> None:
    real = faces(200, 0)
    # A third of each released face is its photo's; the rest is of two others.
    random = np.random.default_rng(5)
    mixed = (real + real[random.permutation(200)] + real[random.permutation(200)]) / 3
    sides = seen(real), seen(mixed)
    maps = whitening(*sides)

    def found(real: Embeddings, released: Embeddings) -> float:
        return float((np.argmax(real.features @ released.features.T, axis=1) == np.arange(200)).mean())

    assert found(maps.of_real(sides[0]), maps.of_reconstructed(sides[1])) > 2 * found(*sides)


def test_a_release_of_one_picture_has_nothing_that_spreads() -> None:
    real, released = seen(faces(20, 0)), seen(np.tile(faces(1, 1), (20, 1)))
    made = whitening(real, released).of_reconstructed(released)
    scores = made.features @ made.features.T
    assert np.ptp(scores) < 1e-6
    nobody = Embeddings(np.zeros((3, DIM), np.float32), np.zeros(3, np.bool_), [])
    assert not whitening(real, nobody).of_reconstructed(nobody).valid.any()
    assert np.isfinite(whitening(real, nobody).of_real(real).features).all()
