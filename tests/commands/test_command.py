"""A command is the options of a task: what reaches the task, and what stays with the console."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import typer

import facemae_cli
from facemae_cli import app as module
from facemae_cli.commands.command import NOT_OF_THE_TASK
from facemae_cli.networks import zoo

COMMANDS: dict[str, Any] = typer.main.get_command(module.app).commands  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Nothing:
    """A result without news."""

    def as_json(self) -> dict[str, Any]:
        return {}

    def summary(self) -> list[tuple[str, str]]:
        return []


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The calls of tasks, in place of the tasks."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def stand_in(name: str) -> Callable[..., Nothing]:
        return lambda **options: calls.append((name, options)) or Nothing()

    for name in COMMANDS:
        task = name.replace("-", "_")
        monkeypatch.setattr(facemae_cli, task, stand_in(task), raising=False)
    return calls


def accepted_by(task: Any, command: Any) -> bool:
    """Whether whatever the type `command` allows, the type `task` allows."""
    if task == command:
        return True
    if get_origin(command) in (Union, types.UnionType):
        return all(accepted_by(task, each) for each in get_args(command))
    if get_origin(task) in (Union, types.UnionType):
        return any(accepted_by(each, command) for each in get_args(task))
    if get_origin(command) is Literal:
        return all(accepted_by(task, type(value)) for value in get_args(command))
    if get_origin(command) is list:
        inner = get_origin(task) in (list, Sequence)
        return inner and accepted_by(get_args(task)[0], get_args(command)[0])
    return task is float and command is int


@pytest.mark.parametrize("name", COMMANDS)
def test_a_task_takes_what_its_command_can_hold(name: str) -> None:
    """What mypy would check, were the call written out."""
    task = get_type_hints(getattr(facemae_cli, name.replace("-", "_")))
    command = get_type_hints(inspect.unwrap(COMMANDS[name].callback))
    for option, held in command.items():
        if option not in (*NOT_OF_THE_TASK, "return"):
            assert accepted_by(task[option], held), f"{name}: {option}: {held} is given, {task[option]} is taken"


@pytest.mark.parametrize(
    "words", [["mask"], ["verify", "--pairs", "x.bin"], ["inspect", "faces"], ["train-recognizer"]]
)
def test_a_task_is_given_its_options_and_the_console(
    called: list[tuple[str, Any]], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facemae_cli.commands.precheck.check_inputs", lambda name, options: None)  # none is there
    assert module.main([*words, "--json", "--max-pixels", "100"]) == 0
    [(name, options)] = called
    signature = inspect.signature(inspect.unwrap(COMMANDS[words[0]].callback))
    assert name == words[0].replace("-", "_")
    assert set(options) == set(signature.parameters) - set(NOT_OF_THE_TASK) | {"progress"}
    assert options["progress"].notice


@pytest.mark.parametrize(
    ("words", "dataset"),
    [
        (["mask"], "raw"),
        (["mask"], "masked"),
        (["train-recognizer"], "released"),
        (["train-recognizer", "--pairs", "pairs"], "pairs"),
        (["leakage", "--non-members", "others"], "others"),
        (["inspect", "faces"], "faces"),
    ],
)
def test_what_names_people_lies_in_no_input_and_no_output(
    called: list[tuple[str, Any]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    dataset: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert module.main([*words, "--refused", f"{dataset}/refused.jsonl"]) == 2
    assert f"--refused {dataset}/refused.jsonl is inside the dataset {dataset}" in capsys.readouterr().err
    assert called == []


@pytest.mark.parametrize("named", [None, "mine"])
def test_it_lies_not_in_the_run_s_own_folder_whatever_the_model_s_card_calls_it(
    called: list[tuple[str, Any]],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    card = (zoo.root() / "probe/model.yaml").read_text()
    (tmp_path / "small").mkdir()
    (tmp_path / "small/model.yaml").write_text(card if named is None else f"name: {named}\n{card}")
    inside = f"runs/{named or 'small'}/refused.jsonl"
    assert module.main(["train-recognizer", "--model", "./small", "--refused", inside]) == 2
    assert f"--refused {inside} is inside the dataset runs/{named or 'small'}" in capsys.readouterr().err
    for model in ("./small", "no-model"):  # what is no model is refused by the task
        module.main(["train-recognizer", "--model", model, "--refused", "other.jsonl"])
        assert "--refused" not in capsys.readouterr().err
