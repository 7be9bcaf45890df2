"""A checkpoint of a run: what was saved comes back, and a damaged file is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from facemae_cli.errors import InputError, UsageError
from facemae_cli.training.checkpoint import FILE, Checkpoint
from facemae_cli.training.optimizers import fit_optimizer
from facemae_cli.training.recipes import FitRecipe

SETTINGS = {"lr": 0.1}


def trained() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
    """A small network and its optimizer after a step."""
    network = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer


def trained_by_muon() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Two layers, the first one's matrix by Muon, and their optimizer after a step."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    optimizer = fit_optimizer(network, [network[0].weight], FitRecipe(optimizer="muon"))
    step(network, optimizer)
    return network, optimizer


def step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    network(torch.tensor([[1.0, -2.0]])).square().sum().backward()
    optimizer.step()


def load(folder: Path) -> Checkpoint:
    return Checkpoint.load(folder, SETTINGS, *trained())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    network, optimizer = trained()
    state = {"step": 1, "history": [{"loss": 0.5}]}
    Checkpoint(SETTINGS, state, {"centres": torch.ones(3)}).save(tmp_path, network, optimizer)
    other, other_optimizer = trained()
    found = Checkpoint.load(tmp_path, SETTINGS, other, other_optimizer)
    assert (found.settings, found.state) == (SETTINGS, state)
    assert torch.equal(found.learnt["centres"], torch.ones(3))
    assert torch.equal(other.weight, network.weight)
    moments, others = (each.state_dict()["state"][0]["exp_avg"] for each in (optimizer, other_optimizer))
    assert torch.equal(moments, others)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]  # nothing else is written, by any rank


def test_two_optimizers_go_on_as_if_unbroken(tmp_path: Path) -> None:
    network, optimizer = trained_by_muon()
    Checkpoint(SETTINGS, {}, {}, {"mean": torch.ones(2)}).save(tmp_path, network, optimizer, "other")
    step(network, optimizer)
    again, its_optimizer = trained_by_muon()
    step(again, its_optimizer)  # astray
    found = Checkpoint.load(tmp_path, SETTINGS, again, its_optimizer, "other")
    assert torch.equal(found.average["mean"], torch.ones(2))
    step(again, its_optimizer)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("removed", ["optimizer.3.momentum_buffer", "optimizer.1.exp_avg", "optimizer.0."])
def test_moments_of_one_of_two_optimizers_are_missing(tmp_path: Path, removed: str) -> None:
    Checkpoint(SETTINGS, {}).save(tmp_path, *trained_by_muon())
    tensors = load_file(tmp_path / FILE)
    kept = {name: value for name, value in tensors.items() if not name.startswith(removed)}
    assert len(kept) < len(tensors)
    save_file(kept, tmp_path / FILE, {"settings": json.dumps(SETTINGS), "state": "{}"})
    with pytest.raises(InputError, match="moments of some parameters are missing"):
        Checkpoint.load(tmp_path, SETTINGS, *trained_by_muon())


@pytest.mark.parametrize(
    ("settings", "state"),
    [(SETTINGS, []), (SETTINGS, {"history": 3}), (SETTINGS, {"history": [1]}), ([], {}), ("lr", {}), (SETTINGS, None)],
)
def test_metadata_of_another_form(tmp_path: Path, settings: Any, state: Any) -> None:
    metadata = {"settings": json.dumps(settings), "state": json.dumps(state)}
    save_file({"network.weight": torch.zeros(2, 2)}, tmp_path / FILE, metadata)
    with pytest.raises(InputError, match=r"not a checkpoint of a run .*another form.*--overwrite"):
        load(tmp_path)


def test_metadata_too_deep_to_read(tmp_path: Path) -> None:
    metadata = {"settings": json.dumps(SETTINGS), "state": "[" * 100_000}
    save_file({"network.weight": torch.zeros(2, 2)}, tmp_path / FILE, metadata)
    with pytest.raises(InputError, match="not a checkpoint of a run"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("removed", "added"),
    [
        ("network.weight", {}),
        ("network.weight", {"network.weight": torch.zeros(3, 2)}),
        ("optimizer.0.exp_avg", {}),
        ("", {"network.more": torch.zeros(1)}),
        ("", {"optimizer.x.exp_avg": torch.zeros(1)}),
        ("", {"optimizer.9.exp_avg": torch.zeros(1)}),
        ("", {"optimizer.9": torch.zeros(1)}),
        ("", {"optimizer.0.exp_avg": torch.tensor(1.0)}),
        ("", {"optimizer.0.step": torch.zeros(2, 2)}),
    ],
)
def test_tensors_of_another_network(tmp_path: Path, removed: str, added: dict[str, torch.Tensor]) -> None:
    Checkpoint(SETTINGS, {}).save(tmp_path, *trained())
    tensors = load_file(tmp_path / FILE)
    tensors = {name: value for name, value in tensors.items() if name != removed} | added
    save_file(tensors, tmp_path / FILE, {"settings": json.dumps(SETTINGS), "state": "{}"})
    with pytest.raises(InputError, match=r"not of this network .*--overwrite") as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["network.weight", "optimizer.0.exp_avg", "objective.centres"])
def test_complex_numbers(name: str, tmp_path: Path) -> None:
    Checkpoint(SETTINGS, {}).save(tmp_path, *trained())
    tensors = load_file(tmp_path / FILE) | {name: torch.zeros(2, 2, dtype=torch.complex64)}
    save_file(tensors, tmp_path / FILE, {"settings": json.dumps(SETTINGS), "state": "{}"})
    with pytest.raises(InputError, match=r"not a checkpoint of a run \(it holds complex numbers\)"):
        load(tmp_path)


def test_a_setting_whose_name_has_two_lines(tmp_path: Path) -> None:
    Checkpoint({**SETTINGS, "a\nb": 1}, {}).save(tmp_path, *trained())
    with pytest.raises(UsageError, match=r"made with a\\nb 1") as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 1
