"""What a person sees of progress, on a terminal and without one."""

from __future__ import annotations

import io
import re
import sys
import time
from contextlib import suppress

import pytest
from helpers.screens import terminal

from facemae_cli.commands.console import Console


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_progress_without_a_terminal_is_plain_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.start("masking", 100)
        for _ in range(10):
            clock.now += 1.0
            console.advance(10)
        console.notice("a key was made")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "facemae: masking: 50/100 faces, 10.0 faces/s, 5.0 s left",
        "facemae: masking: 100/100 faces, 10.0 faces/s, in 10 s",
        "facemae: a key was made",
    ]


def test_a_stage_that_ends_early_says_how_far_it_came(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with suppress(KeyboardInterrupt), Console() as console:
        console.start("fitting", 8, unit="steps")
        clock.now += 2.0
        console.advance(1, note="loss 0.53")
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "facemae: fitting: 1/8 steps, 0.5 steps/s, 14 s left, loss 0.53\n"


def test_a_new_stage_ends_the_one_before(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.start("reading", 3)
        console.advance(2)
        console.start("writing", 3)
        clock.now += 1.0
        console.advance(3)
    assert capsys.readouterr().err.splitlines() == [
        "facemae: reading: 2/3 faces",
        "facemae: writing: 3/3 faces, 3.0 faces/s, in 1.0 s",
    ]


def test_on_a_terminal_the_bar_is_live_and_a_plain_line_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Console() as console:
        console.start("masking [bold]", 4)
        console.advance(2, note="[red]")
        console.notice("half [blue] way")
        console.advance(2)
    drawn = screen.getvalue()
    assert "half [blue] way" in drawn
    assert "masking [bold]" in drawn
    assert "[red]" in drawn
    assert "\x1b[?25h" in drawn, "the cursor is shown again"
    assert re.search(r"facemae: masking \[bold\]: 4/4 faces, .*in \d\.\d s, \[red\]\n$", drawn)


def test_a_terminal_is_told_at_once_that_something_is_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = terminal(monkeypatch)
    with Console():
        assert "loading" in err.getvalue()
    assert "\x1b[?25h" in err.getvalue(), "the cursor is shown again"


def test_no_line_of_progress_or_notice_is_wider_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    _, err = terminal(monkeypatch)
    with Console() as console:
        console.start("12/14 embed released by a-network-of-long-name 1234567890", 200_000)
        console.advance(100_000, note="epoch 100/200, loss 0.1234")
        console.notice(f"{'many words ' * 12}and a/path/that/is/not/broken")
        console.advance(100_000)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", err.getvalue()).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= 80
    assert any("a/path/that/is/not/broken" in line for line in lines)
    assert any("embed released by a-network" in line and "100 %" in line for line in lines)
