"""Steps of Muon and AdamW beside independent ones, and which weights each takes."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from facemae_cli.errors import UsageError
from facemae_cli.training.optimizers import Combined, fit_optimizer, parameter_groups
from facemae_cli.training.recipes import FitRecipe

RECIPE = FitRecipe(optimizer="muon", lr=0.1, weight_decay=0.5)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), nn.LayerNorm(24), nn.Linear(24, 3))


def step(model: nn.Sequential, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    torch.manual_seed(1)
    model(torch.randn(40, 8)).square().mean().backward()
    optimizer.step()


def matrix(model: nn.Sequential) -> Tensor:
    weight = model[0].weight
    assert isinstance(weight, Tensor)
    return weight


def test_norms_biases_and_tokens_do_not_decay() -> None:
    layers = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    layers.register_parameter("token", nn.Parameter(torch.zeros(1, 1, 4)))
    decayed, kept = parameter_groups(layers.parameters(), 0.05)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert len(kept["params"]) == 4


def test_a_step_of_muon_is_the_gradient_made_orthogonal() -> None:
    """Its singular vectors, all singular values about 1 (Jordan's iteration: 0.7 to 1.2), at the size of AdamW's."""
    model = network()
    optimizer = fit_optimizer(model, [model[0].weight], RECIPE)
    before = matrix(model).detach().clone()
    step(model, optimizer)
    gradient = matrix(model).grad
    assert gradient is not None
    moved = (before * (1 - 0.1 * 0.5) - matrix(model).detach()) / (0.1 * 0.2 * math.sqrt(24))
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    inside = u.T @ moved @ v.T
    assert torch.all((inside.diagonal() > 0.6) & (inside.diagonal() < 1.3))
    assert (inside - inside.diagonal().diag()).abs().max() < 0.03  # bf16 within
    torch.testing.assert_close(u @ inside @ v, moved, atol=0.03, rtol=0)


def test_all_else_is_stepped_by_adamw_at_the_same_rate() -> None:
    model, other = network(), network()
    plain = torch.optim.AdamW(parameter_groups(other.parameters(), 0.5), lr=0.1, betas=(0.9, 0.95), fused=True)
    step(model, fit_optimizer(model, [model[0].weight], RECIPE))
    step(other, plain)
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two) == (name != "0.weight"), name


def test_adamw_takes_everything_where_muon_is_not_said() -> None:
    model = network()
    optimizer = fit_optimizer(model, [model[0].weight], FitRecipe())
    assert isinstance(optimizer, torch.optim.AdamW)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6


def test_muon_that_torch_lacks_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    model = network()
    with pytest.raises(UsageError, match=r"torch .* has no muon; update torch, or say adamw"):
        fit_optimizer(model, [model[0].weight], RECIPE)


def test_the_parts_share_rates_and_state_with_the_whole_after_loading_too() -> None:
    model = network()
    optimizer = fit_optimizer(model, [model[0].weight], RECIPE)
    assert isinstance(optimizer, Combined)
    step(model, optimizer)
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(model.state_dict())
    step(model, optimizer)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert set(optimizer.state) == set(model.parameters())
    assert optimizer.step(lambda: 0.5) == 0.5
