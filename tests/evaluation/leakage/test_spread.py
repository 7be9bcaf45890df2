"""Principal axes and what they give, against scipy's solvers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from facemae_cli.evaluation.leakage.spread import Axes
from facemae_cli.evaluation.leakage.spread import ridge as solved

DIM = 24


@pytest.mark.parametrize("count", [1, 2, 9, 23, 24, 60])
@pytest.mark.parametrize("ridge", [0.1, 1.0])
def test_an_inverse_root_is_that_of_the_covariance_however_many_rows_there_are(count: int, ridge: float) -> None:
    rows = np.random.default_rng(count).normal(size=(count, DIM)) * np.geomspace(1e-3, 10, DIM)
    rows[count // 2 :] = rows[: count - count // 2]  # half of them twice: no rank to spare
    covariance = rows.T @ rows / count
    raised = covariance + ridge * np.trace(covariance) / DIM * np.eye(DIM)
    wanted = fractional_matrix_power(raised, -0.5).real
    for axes in (Axes.of_rows(rows), Axes.of_covariance(covariance)):
        np.testing.assert_allclose(axes.inverse_root(ridge), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


def test_rows_fewer_than_their_values_have_no_more_axes_than_rows() -> None:
    axes = Axes.of_rows(np.random.default_rng(0).normal(size=(5, DIM)))
    assert axes.directions.shape == (DIM, 5)
    np.testing.assert_allclose(axes.directions.T @ axes.directions, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("rows", [np.zeros((0, DIM)), np.zeros((4, DIM)), np.zeros((40, DIM))])
def test_where_nothing_differs_the_root_is_finite_and_prefers_nothing(rows: np.ndarray) -> None:
    root = Axes.of_rows(rows).inverse_root(0.3)
    assert np.isfinite(root).all()
    np.testing.assert_allclose(root, root[0, 0] * np.eye(DIM), rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [5, 60])
def test_ridge_is_least_squares_on_rows_that_pull_to_zero(count: int) -> None:
    random = np.random.default_rng(count)
    x, y = random.normal(size=(count, DIM)) * np.geomspace(0.1, 10, DIM), random.normal(size=(count, 3))
    pull = np.sqrt(0.3 * np.square(x).sum() / DIM) * np.eye(DIM)
    wanted = np.linalg.lstsq(np.concatenate([x, pull]), np.concatenate([y, np.zeros((DIM, 3))]), rcond=None)[0]
    np.testing.assert_allclose(solved(x, y, 0.3), wanted, atol=1e-10)
