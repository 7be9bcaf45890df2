"""Instance relation matching against a float64 loop written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facemae_cli.training import relation_losses


def slow_irm(f: np.ndarray, g: np.ndarray, beta: float) -> float:
    """Eq. 2, one number at a time."""
    n, d = f.shape
    instance = relation = 0.0
    for i in range(n):
        instance += math.sqrt(sum((f[i, k] - g[i, k]) ** 2 for k in range(d)) + 1e-12)
        row = 0.0
        for j in range(n):
            real = sum(f[i, k] * f[j, k] for k in range(d))
            made = sum(g[i, k] * g[j, k] for k in range(d))
            row += (real - made) ** 2
        relation += math.sqrt(row + 1e-12)
    return instance / n + beta * relation / n


def irm(f: torch.Tensor, g: torch.Tensor, beta: float) -> torch.Tensor:
    return relation_losses.instance_matching(f, g) + beta * relation_losses.relation_matching(f, g)


def features(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return tuple(torch.randn(5, 4, dtype=torch.float64, generator=random).to(dtype) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.5])
def test_irm_equals_the_loop(beta: float) -> None:
    f, g = features()
    assert float(irm(f, g, beta)) == pytest.approx(slow_irm(f.numpy(), g.numpy(), beta), rel=1e-12)


def test_gradient_equals_finite_differences_of_the_loop() -> None:
    f, g = features()
    g.requires_grad_()
    irm(f, g, 1.0).backward()
    step = 1e-6
    for i, k in ((0, 0), (2, 3), (4, 1)):
        up, down = g.detach().numpy().copy(), g.detach().numpy().copy()
        up[i, k] += step
        down[i, k] -= step
        slope = (slow_irm(f.numpy(), up, 1.0) - slow_irm(f.numpy(), down, 1.0)) / (2 * step)
        assert float(g.grad[i, k]) == pytest.approx(slope, rel=1e-6)  # type: ignore[index]


def test_privacy_counts_what_lies_above_the_margin_by_hand() -> None:
    f = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    g = torch.tensor([[30.0, 40.0], [1.0, 1.0], [-5.0, 0.0]], requires_grad=True)
    # cosines 1, 1 / sqrt(2) and -1, of which 0.8, 1 / sqrt(2) - 0.2 and nothing lie above 0.2
    found = relation_losses.privacy(f, g, 0.2)
    assert found.item() == pytest.approx((0.8 + math.sqrt(0.5) - 0.2) / 3, abs=1e-6)
    found.backward()
    assert g.grad is not None
    assert g.grad[1].abs().sum() > 0
    assert g.grad[2].abs().sum() == 0
    assert float(relation_losses.privacy(f, g.detach(), 1.0)) == 0


def test_by_hand() -> None:
    f = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    g = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    assert float(relation_losses.instance_matching(f, g)) == pytest.approx(5 / 2, abs=1e-5)
    # F F^T = [[25, 4], [4, 1]], G G^T = [[0, 0], [0, 1]]: rows differ by sqrt(25^2 + 4^2) and 4
    assert float(relation_losses.relation_matching(f, g)) == pytest.approx((math.sqrt(641) + 4) / 2, rel=1e-6)


def test_equal_features_have_a_finite_gradient() -> None:
    f = torch.ones(3, 2)
    g = f.clone().requires_grad_()
    irm(f, g, 1.0).backward()
    assert torch.isfinite(g.grad).all()  # type: ignore[arg-type]


def test_half_precision_features_are_compared_in_fp32() -> None:
    f, g = features(torch.bfloat16)
    loss = irm(f, g, 1.0)
    assert loss.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert float(irm(f, g, 1.0)) == float(loss)


def test_relation_scale_is_one_at_256_rows_and_everywhere_in_paper_mode() -> None:
    assert relation_losses.relation_scale(256) == 1.0
    assert relation_losses.relation_scale(64) == 2.0
    assert relation_losses.relation_scale(64, "paper") == 1.0
    with pytest.raises(ValueError, match="'loud' is neither"):
        relation_losses.relation_scale(64, "loud")


def test_balanced_relation_does_not_grow_with_the_batch() -> None:
    random = torch.Generator().manual_seed(0)
    figures = []
    for rows in (64, 256, 1024):
        f, g = (torch.nn.functional.normalize(torch.randn(rows, 128, generator=random), dim=1) for _ in range(2))
        figures.append(float(relation_losses.relation_matching(f, g)) * relation_losses.relation_scale(rows))
    assert max(figures) < 1.15 * min(figures)


def test_pixel_error_by_hand() -> None:
    real, made = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    assert float(relation_losses.pixel_error(real, made)) == 0.25
