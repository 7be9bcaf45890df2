"""Principal axes and what they give, against scipy's solvers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import fractional_matrix_power

from facemae_cli.evaluation.leakage.spread import Axes

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
