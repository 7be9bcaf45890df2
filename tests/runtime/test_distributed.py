"""One rank needs no group; several gather rows with the gradient that DDP's average asks for."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from facemae_cli.runtime import distributed


def test_a_single_rank_is_left_alone() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.gather_rows(rows) is rows
    assert distributed.mean_over_ranks(0.1, torch.device("cpu")) == 0.1
    assert distributed.gather_objects("x") == ["x"]
    with distributed.process_group(torch.device("cpu")):
        assert not dist.is_initialized()


def test_gathered_rows_stand_in_rank_order_and_their_gradient_is_counted_once_a_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rank 1 of 3: its rows are the middle ones; DDP later divides by 3 what is multiplied by 3 here."""

    def all_gather(parts: list[torch.Tensor], mine: torch.Tensor) -> None:
        for rank, part in enumerate(parts):
            part.copy_(mine + rank - 1)

    monkeypatch.setattr(distributed, "rank", lambda: 1)
    monkeypatch.setattr(distributed, "world", lambda: 3)
    monkeypatch.setattr(dist, "all_gather", all_gather)
    rows = torch.tensor([[1.0], [2.0]], requires_grad=True)
    gathered = distributed.gather_rows(rows)
    assert gathered.flatten().tolist() == [0, 1, 1, 2, 2, 3]
    (gathered * torch.arange(6.0)[:, None]).sum().backward()
    assert rows.grad is not None
    assert rows.grad.flatten().tolist() == [3 * 2, 3 * 3]
