"""What people and machines read: progress, results, refused inputs."""

from __future__ import annotations

import io
import json
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from facemae_cli.commands import console as module
from facemae_cli.commands.console import Console, write_line
from facemae_cli.data.faces import Refusal
from facemae_cli.errors import AllRefused


@dataclass(frozen=True)
class Answer:
    faces: float = 12.0

    def as_json(self) -> dict[str, Any]:
        return {"faces": self.faces}

    def summary(self) -> list[tuple[str, str]]:
        return [("faces", f"{self.faces:.0f}"), ("mask ratio", "0.75")]


@dataclass(frozen=True)
class Counted(Answer):
    refused: list[Refusal] = field(default_factory=list)


def refusals(count: int) -> list[Refusal]:
    return [Refusal(f"raw/p/{i}.jpg", "truncated" if i % 2 else "too-large", "no end marker") for i in range(count)]


@dataclass(frozen=True)
class Gated(Counted):
    failed_gates: list[str] = field(default_factory=list)

    def measured(self) -> list[list[str]]:
        return [["pack", "pairs"], ["lfw", "6000"]]


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_result_is_a_table_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console().finish(Answer()) == 0
    out, err = capsys.readouterr()
    assert out == "faces       12\nmask ratio  0.75\n"
    assert err == ""


def test_json_is_all_that_stdout_holds(capsys: pytest.CaptureFixture[str]) -> None:
    code = Console(json=True).finish(Counted(refused=refusals(2)))
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert code == 3
    assert value["faces"] == 12.0
    assert value["refused"][1] == {"where": "raw/p/1.jpg", "reason": "truncated", "detail": "no end marker"}
    assert "refused 2 of the inputs: 1 too-large, 1 truncated" in err


def test_json_of_a_task_that_refuses_nothing_by_nature_has_no_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Console(json=True).finish(Answer())
    assert json.loads(capsys.readouterr().out) == {"faces": 12.0, "settings": {}}


def test_settings_in_use_stand_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    token = module.settings_in_use.set({"ratio": 0.5})
    try:
        Console(json=True).finish(Answer())
    finally:
        module.settings_in_use.reset(token)
    assert json.loads(capsys.readouterr().out)["settings"] == {"ratio": 0.5}


def test_what_was_measured_stands_above_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console().finish(Gated()) == 0
    assert capsys.readouterr().out == "pack  pairs\nlfw   6000\n\nfaces       12\nmask ratio  0.75\n"


def test_a_failed_gate_is_a_line_and_code_1_whatever_was_refused(capsys: pytest.CaptureFixture[str]) -> None:
    gates = ["lfw: accuracy 0.91 is under 0.95", "cfp\nfp: accuracy 0.8 is under 0.9"]
    assert Console().finish(Gated(refused=refusals(1), failed_gates=gates)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2] == "facemae: gate failed: lfw: accuracy 0.91 is under 0.95"
    assert lines[-1] == r"facemae: gate failed: cfp\nfp: accuracy 0.8 is under 0.9"
    assert any("refused 1 of the inputs" in line for line in lines)


def test_with_json_a_failed_gate_leaves_stdout_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console(json=True).finish(Gated(failed_gates=["lfw"])) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["faces"] == 12.0
    assert err == "facemae: gate failed: lfw\n"


def test_many_refusals_are_counted_but_not_all_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert Console().finish(Counted(refused=refusals(23))) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("facemae: refused: raw/p/")]) == 20
    assert lines[20] == "facemae: ... and 3 more, see --refused FILE"
    assert lines[21] == "facemae: refused 23 of the inputs: 12 too-large, 11 truncated"


def test_a_name_cannot_break_a_line_or_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = Refusal("raw/a\nfacemae: all is well\x1b[2J\udc80😀\u202e.jpg", "corrupt", "bad")
    Console().finish(Counted(refused=[hostile]))
    first = capsys.readouterr().err.splitlines()[0]
    assert first == r"facemae: refused: raw/a\nfacemae: all is well\x1b[2J\udc80😀\u202e.jpg: corrupt: bad"


def test_a_stream_that_cannot_hold_a_letter_gets_an_escape() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1")
    write_line("café 😀", stream)
    assert raw.getvalue() == "café \\U0001f600\n".encode("latin-1")


def test_inputs_that_are_all_refused_are_listed_with_the_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "refused.txt"
    with suppress(AllRefused), Console(refused=file):
        raise AllRefused("every input is refused", refusals(2))
    assert len(file.read_text().splitlines()) == 2
    assert "refused: raw/p/1.jpg: truncated: no end marker" in capsys.readouterr().err


def test_refused_file_is_written_for_its_owner_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "refused.txt"
    Console(refused=file).finish(Counted(refused=refusals(30)))
    assert file.stat().st_mode & 0o777 == 0o600
    assert "raw/p/29.jpg" in file.read_text()
    assert f"... and 10 more, see {file}" in capsys.readouterr().err


def test_refused_file_is_written_when_nothing_was_refused(tmp_path: Path) -> None:
    file = tmp_path / "refused.txt"
    assert Console(refused=file).finish(Counted()) == 0
    assert file.exists()


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


class Screen(io.StringIO):
    """A terminal of 80 columns that keeps what is written."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[Screen, Screen]:
    """stdout and stderr become terminals; not a fixture, since pytest puts its own in their place once more."""
    out, err = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return out, err


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


@dataclass(frozen=True)
class Judged(Gated):
    def summary(self) -> list[tuple[str, str]]:
        return [("model", "mine"), ("verdict", "failed"), ("because", "0.7 is over 0.5"), ("gate", "lfw: passed")]


def test_the_verdict_comes_first_and_on_a_terminal_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, err = terminal(monkeypatch)
    Console().finish(Judged(failed_gates=["lfw"]))
    red, green, end = "\x1b[1;31m", "\x1b[1;32m", "\x1b[0m"
    assert shown.getvalue().splitlines()[:5] == [
        f"{red}verdict  failed{end}",
        f"{red}because  0.7 is over 0.5{end}",
        f"{green}gate     lfw: passed{end}",
        "",
        "pack  pairs",
    ]
    assert err.getvalue() == f"{red}facemae: gate failed: lfw{end}\n"
    monkeypatch.setenv("NO_COLOR", "1")
    shown.truncate(0)
    Console().finish(Judged())
    assert "\x1b" not in shown.getvalue()


def test_without_a_terminal_there_is_no_colour_and_no_line_is_broken(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.notice("many words " * 20 + "end")
        console.finish(Judged())
    out, err = capsys.readouterr()
    assert out.startswith("verdict  failed\nbecause  0.7 is over 0.5\ngate     lfw: passed\n\npack  pairs\n")
    assert len(err.splitlines()) == 1
    assert "\x1b" not in out + err


def test_ranks_above_the_first_are_silent(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with Console(json=True) as console:
        console.start("masking", 1)
        console.advance()
        console.notice("a key was made")
        assert console.finish(Counted(refused=refusals(1))) == 3
        assert console.finish(Gated(failed_gates=["lfw"])) == 1
    assert capfd.readouterr() == ("", "")


def test_advance_without_a_stage_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    Console().advance(3)
    assert capsys.readouterr().err == ""
