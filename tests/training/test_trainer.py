"""The loop: schedule, weight decay, resuming at any step, signals, losses that are no number."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.sources import memory_source
from torch import Tensor, nn

from facemae_cli.errors import InputError, UsageError
from facemae_cli.training.checkpoint import FILE, Checkpoint
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.trainer import HISTORY, Objective, Trainer, parameter_groups, postponed_signals


class Mean(Objective):
    """An objective that learns the mean colour: small enough to be followed by hand."""

    def __init__(self, stop_at: int | None = None, break_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.network = nn.Linear(3, 3)
        self.stop_at, self.break_at = stop_at, break_at
        self.seen: list[int] = []

    def loss(self, forward: Callable[..., Any], batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        self.seen.append(step)
        if step == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        colours = batch.images.float().mean(dim=(2, 3)) / 255
        loss = (forward(colours) - colours).square().mean()
        return {"loss": loss * math.nan if step == self.break_at else loss}

    def validate(self) -> dict[str, float]:
        return {"weight": self.network.weight.sum().item()}

    def picture(self, folder: Path, history: list[dict[str, Any]], steps: list[dict[str, float]]) -> None:
        (folder / "pictured").write_text(str(len(history)))


def trainer(folder: Path, objective: Mean, **settings: Any) -> Trainer:
    source = memory_source(10, 1)
    loader = FaceLoader(source, range(10), size=112, batch_size=2, seed=0)
    optimizer = torch.optim.AdamW(parameter_groups(objective.network, 0.05), lr=0.1)
    schedule = LrSchedule(epochs=3, steps_per_epoch=loader.steps, lr=0.01, warmup_epochs=0.5, clip=1.0)
    folder.mkdir(exist_ok=True)
    return Trainer(objective, loader, schedule, optimizer, folder, torch.device("cpu"), {"seed": 0, **settings})


def weights(objective: Mean) -> list[float]:
    return objective.network.weight.flatten().tolist()


def test_norms_biases_and_tokens_do_not_decay() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    network.register_parameter("token", nn.Parameter(torch.zeros(1, 1, 4)))
    decayed, kept = parameter_groups(network, 0.05)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert len(kept["params"]) == 4


def test_training_lowers_the_loss_and_writes_its_history(tmp_path: Path) -> None:
    history = trainer(tmp_path, Mean()).run()
    assert [line["step"] for line in history] == [5, 10, 15]
    assert history[-1]["loss"] < history[0]["loss"]
    assert {"epoch", "step", "lr", "loss", "val_weight"} == set(history[0])
    assert [json.loads(line) for line in (tmp_path / HISTORY).read_text().splitlines()] == history
    assert (tmp_path / "pictured").read_text() == "3"


@pytest.mark.parametrize("at", [0, 3, 4, 7, 14])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(tmp_path: Path, at: int) -> None:
    unbroken = Mean()
    history = trainer(tmp_path / "unbroken", unbroken).run()
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        first = Mean(stop_at=at)
        trainer(tmp_path / "broken", first).run()
        assert first.seen == list(range(at + 1))
    finally:
        signal.signal(signal.SIGTERM, before)
    second = Mean()
    again = trainer(tmp_path / "broken", second).run(resume=True)
    assert second.seen == list(range(at + 1, 15))
    assert again == history
    assert weights(second) == weights(unbroken)
    assert (tmp_path / "broken" / HISTORY).read_bytes() == (tmp_path / "unbroken" / HISTORY).read_bytes()


def test_the_history_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path, Mean()).run()
    with open(tmp_path / HISTORY, "a") as file:
        file.write('{"epoch": 99}\n{"torn')
    trainer(tmp_path, Mean()).run(resume=True)
    assert [json.loads(line)["epoch"] for line in (tmp_path / HISTORY).read_text().splitlines()] == [1, 2, 3]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the loss became nan by step 10 .*lower --lr"):
        trainer(tmp_path, Mean(break_at=7)).run()
    history = trainer(tmp_path, Mean()).run(resume=True)
    assert [line["epoch"] for line in history] == [1, 2, 3]


def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path: Path) -> None:
    history = trainer(tmp_path / "unbroken", Mean()).run()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / f"{FILE}.part").write_bytes(b"half a checkp")
    assert trainer(tmp_path / "broken", Mean()).run(resume=True) == history
    assert sorted(os.listdir(tmp_path / "broken")) == sorted(os.listdir(tmp_path / "unbroken"))


def test_a_run_killed_on_its_last_picture_draws_it(tmp_path: Path) -> None:
    trainer(tmp_path, Mean()).run()
    (tmp_path / "pictured").write_text("an older one")
    trainer(tmp_path, Mean()).run(resume=True)
    assert (tmp_path / "pictured").read_text() == "3"


def test_resume_with_another_run_s_checkpoint_and_with_a_damaged_one(tmp_path: Path) -> None:
    trainer(tmp_path, Mean()).run()
    with pytest.raises(UsageError, match="made with seed 0, this run says 1"):
        trainer(tmp_path, Mean(), seed=1).run(resume=True)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="not a checkpoint of a run"):
        trainer(tmp_path, Mean()).run(resume=True)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({"step": 99}, "step 99 of 15"),
        ({"step": -1}, "step -1 of 15"),
        ({"step": "3"}, "step '3' of 15"),
        ({"counted": 14, "step": 10}, "14 of them"),
        ({"sums": {"loss": "much"}}, "could not convert"),
        ({"more": 1}, "unexpected keyword"),
    ],
)
def test_a_checkpoint_whose_counters_are_none(tmp_path: Path, state: dict[str, Any], why: str) -> None:
    run, state = trainer(tmp_path, Mean()), {"step": 3, "sums": {}, "counted": 0, "history": [], **state}
    Checkpoint(run.settings, state).save(tmp_path, run.objective.network, run.optimizer)
    (tmp_path / HISTORY).write_text("as it was\n")
    with pytest.raises(InputError, match=why):
        run.run(resume=True)
    assert (tmp_path / HISTORY).read_text() == "as it was\n"


def test_a_checkpoint_without_a_counter(tmp_path: Path) -> None:
    run = trainer(tmp_path, Mean())
    Checkpoint(run.settings, {"step": 3, "history": []}).save(tmp_path, run.objective.network, run.optimizer)
    with pytest.raises(InputError, match=r"missing 2 .* 'sums' and 'counted'"):
        run.run(resume=True)


def test_a_signal_is_delivered_after_the_step_and_handlers_come_back() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        with postponed_signals() as stopping:
            assert not stopping()
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping()
            assert came == []
        assert came == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGTERM)
        assert len(came) == 2
    finally:
        signal.signal(signal.SIGTERM, before)
