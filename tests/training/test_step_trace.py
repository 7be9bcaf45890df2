"""Figures step by step: means, thinned, and the same after a stop."""

from __future__ import annotations

import json

import pytest

from facemae_cli.training import step_trace
from facemae_cli.training.step_trace import StepTrace


def filled(first: int, last: int, trace: StepTrace | None = None) -> StepTrace:
    trace = trace or StepTrace()
    for step in range(first, last + 1):
        trace.add(step, {"loss": float(step), "rm": 2.0 * step})
    return trace


def test_a_short_run_keeps_each_step() -> None:
    assert filled(1, 2).points == [{"step": 1, "loss": 1.0, "rm": 2.0}, {"step": 2, "loss": 2.0, "rm": 4.0}]


def test_a_long_run_keeps_means_over_more_steps_and_no_more_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "LIMIT", 2)
    trace = filled(1, 11)
    # eight points become four at step 4, two at step 8; from then on a point is of four steps
    assert trace.stride == 4
    assert trace.points == [{"step": 4, "loss": 2.5, "rm": 5.0}, {"step": 8, "loss": 6.5, "rm": 13.0}]
    assert filled(12, 12, trace).points[-1] == {"step": 12, "loss": 10.5, "rm": 21.0}
    assert len(filled(1, 1000).points) < 4


def test_a_run_that_was_stopped_anywhere_goes_on_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_trace, "LIMIT", 2)
    for stop in range(1, 30):
        kept = json.loads(json.dumps(filled(1, stop).state()))
        went_on = filled(stop + 1, 30, StepTrace.of(kept)).state()
        assert json.dumps(went_on) == json.dumps(filled(1, 30).state())  # to the byte: 1 and 1.0 are equal, and are two


@pytest.mark.parametrize("state", [{}, {"stride": 1, "points": [1], "sums": {}, "counted": 0}])
def test_a_state_of_another_form_is_an_error(state: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        StepTrace.of(state)
