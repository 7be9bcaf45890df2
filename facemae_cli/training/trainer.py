"""The one training loop: steps, schedule, checkpoints and history, whatever is trained."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from facemae_cli.data.files import write_whole
from facemae_cli.errors import InputError, UsageError
from facemae_cli.runtime import distributed
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.signals import Stopped
from facemae_cli.training.checkpoint import FILE as CHECKPOINT
from facemae_cli.training.checkpoint import Checkpoint, shown
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.step_trace import StepTrace
from facemae_cli.training.weight_average import WeightAverage

STABLE = "stable.safetensors"  # the checkpoint before the rate of `wsd` falls, from where a longer run goes on
HISTORY = "history.jsonl"
CHECK_EVERY = 8  # steps between two looks at the loss; looking makes a GPU wait
CHECKPOINT_SECONDS = 120.0
PICTURE_SECONDS = 20.0  # pictures take about a second, which epochs of a small run do not


class Objective(ABC):
    """What the loop trains: a network, a loss for a batch, and figures on held-out faces."""

    network: nn.Module

    @abstractmethod
    def loss(self, forward: Callable[..., Any], batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """Scalars by name, `loss` among them; `forward` is the network, under DDP where there are several ranks.

        What it samples at random follows from epoch, step and sample alone, so that any step can be repeated.
        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Figures on held-out faces."""

    @abstractmethod
    def picture(self, folder: Path, history: list[dict[str, Any]], steps: list[dict[str, float]]) -> None:
        """Write what a person would look at into the folder: `history` has a dict an epoch, `steps` means over few."""

    def stepped(self, rate: float) -> None:
        """The optimizer has taken its step at learning rate `rate`; what the objective learns itself follows."""
        return

    def state(self) -> dict[str, Tensor]:
        """What the objective learns itself, for the checkpoint. Called on every rank; the first one's is kept."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""
        return


@dataclass
class Trainer:
    """One training run in one folder. `run()` starts it, or goes on from the folder's checkpoint.

    Where there is an `average`, it is what is measured and pictured, and what `averaged()` shows of the network.
    """

    objective: Objective
    loader: FaceLoader
    schedule: LrSchedule
    optimizer: torch.optim.Optimizer
    folder: Path
    device: torch.device
    settings: dict[str, Any]
    progress: Progress = SILENT
    label: str = "training"
    average: WeightAverage | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    trace: StepTrace = field(default_factory=StepTrace)
    _sums: dict[str, float] = field(default_factory=dict)
    _counted: int = 0
    _pictured: float = -math.inf

    def run(self, resume: bool = False) -> list[dict[str, Any]]:
        """Train to the end of the schedule; returns the history, one dict an epoch.

        With `resume` a run that was killed before its first checkpoint begins again.
        Raises UsageError where the loss or the weights stop being numbers, or where the checkpoint is of another run;
        Stopped where a signal asked this rank or another one to stop, once the checkpoint is saved.
        """
        if resume:
            self._restore()
        forward = self._forward()
        total, faces = self.schedule.steps, self.loader.batch_size
        if not total:
            self.history = [{"epoch": 0, "step": 0, **self._validation()}]
            self.save()
        if self.step == total:
            self._picture()  # the run may have been killed on it
        if distributed.rank() == 0:
            self.progress.start(self.label, total * faces, done=self.step * faces)
        stopped = False
        with postponed_signals() as stopping:
            while self.step < total and not stopped:
                stopped = self._epoch(forward, stopping)
        if stopped:  # another rank was told to, or whoever takes the signal here went on: nothing is finished
            raise Stopped(signal.SIGTERM)
        return self.history

    def _forward(self) -> nn.Module:
        if distributed.world() == 1:
            return self.objective.network
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(self.objective.network, device_ids=ids)

    def _epoch(self, forward: nn.Module, stopping: Callable[[], bool]) -> bool:
        """One epoch, or what is left of it. Whether the ranks agreed to stop in it, or at its end."""
        steps = self.schedule.steps_per_epoch
        epoch, first = divmod(self.step, steps)
        saved, pending = time.monotonic(), []
        self.objective.network.train()
        stop = False
        for batch in self.loader.batches(epoch, first):
            pending.append(self._step(forward, batch, epoch))
            last = self.step % steps == 0
            if last or len(pending) == CHECK_EVERY:
                self._count(pending)
                pending = []
            stop = self._agree(stopping())
            due = stop or self._level_ends()
            if not last and (due or self._agree(time.monotonic() - saved > self.checkpoint_seconds)):
                self._count(pending)
                self.save()
                saved, pending = time.monotonic(), []
            if stop and not last:
                return True
        self._finish_epoch(epoch)
        return stop

    def _step(self, forward: nn.Module, batch: Batch, epoch: int) -> dict[str, Tensor]:
        rate = self.schedule.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self.objective.loss(forward, batch, epoch, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        terms["loss"].backward()
        nn.utils.clip_grad_norm_(self.objective.network.parameters(), self.schedule.clip)
        self.optimizer.step()
        self.objective.stepped(rate)
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        return {name: value.detach() for name, value in terms.items()}

    def _count(self, pending: list[dict[str, Tensor]]) -> None:
        """Add the figures of the steps since the last look; a loss that is not a number ends the run here."""
        for number, terms in enumerate(pending, self.step - len(pending) + 1):
            figures = {name: float(value) for name, value in terms.items()}
            for name, value in figures.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._counted += 1
            self.trace.add(number, figures)
        loss = self._sums.get("loss", 0.0)
        self._require_finite("loss", loss)
        if distributed.rank() == 0 and pending:
            self.progress.advance(
                len(pending) * self.loader.batch_size, f"{self._epoch_words()}, loss {loss / self._counted:.4f}"
            )

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            rate = self.schedule.rate(self.step - 1)
            raise UsageError(
                f"the {what} became {value} by step {self.step} at learning rate {rate:.2g}; lower --lr, "
                "or look at the data; --resume would go on from the last good checkpoint"
            )

    def _epoch_words(self) -> str:
        """Which epoch the last step was of."""
        steps = self.schedule.steps_per_epoch
        return f"epoch {-(-self.step // steps)}/{self.schedule.steps // steps}"

    def _finish_epoch(self, epoch: int) -> None:
        figures = {name: value / self._counted for name, value in self._sums.items()}
        line: dict[str, Any] = {"epoch": epoch + 1, "step": self.step, "lr": self.schedule.rate(self.step - 1)}
        for name, value in figures.items():
            line[name] = distributed.mean_over_ranks(value, self.device)
        if distributed.rank() == 0:
            self.progress.advance(0, f"{self._epoch_words()}, validating")
        # What the last step made of the network no loss has shown yet; a square beyond fp32 is as ruined as infinity.
        self._require_finite("size of the weights", float(nn.utils.get_total_norm(self.objective.network.parameters())))
        measured = self._validation()
        for name, value in measured.items():
            self._require_finite(name, value)
        self.history.append(line | measured)
        self._sums, self._counted = {}, 0
        self.save()
        if self.step == self.schedule.steps or time.monotonic() - self._pictured > PICTURE_SECONDS:
            self._picture()

    def _validation(self) -> dict[str, float]:
        """What faces held out say of the weights as they are."""
        self.objective.network.eval()
        with self.averaged():
            return {f"val_{name}": value for name, value in self.objective.validate().items()}

    def _picture(self) -> None:
        if distributed.rank() == 0:
            self.objective.network.eval()
            with self.averaged():
                self.objective.picture(self.folder, self.history, self.trace.points)
        self._pictured = time.monotonic()

    def averaged(self) -> AbstractContextManager[None]:
        """The network has its averaged weights while the context lasts, where they are averaged."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _level_ends(self) -> bool:
        """Whether the rate begins to fall at the next step, after having been level."""
        return self.step == self.schedule.level_steps < self.schedule.steps

    def save(self) -> None:
        """Write checkpoint and history; on a kill at any moment the older pair or the newer one is there."""
        learnt = self.objective.state()
        if distributed.rank():
            return
        state = {"step": self.step, "sums": self._sums, "counted": self._counted, "history": self.history}
        state |= {"trace": self.trace.state(), "schedule": asdict(self.schedule)}
        average = {} if self.average is None else self.average.state()
        checkpoint = Checkpoint(self.settings, state, learnt, average)
        for file in (STABLE, CHECKPOINT) if self._level_ends() else (CHECKPOINT,):
            checkpoint.save(self.folder, self.objective.network, self.optimizer, file)
        self._write_history()

    def _write_history(self) -> None:
        """One JSON line an epoch, those of the checkpoint. No timings: equal runs write equal bytes."""
        if distributed.rank() == 0:
            write_whole(self.folder / HISTORY, "".join(json.dumps(line) + "\n" for line in self.history))

    def _restore(self) -> None:
        if not (self.folder / CHECKPOINT).is_file():
            self.progress.notice(f"{self.folder} holds no {CHECKPOINT}: there is nothing to go on from, so this begins")
            return
        if not self._go_on_from(CHECKPOINT):
            if not ((self.folder / STABLE).is_file() and self._go_on_from(STABLE)):
                raise UsageError(
                    f"{self.folder / CHECKPOINT}: its learning rate went another way than this run's length has it; "
                    "say the epochs and cooldown it was made with to --resume, or start again with --overwrite"
                )
            self.progress.notice(f"goes on from step {self.step}, before the learning rate fell")
        self._write_history()

    def _go_on_from(self, file: str) -> bool:
        """Take a checkpoint's state; False where its steps had other rates than this run's. Raises InputError."""
        checkpoint = Checkpoint.load(self.folder, self.settings, self.objective.network, self.optimizer, file)
        try:
            self.objective.restore(checkpoint.learnt)
            if self.average is not None:
                self.average.restore(checkpoint.average)
            state = dict(checkpoint.state)
            told = state.pop("schedule", None)  # none: an older version's, of a schedule that cannot be changed
            if told is not None and not LrSchedule(**told).begins_as(self.schedule, state["step"]):
                return False
            self._count_on(**state)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
            path = self.folder / file
            raise InputError(f"{path}: not of this run ({shown(error)}); start again with --overwrite") from None
        return True

    def _count_on(
        self,
        step: int,
        sums: dict[str, float],
        counted: int,
        history: list[dict[str, Any]],
        trace: dict[str, Any] | None = None,
    ) -> None:
        """Go on from a checkpoint's counters. Raises TypeError and ValueError where they are not."""
        if not (isinstance(step, int) and isinstance(counted, int) and 0 <= counted <= step <= self.schedule.steps):
            raise ValueError(f"step {step!r} of {self.schedule.steps}, {counted!r} of them since the last epoch")
        self.step, self._counted, self.history = step, counted, list(history)
        self._sums = {str(name): float(value) for name, value in dict(sums).items()}
        self.trace = StepTrace() if trace is None else StepTrace.of(trace)  # none: an older version's checkpoint

    def _agree(self, mine: bool) -> bool:
        """Whether any rank says so: ranks must stop and save at the same step."""
        return mine if distributed.world() == 1 else distributed.mean_over_ranks(float(mine), self.device) > 0


@contextmanager
def postponed_signals() -> Iterator[Callable[[], bool]]:
    """Hold back SIGINT and SIGTERM until the step is over; yields whether one has come. It is delivered on leaving. One
    that is ignored, as SIGINT in a script's background, stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if came:  # the second time a person means it
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)
        came.append(number)

    numbers = (number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])
