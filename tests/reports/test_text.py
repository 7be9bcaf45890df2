"""Figures and names in words."""

from __future__ import annotations

import pytest

from facemae_cli.reports import text as wording
from facemae_cli.reports.text import Stage, clean, duration, finite, table


def test_the_rate_of_a_resumed_run_leaves_out_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 102.0])
    monkeypatch.setattr(wording.time, "monotonic", lambda: next(times))
    stage = Stage("masking", total=100, unit="faces", done=60)
    stage.done += 20
    assert stage.figures() == "80/100 faces, 10.0 faces/s, 2.0 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7325, "2 h 2 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_finite_turns_what_json_lacks_into_null() -> None:
    value = {"a": [float("nan"), 1.5, (float("inf"), "x")], "b": {"c": float("-inf")}}
    assert finite(value) == {"a": [None, 1.5, [None, "x"]], "b": {"c": None}}


def test_table_aligns_and_stays_on_its_lines() -> None:
    assert table([("a", "1\n2"), ("long", "")]) == "a     1\\n2\nlong"
    assert (
        table([("pack", "pairs", "x"), ("l", "6000", ""), ("", "", "y\t")])
        == "pack  pairs  x\nl     6000\n             y\\t"
    )
    assert table([]) == ""


def test_clean_keeps_letters_of_all_scripts() -> None:
    assert clean("Zoë 李 😀") == "Zoë 李 😀"
