"""Figures and names in words."""

from __future__ import annotations

import pytest

from facemae_cli.reports import text
from facemae_cli.reports import text as wording
from facemae_cli.reports.text import (
    Stage,
    clean,
    counted,
    duration,
    exact_percent,
    finite,
    percent,
    percent_interval,
    rate,
    table,
    tables,
)


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


def test_one_is_not_many() -> None:
    assert [counted(count, "epoch") for count in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]


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


def test_percentages_keep_what_would_seem_nothing_or_all() -> None:
    shares = (0.0, 0.074, 0.0022, 0.0000221, 0.994, 0.9997, 1.0, -0.05, -1e-12, 0.0095)
    said = ["0.0 %", "7.4 %", "0.22 %", "0.0022 %", "99.4 %", "99.97 %", "100.0 %", "−5.0 %", "0.0 %", "0.95 %"]
    assert [percent(value) for value in shares] == said
    assert percent_interval((0.066, 0.082)) == "6.6 to 8.2 %"


def test_percentages_of_as_many_digits_as_are_asked_for() -> None:
    assert [percent(0.99446, 2), percent(1.0, 0), percent(-0.0001, 2)] == ["99.45 %", "100 %", "−0.01 %"]
    assert percent_interval((0.1, 0.25), 2) == "10.00 to 25.00 %"
    assert percent(None) == percent_interval(None) == percent_interval(None, 2) == "–"


def test_a_stage_says_as_much_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(text.time, "monotonic", lambda: now)
    stage = text.Stage("5/8 training", 2000, "faces", 0)
    stage.done, stage.note, now = 500, "epoch 3/10, loss 0.5", 110.0
    whole = "500/2000 faces, 50.0 faces/s, 30 s left, epoch 3/10, loss 0.5"
    assert stage.figures() == stage.figures(len(whole)) == whole
    assert stage.figures(len(whole) - 1) == "500/2000 faces, 30 s left, epoch 3/10, loss 0.5"
    assert stage.figures(40) == "30 s left, epoch 3/10, loss 0.5"
    assert stage.figures(10) == "30 s left"
    assert stage.bar(120) == f"5/8 training  {'━' * 6}{'─' * 18}  25 %  {whole}"
    for width in range(20, 130):
        assert len(stage.bar(width)) <= width


def test_the_last_cell_of_a_table_is_broken_where_there_is_no_room() -> None:
    rows = [("a", "some words and a/long/path/that/stays/whole"), ("label", "b")]
    assert table(rows, 40) == "a      some words and\n       a/long/path/that/stays/whole\nlabel  b"
    assert table(rows, 20) == table(rows), "too narrow to be of use"


def test_a_table_that_is_too_wide_is_shown_in_parts() -> None:
    rows = [["who", "first", "second"], ["a", "1", "2"], ["b", "–", "3"]]
    assert tables(rows) == "who  first  second\na    1      2\nb    –      3"
    assert tables(rows, 18) == tables(rows)
    assert tables(rows, 17) == "who  first\na    1\n\nwho  second\na    2\nb    3"
    assert tables(rows, 1) == tables(rows, 17)


def test_a_limit_is_said_as_it_was_set_and_a_rate_with_its_interval() -> None:
    assert [exact_percent(share) for share in (0.3, 0.07, 0.001, 1, 0.125)] == [
        "30 %",
        "7 %",
        "0.1 %",
        "100 %",
        "12.5 %",
    ]
    assert rate(0.074, (0.066, 0.082)) == "7.4 % (6.6 to 8.2)"
    assert rate(None, None) == "–"


def test_the_end_of_an_interval_near_100_is_rounded() -> None:
    ends = [(0.8, 0.999998), (0.8, 0.99993), (0.99996, 1.0), (0.000022, 0.002)]
    assert [percent_interval(each) for each in ends] == [
        "80.0 to 100.0 %", "80.0 to 99.99 %", "100.0 to 100.0 %", "0.0022 to 0.20 %",
    ]  # fmt: skip
