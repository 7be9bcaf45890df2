"""The figures of a run step by step, thinned so that a long run takes no more room than a short one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LIMIT = 1024  # points kept at most; a curve has fewer pixels


@dataclass
class StepTrace:
    """Means over `stride` steps each: `points` of `step` (the last of them) and figures by name.

    What it holds follows from the steps alone, so that a resumed run's equals the unbroken one's.
    """

    stride: int = 1
    points: list[dict[str, float]] = field(default_factory=list)
    _sums: dict[str, float] = field(default_factory=dict)
    _counted: int = 0

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes in the figures of `step`, the one after the last."""
        for name, value in figures.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._counted += 1
        if self._counted == self.stride:
            self.points.append({"step": step, **{name: value / self.stride for name, value in self._sums.items()}})
            self._sums, self._counted = {}, 0
            if len(self.points) == 2 * LIMIT:
                self._halve()

    def _halve(self) -> None:
        pairs = zip(self.points[::2], self.points[1::2], strict=True)
        self.points = [
            {name: later[name] if name == "step" else (earlier[name] + later[name]) / 2 for name in later}
            for earlier, later in pairs
        ]
        self.stride *= 2

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON types."""
        return {"stride": self.stride, "points": self.points, "sums": self._sums, "counted": self._counted}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> StepTrace:
        """What `state` gave. Raises KeyError, TypeError and ValueError where it is of another form."""
        points = [{**_floats(point), "step": int(point["step"])} for point in state["points"]]
        return cls(int(state["stride"]), points, _floats(state["sums"]), int(state["counted"]))


def _floats(figures: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(value) for name, value in figures.items()}
