"""What people and machines read: results, refused inputs, failed gates."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.screens import terminal

from facemae_cli.commands.console import Console, settings_in_use
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
    token = settings_in_use.set({"ratio": 0.5})
    try:
        Console(json=True).finish(Answer())
    finally:
        settings_in_use.reset(token)
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
