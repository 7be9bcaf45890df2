"""Batch norm over ranks gives what plain batch norm gives over the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.ranks import run_ranks
from torch import nn

from facemae_cli.runtime import distributed
from facemae_cli.training.sync_batch_norm import RankBatchNorm, synchronise

SHAPES = {"images": (12, 5, 4, 3), "features": (12, 5)}


def network(kind: str) -> nn.Module:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(5) if kind == "images" else nn.BatchNorm1d(5)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.uniform_(norm.bias)
    return nn.Sequential(norm, nn.Flatten(), nn.LazyLinear(2))


@pytest.mark.parametrize("kind", SHAPES)
def test_three_ranks_follow_one(tmp_path: Path, kind: str) -> None:
    x = torch.randn(SHAPES[kind], generator=torch.Generator().manual_seed(0)) * 3 + 7
    target = torch.randn(12, 2, generator=torch.Generator().manual_seed(2))
    started = network(kind)
    started(x)

    def work(rank: int) -> dict[str, Any]:
        made = network(kind)
        made(x)
        made.load_state_dict(started.state_dict())
        made = synchronise(made, torch.device("cpu"))
        first, last = distributed.share(12)
        mine = x[first:last].clone().requires_grad_()
        loss = (made(mine) - target[first:last]).square().sum()
        loss.backward()
        assert mine.grad is not None
        norm = made[0]
        grad = distributed.sum_over_ranks(norm.weight.grad)
        made.eval()
        return {
            "loss": loss.item(), "x": mine.grad.numpy(), "weight": grad.numpy(), "eval": made(x).detach().numpy(),
            "names": sorted(made.state_dict()), "mean": norm.running_mean.numpy(), "var": norm.running_var.numpy(),
        }  # fmt: skip

    alone = work(0)
    together = run_ranks(3, tmp_path, work)
    assert sum(part["loss"] for part in together) == pytest.approx(alone["loss"], rel=1e-5)
    np.testing.assert_allclose(np.concatenate([part["x"] for part in together]), alone["x"], atol=1e-4)
    for part in together:
        assert part["names"] == alone["names"]
        for name in ("weight", "mean", "var", "eval"):
            np.testing.assert_allclose(part[name], alone[name], atol=1e-4)


def test_one_rank_keeps_its_norms() -> None:
    made = nn.Sequential(nn.BatchNorm2d(3))
    assert synchronise(made, torch.device("cpu")) is made
    assert type(made[0]) is nn.BatchNorm2d


def test_a_vector_without_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        RankBatchNorm(3)(torch.zeros(3))
