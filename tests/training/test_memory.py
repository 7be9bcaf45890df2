"""The memory that training takes: by hand for a small network, and what is said when there is too little."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.ranks import run_ranks
from torch import Tensor, nn

from facemae_cli.errors import UsageError
from facemae_cli.networks.card import InputSpec
from facemae_cli.networks.embedder import Embedder
from facemae_cli.training import memory as footprint
from facemae_cli.training.memory import MemoryEstimate, remembered_bytes

CPU = torch.device("cpu")


class Small(nn.Module):
    """Two layers whose inputs are remembered: 3 x 8 x 8 numbers and 5 x 8 x 8 numbers a face."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1, bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.fc = nn.Linear(5 * 64, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(images)).flatten(1))


def embedder() -> Embedder:
    return Embedder(Small(), InputSpec(8), 4)


def test_what_a_face_leaves_behind_by_hand_and_nothing_is_learnt() -> None:
    model = embedder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image, convolved, normed = 3 * 64 * 4, 5 * 64 * 4, 5 * 64 * 4
    statistics = 2 * 5 * 4 // 2  # of the norm: mean and deviation of a channel, shared by two faces
    assert remembered_bytes(model, "fp32") == pytest.approx(image + convolved + normed + statistics, abs=64)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.network.training


def test_the_parts_add_up() -> None:
    model = embedder()
    parameters = 15 + 10 + 5 * 64 * 4
    found = MemoryEstimate.of(model, batch_size=32, classes=1000, precision="fp32")
    assert found.network == parameters * 12 + int(1.75 * 32 * remembered_bytes(model, "fp32"))
    assert found.centres == 2 * 1000 * 4 * 4
    assert found.comparing == 1000 * 4 * (4 * 4 + 5 * 32)
    assert found.total(0.5) == found.network + found.centres + found.comparing // 2


def test_ranks_share_faces_and_centres(tmp_path: Path) -> None:
    alone = MemoryEstimate.of(embedder(), 32, 1000, "fp32")

    def work(rank: int) -> MemoryEstimate:
        return MemoryEstimate.of(embedder(), 32, 1000, "fp32")

    for part in run_ranks(2, tmp_path, work):
        assert part.centres == alone.centres // 2
        assert part.comparing == alone.comparing // 2
        assert part.network < alone.network


def test_enough_memory_is_said_and_too_little_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = MemoryEstimate(network=2 * 2**30, centres=2**30, comparing=10 * 2**30)
    monkeypatch.setattr(footprint, "free_bytes", lambda device: 20 * 2**30)
    assert needs.require(CPU, 1.0) == "training takes about 13.0 GiB of memory of 20.0 GiB that cpu has free"
    monkeypatch.setattr(footprint, "free_bytes", lambda device: 8 * 2**30)
    with pytest.raises(UsageError, match=r"--sample-rate 0\.42 would fit"):
        needs.require(CPU, 1.0)
    assert "cpu has free" in needs.require(CPU, 0.42)
    monkeypatch.setattr(footprint, "free_bytes", lambda device: 3 * 2**30)
    with pytest.raises(UsageError, match=r"network 2\.0 GiB, class centres 1\.0 GiB\); take a smaller --batch-size"):
        needs.require(CPU, 1.0)
    monkeypatch.setattr(footprint, "free_bytes", lambda device: None)
    assert needs.require(CPU, 1.0) == "training takes about 13.0 GiB of memory"


def test_free_memory_is_told_where_the_system_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    free = footprint.free_bytes(CPU)
    assert free is None or free > 2**20
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    shared = footprint.free_bytes(CPU)
    assert (shared is None) == (free is None)
    if free and shared:
        assert shared < free / 2
    assert footprint.free_bytes(torch.device("meta")) is None
