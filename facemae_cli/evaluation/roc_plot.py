"""A ROC as a plot shows it: on a logarithmic scale of false alarms, with Wilson's 95 % interval at each point."""

from __future__ import annotations

import math

import numpy as np

from facemae_cli.evaluation.metrics import Floats, Roc, wilson_band
from facemae_cli.reports.plots import Axis, Line, thinned


def first_alarm(negatives: int) -> float:
    """Where the scale begins: at the rate of a single false alarm, and not above a tenth."""
    return min(0.1, 1 / negatives)


def alarm_axis(label: str, first: float) -> Axis:
    """False alarms from `first` on, marked at powers of ten."""
    decades = [10.0**-power for power in range(math.floor(-math.log10(first) + 1e-9) + 1)]
    return Axis(label, (first, 1.0), log=True, ticks=decades)


def roc_line(label: str, curve: Roc, positives: int, first: float) -> Line:
    """The curve from `first` on, of so many `positives`."""
    x, y = _from(curve, first)
    chosen = thinned(x, log=True)
    x, y = x[chosen], y[chosen]
    low, high = wilson_band(y, positives)
    return Line(label, x, y, low, high, steps=True)


def _from(curve: Roc, first: float) -> tuple[Floats, Floats]:
    """The curve from `first` on: what is reached without a false alarm holds until the first one."""
    accepted = curve.far > 0
    x, y = curve.far[accepted], curve.tar[accepted]
    if x[0] > first:
        x, y = np.insert(x, 0, first), np.insert(y, 0, curve.tar[~accepted][-1])
    return x, y
