"""Accuracy by group: whether an embedder tells some people apart less well than others.

A pair belongs to a group where both of its faces do, and is judged by the threshold of its fold, which is chosen on
everybody's pairs, as it would be in use (Wang et al., RFW, ICCV 2019, compare groups in this way).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.groups import Group
from facemae_cli.evaluation.metrics import Floats, Interval, Verification, called_same, wilson
from facemae_cli.reports.text import percent, percent_interval

FEWEST = 100  # pairs: of fewer, a rate and its interval say too little to name the group as better or worse


@dataclass(frozen=True)
class GroupAccuracy(Group):
    """The pairs of one group: `column` and `value` say which.

    `accuracy`: the share judged correctly; `false_accepts`: of the pairs of two people; `false_rejects`: of the pairs
    of one person; each None without such pairs, with Wilson's 95 % intervals.
    """

    fewest = FEWEST
    counted = "pairs"
    column: str
    value: str
    pairs: int
    positives: int
    accuracy: float | None
    interval: Interval | None
    false_accepts: float | None
    false_accepts_interval: Interval | None
    false_rejects: float | None
    false_rejects_interval: Interval | None

    @property
    def size(self) -> int:
        """How many pairs are in it."""
        return self.pairs

    @property
    def harm(self) -> float | None:
        """The lower the accuracy, the higher."""
        return None if self.accuracy is None else -self.accuracy

    def in_words(self) -> str:
        """The accuracy with its interval."""
        return (
            f"{percent(self.accuracy, 2)} of {self.pairs} pairs are judged correctly "
            f"(95 % interval {percent_interval(self.interval, 2)})"
        )

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "column": self.column,
            "group": self.value,
            "pairs": self.pairs,
            "positives": self.positives,
            "accuracy": self.accuracy,
            "interval": self.interval and list(self.interval),
            "false_accept_rate": self.false_accepts,
            "false_accept_interval": self.false_accepts_interval and list(self.false_accepts_interval),
            "false_reject_rate": self.false_rejects,
            "false_reject_interval": self.false_rejects_interval and list(self.false_rejects_interval),
            "too_small": self.too_small,
        }


def by_group(
    verification: Verification,
    distances: Floats,
    same: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    columns: Sequence[Column],
) -> list[GroupAccuracy]:
    """Each group of each column: (p,) squared `distances` that were verified, whether each pair is of the `same`
    person, and (p, 2) `pairs` of faces that the columns' codes number. Nothing where there were no folds.
    """
    if not verification.folds:
        return []
    called, rates = called_same(verification, distances), []
    for column in columns:
        left, right = column.codes[pairs].T
        for code, value in enumerate(column.values):
            inside = (left == code) & (right == code)
            one, two = inside & same, inside & ~same
            counts = [
                _rate(int((called == same)[inside].sum()), int(inside.sum())),
                _rate(int(called[two].sum()), int(two.sum())),
                _rate(int((~called)[one].sum()), int(one.sum())),
            ]
            flat = (figure for rate in counts for figure in rate)
            rates.append(GroupAccuracy(column.name, value, int(inside.sum()), int(one.sum()), *flat))  # type: ignore[arg-type]
    return rates


def _rate(count: int, total: int) -> tuple[float | None, Interval | None]:
    return (count / total, wilson(count, total)) if total else (None, None)
