"""Help: groups, metavars, defaults and an example, the same in every command and at every width."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from facemae_cli import app as module
from facemae_cli.data.open import ACCEPTED

PROGRAM = typer.main.get_command(module.app)
COMMANDS: dict[str, Any] = PROGRAM.commands  # type: ignore[attr-defined]
METAVARS = re.compile(
    r"DATA|FILE|DIR|MODEL|PACK|N|SHARE|NUMBER|WEIGHT|EPOCHS|RATE|SIGMA|COSINE|STRATEGY|RRGGBB"
    r"|[A-Za-z0-9]+(\|[A-Za-z0-9]+)+|K\[,K...\]|N\[,N...\](,all)?|\[PACK=\]SHARE"
)
SHORT = {"-i": {"--in", "--data"}, "-o": {"--out"}, "-m": {"--model"}, "-k": {"--key"}}


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert module.main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_options_stand_in_groups_and_alike(name: str) -> None:
    for param in COMMANDS[name].params:
        assert param.rich_help_panel, f"facemae {name} {param.opts} is in no group"
        assert getattr(param, "is_flag", False) or METAVARS.fullmatch(param.metavar or ""), param.opts


def test_a_short_flag_means_one_thing() -> None:
    for name, command in COMMANDS.items():
        for param in command.params:
            for flag in (flag for flag in param.opts if not flag.startswith("--")):
                assert param.param_type_name == "argument" or SHORT[flag] & set(param.opts), (name, flag)
    for long, short in (("--in", "-i"), ("--out", "-o"), ("--model", "-m"), ("--key", "-k")):
        for name, command in COMMANDS.items():
            assert all(short in param.opts for param in command.params if long in param.opts), (name, long)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_an_example_that_is_understood(capsys: pytest.CaptureFixture[str], name: str) -> None:
    _, heading, example = shown(capsys, name, "--help").rpartition("\nExample:\n")
    words = shlex.split(example.replace("\\\n", ""))
    assert heading
    assert words[:2] == ["facemae", name]
    COMMANDS[name].make_context(name, words[2:], parent=typer.Context(PROGRAM))


@pytest.mark.parametrize(
    ("name", "option", "says"),
    [
        ("mask", "input", ACCEPTED),
        ("mask", "out", "X.parquet"),
        ("reconstruct", "input", ACCEPTED),
        ("reconstruct", "out", "X.parquet"),
        ("fit", "data", ACCEPTED),
        ("train-recognizer", "data", ACCEPTED),
        ("leakage", "original", ACCEPTED),
        ("leakage", "released", ACCEPTED),
        ("convert", "out", "X.parquet"),
        ("withdraw", "datasets", ".parquet"),
    ],
)
def test_the_help_names_every_form_that_a_command_takes(name: str, option: str, says: str) -> None:
    assert [param for param in COMMANDS[name].params if param.name == option and says in param.help]


@pytest.mark.parametrize("columns", ["50", "80", "140"])
@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_its_width_and_says_a_default_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = shown(capsys, name, "--help")
    assert max(map(len, text.splitlines())) <= int(columns)
    plain = " ".join(text.split())
    for param in COMMANDS[name].params:
        entry = plain.partition(f" {param.opts[0]} ")[2].partition("]")[0]
        assert entry.count("default") <= 1, entry
    assert "[default: (" not in plain


def test_a_default_is_said_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    mask, fit, verify = (shown(capsys, name, "--help") for name in ("mask", "fit", "verify"))
    assert (
        "-i, --in DATA       Raw faces: a folder of images, a .rec, .parquet, .zip or .tar.  [default: raw]\n"
        in mask.replace("-i, --in DATA   ", "-i, --in DATA       ")
    )
    assert re.search(r"--epochs N +Passes over the faces; 0: none\.  \[default: the card's\]\n", fit)
    assert re.search(r"--pairs PACK +A \.bin.*repeatable\.\s+\[required\]\n", verify)
    assert re.search(r"--overwrite +Replace an output that exists\.\n", mask)


def test_an_old_spelling_works_and_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--allow-phi" not in shown(capsys, "leakage", "--help")
    parsed = [
        COMMANDS["leakage"].make_context("leakage", [flag], parent=typer.Context(PROGRAM)).params
        for flag in ("--allow-phi", "--allow-shared-ancestor")
    ]
    assert parsed[0] == parsed[1]
    assert parsed[0] != COMMANDS["leakage"].make_context("leakage", [], parent=typer.Context(PROGRAM)).params


def test_help_is_a_word_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "help") == shown(capsys, "--help")
    assert shown(capsys, "help", "mask") == shown(capsys, "mask", "--help")
    assert module.main(["help", "blur"]) == 2
    assert "there is no command 'blur'" in capsys.readouterr().err


def test_the_demo_comes_first() -> None:
    assert next(iter(COMMANDS)) == "demo"
