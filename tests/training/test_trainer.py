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
from safetensors.torch import load_file
from torch import Tensor, nn

from facemae_cli.errors import InputError, UsageError
from facemae_cli.runtime.signals import Stopped
from facemae_cli.training.checkpoint import FILE, Checkpoint
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.optimizers import fit_optimizer, parameter_groups
from facemae_cli.training.recipes import FitRecipe
from facemae_cli.training.trainer import HISTORY, STABLE, Objective, Trainer, postponed_signals
from facemae_cli.training.weight_average import WeightAverage


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
    optimizer = torch.optim.AdamW(parameter_groups(objective.network.parameters(), 0.05), lr=0.1)
    schedule = LrSchedule(epochs=3, steps_per_epoch=loader.steps, lr=0.01, warmup_epochs=0.5, clip=1.0)
    folder.mkdir(exist_ok=True)
    return Trainer(objective, loader, schedule, optimizer, folder, torch.device("cpu"), {"seed": 0, **settings})


def long_trainer(folder: Path, objective: Mean, epochs: int, cooldown: float = 1.0) -> Trainer:
    """A run of Muon, a weight average and a rate that falls at the end alone."""
    recipe = FitRecipe(optimizer="muon")
    made = trainer(folder, objective)
    made.optimizer = fit_optimizer(objective.network, [objective.network.weight], recipe)
    made.schedule = LrSchedule(epochs, made.loader.steps, 0.01, 0.5, 1.0, shape="wsd", cooldown_epochs=cooldown)
    made.average = WeightAverage(objective.network, 0.9)
    return made


def assert_same(one: Path, other: Path) -> None:
    """Both runs of `long_trainer` left the same, to the bit."""
    assert (one / HISTORY).read_bytes() == (other / HISTORY).read_bytes()
    for file in (FILE, STABLE):
        first, second = (load_file(folder / file) for folder in (one, other))
        assert first.keys() == second.keys()
        assert all(torch.equal(value, second[name]) for name, value in first.items())


def weights(objective: Mean) -> list[float]:
    return objective.network.weight.flatten().tolist()


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
        with pytest.raises(Stopped):  # though the handler goes on: what it left is no finished network
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


@pytest.mark.parametrize("at", [3, 5, 15])
def test_a_rank_ends_too_where_another_one_was_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """In the middle of an epoch, at its end, and at the end of the run."""
    history = trainer(tmp_path / "unbroken", Mean()).run()
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_agree", lambda self, mine: self.step == at)
        with pytest.raises(Stopped) as caught:
            trainer(tmp_path / "broken", Mean()).run()
    assert caught.value.number == signal.SIGTERM
    again = Mean()
    assert trainer(tmp_path / "broken", again).run(resume=True) == history
    assert again.seen == list(range(at, 15))


@pytest.mark.parametrize("at", [0, 6, 9, 12])
def test_a_run_by_muon_with_an_average_is_resumed_exactly(tmp_path: Path, at: int) -> None:
    """Stopped while the rate is level, on the step after which it falls, and while it falls."""
    unbroken = Mean()
    history = long_trainer(tmp_path / "unbroken", unbroken, 3).run()
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with pytest.raises(Stopped):
            long_trainer(tmp_path / "broken", Mean(stop_at=at), 3).run()
    finally:
        signal.signal(signal.SIGTERM, before)
    again = Mean()
    assert long_trainer(tmp_path / "broken", again, 3).run(resume=True) == history
    assert weights(again) == weights(unbroken)
    assert_same(tmp_path / "broken", tmp_path / "unbroken")


@pytest.mark.parametrize(("epochs", "cooldown"), [(2, 1.0), (2, 0.7), (3, 2.0)])
def test_a_finished_run_made_longer_equals_one_that_was_meant_to_be(
    tmp_path: Path, epochs: int, cooldown: float
) -> None:
    unbroken = Mean()
    history = long_trainer(tmp_path / "unbroken", unbroken, 4).run()
    long_trainer(tmp_path / "short", Mean(), epochs, cooldown).run()
    longer = Mean()
    assert long_trainer(tmp_path / "short", longer, 4).run(resume=True) == history
    assert longer.seen[0] == epochs * 5 - round(5 * cooldown)
    assert weights(longer) == weights(unbroken)
    assert_same(tmp_path / "short", tmp_path / "unbroken")


def test_a_run_still_level_can_be_ended_early(tmp_path: Path) -> None:
    unbroken = Mean()
    history = long_trainer(tmp_path / "unbroken", unbroken, 2).run()
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        with pytest.raises(Stopped):
            long_trainer(tmp_path / "long", Mean(stop_at=3), 9).run()
    finally:
        signal.signal(signal.SIGTERM, before)
    short = Mean()
    assert long_trainer(tmp_path / "long", short, 2).run(resume=True) == history
    assert (weights(short), short.seen[0]) == (weights(unbroken), 4)


def test_a_run_whose_rate_has_fallen_is_not_made_longer_from_there(tmp_path: Path) -> None:
    long_trainer(tmp_path, Mean(), 2).run()
    (tmp_path / STABLE).unlink()
    with pytest.raises(UsageError, match=r"rate went another way .*say the epochs and cooldown .*--resume"):
        long_trainer(tmp_path, Mean(), 4).run(resume=True)
    assert long_trainer(tmp_path, Mean(), 2).run(resume=True)[-1]["epoch"] == 2


def test_the_average_is_what_is_measured_and_training_goes_on_without_it(tmp_path: Path) -> None:
    plain, averaged = Mean(), Mean()
    run, other = long_trainer(tmp_path / "a", averaged, 3), long_trainer(tmp_path / "b", plain, 3)
    other.average = None
    history = run.run()
    assert [line["loss"] for line in history] == [line["loss"] for line in other.run()]
    assert weights(averaged) == weights(plain)
    with run.averaged():
        assert history[-1]["val_weight"] == averaged.validate()["weight"] != plain.validate()["weight"]


def test_a_checkpoint_without_its_average(tmp_path: Path) -> None:
    run = long_trainer(tmp_path, Mean(), 2)
    run.average = None
    run.run()
    with pytest.raises(InputError, match="the average is of 0 weights, not of 2"):
        long_trainer(tmp_path, Mean(), 2).run(resume=True)


@pytest.mark.parametrize("told", [3, {"shape": "wsd"}, {"more": 1}, {"cooldown_epochs": math.inf}, {"epochs": "2"}])
def test_a_checkpoint_whose_schedule_is_none(tmp_path: Path, told: Any) -> None:
    run = long_trainer(tmp_path, Mean(), 2)
    known = {"epochs": 2, "steps_per_epoch": 5, "lr": 0.01, "warmup_epochs": 0.5, "clip": 1.0, "shape": "wsd"}
    schedule = {**known, **told} if isinstance(told, dict) and "shape" not in told else told
    state = {"step": 4, "sums": {}, "counted": 0, "history": [], "schedule": schedule}
    assert run.average is not None
    Checkpoint(run.settings, state, {}, run.average.state()).save(tmp_path, run.objective.network, run.optimizer)
    with pytest.raises(InputError, match="not of this run"):
        run.run(resume=True)


def test_the_history_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path, Mean()).run()
    with open(tmp_path / HISTORY, "a") as file:
        file.write('{"epoch": 99}\n{"torn')
    trainer(tmp_path, Mean()).run(resume=True)
    assert [json.loads(line)["epoch"] for line in (tmp_path / HISTORY).read_text().splitlines()] == [1, 2, 3]


@pytest.mark.parametrize("at", [0, 4, 14])
def test_a_signal_that_is_ignored_stays_so(tmp_path: Path, at: int) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert len(trainer(tmp_path, Mean(stop_at=at)).run()) == 3
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_last_step_that_ruins_the_weights_is_not_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path, Mean())
    run.schedule = LrSchedule(1, run.loader.steps, 0.01, 0.0, 1.0)
    ended = run.loader.steps

    class Ruined(Mean):
        def stepped(self, rate: float) -> None:
            if self.seen[-1] == ended - 1:
                self.network.weight.data += 1e30

    run.objective = Ruined()
    with pytest.raises(UsageError, match=r"the size of the weights became inf by step 5 .* lower --lr"):
        run.run()
    assert not (tmp_path / FILE).exists()


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
