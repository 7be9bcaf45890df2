"""How long a network is trained, and how fast at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

STEP_FACTOR = 0.1  # what a milestone multiplies the rate by


@dataclass(frozen=True)
class LrSchedule:
    """Linear warm-up to `lr`, then `shape`: a `cosine` to zero, `steps` (a tenth from each milestone on), `poly`,
    (1 - t)^power, or `wsd`: level, and 1 - sqrt(t) in the last `cooldown_epochs` (arXiv 2405.18392).

    `warmup_epochs`, `cooldown_epochs` and `milestones` are in epochs and may be fractions; `clip` is the largest norm
    of a gradient.
    """

    epochs: int
    steps_per_epoch: int
    lr: float
    warmup_epochs: float
    clip: float
    shape: str = "cosine"
    milestones: Sequence[float] = ()
    power: float = 2.0
    cooldown_epochs: float = 0.0

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def level_steps(self) -> int:
        """Steps of `wsd` before its rate begins to fall: those that a longer run would begin with as well."""
        return self.steps - round(self.cooldown_epochs * self.steps_per_epoch)

    def begins_as(self, other: LrSchedule, steps: int) -> bool:
        """Whether the first `steps` steps have the rates that `other` gives them."""
        return steps <= other.steps and all(self.rate(step) == other.rate(step) for step in range(steps))

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ... of the whole run."""
        warmup = min(self.warmup_epochs * self.steps_per_epoch, self.steps - 1)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if self.shape == "steps":
            passed = sum(step >= round(at * self.steps_per_epoch) for at in self.milestones)
            return self.lr * STEP_FACTOR**passed
        if self.shape == "wsd":
            falling = max(0, step - self.level_steps) / max(1, self.steps - self.level_steps)
            return self.lr * (1 - math.sqrt(falling))
        done = (step - warmup) / max(1.0, self.steps - warmup)
        return self.lr * ((1 - done) ** self.power if self.shape == "poly" else 0.5 * (1 + math.cos(math.pi * done)))
