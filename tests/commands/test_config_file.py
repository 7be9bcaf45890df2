"""facemae.yaml: what it may set, what wins over it, and where it is not listened to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer

from facemae_cli import app as module
from facemae_cli.commands.config_file import load_settings
from facemae_cli.commands.console import Console
from facemae_cli.errors import UsageError


@dataclass(frozen=True)
class Echo:
    """A result that repeats the options."""

    options: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {"options": {key: str(value) for key, value in self.options.items()}}

    def summary(self) -> list[tuple[str, str]]:
        return []


# Commands with an option of every kind that there is.


def mask(
    input: Annotated[Path, typer.Option("--in")] = Path("raw"),
    out: Annotated[Path, typer.Option("--out")] = Path("masked"),
    ratio: Annotated[float, typer.Option("--ratio")] = 0.75,
    seed: Annotated[int | None, typer.Option("--seed", min=0)] = None,
    keep_names: Annotated[bool, typer.Option("--keep-names")] = False,
    strategy: Annotated[Literal["random", "eyes"], typer.Option("--strategy")] = "random",
    k: Annotated[list[int], typer.Option("--k")] = [1],  # noqa: B006
) -> int:
    return Console(json=True).finish(Echo(locals().copy()))


def fit(
    data: Annotated[Path, typer.Option("--data")],
    pairs: Annotated[list[Path] | None, typer.Option("--pairs")] = None,
) -> int:
    return Console(json=True).finish(Echo({"data": data}))


def inspect(path: Path, deep: Annotated[bool, typer.Option("--deep")] = False) -> int:
    return Console(json=True).finish(Echo({"path": path, "deep": deep}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr(module, "app", module.build_app([mask, fit, inspect]))
    return place


@pytest.fixture
def runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[dict[str, Any], dict[str, Any], str]]:
    """Runs words that must succeed; returns the options that arrived, the settings in the JSON, and stderr."""

    def run(*words: str) -> tuple[dict[str, Any], dict[str, Any], str]:
        code = module.main(words)
        out, err = capsys.readouterr()
        assert code == 0, err
        value = json.loads(out)
        return value["options"], value["settings"], err

    return run


def write(folder: Path, text: str) -> None:
    (folder / "facemae.yaml").write_text(text)


def test_without_the_file_nothing_is_set_and_nothing_said(runs: Any) -> None:
    options, settings, err = runs("mask")
    assert (options["ratio"], settings, err) == ("0.75", {}, "")


def test_every_kind_of_option_can_be_set(runs: Any, folder: Path) -> None:
    write(folder, "mask: {in: faces, ratio: 0.5, seed: 3, keep-names: true, strategy: eyes, k: [2, 5]}")
    options, settings, err = runs("mask")
    assert options == {
        "input": "faces", "out": "masked", "ratio": "0.5", "seed": "3", "keep_names": "True", "strategy": "eyes",
        "k": "[2, 5]",
    }  # fmt: skip
    assert settings == {"in": "faces", "ratio": 0.5, "seed": 3, "keep-names": True, "strategy": "eyes", "k": [2, 5]}
    assert err.splitlines() == [
        "facemae: facemae.yaml sets --in faces, --ratio 0.5, --seed 3, --keep-names True, --strategy eyes, --k [2, 5]"
    ]


def test_flags_win_and_are_not_reported(runs: Any, folder: Path) -> None:
    write(folder, "mask: {ratio: 0.5, seed: 3}")
    options, settings, err = runs("mask", "--ratio", "0.9")
    assert (options["ratio"], options["seed"]) == ("0.9", "3")
    assert settings == {"seed": 3}
    assert err == "facemae: facemae.yaml sets --seed 3\n"


def test_a_required_option_can_be_set(runs: Any, folder: Path) -> None:
    write(folder, "fit: {data: faces}")
    assert runs("fit")[0] == {"data": "faces"}


def test_the_settings_of_other_commands_do_not_apply(runs: Any, folder: Path) -> None:
    write(folder, "mask: {ratio: 0.5}\nfit:\n")
    assert runs("fit", "--data", "x") == ({"data": "x"}, {}, "")


def test_one_value_serves_an_option_that_takes_many(runs: Any, folder: Path) -> None:
    write(folder, "mask: {k: 7}")
    assert runs("mask")[0]["k"] == "[7]"


def test_a_home_folder_is_what_a_shell_makes_of_it(runs: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    write(folder, "mask: {in: ~/faces, out: a~b}")
    options = runs("mask")[0]
    assert (options["input"], options["out"]) == ("/home/ann/faces", "a~b")


def test_null_leaves_the_default(runs: Any, folder: Path) -> None:
    write(folder, "mask: {ratio: null, keep-names: false}")
    options, settings, _ = runs("mask")
    assert (options["ratio"], settings) == ("0.75", {"keep-names": False})


def test_settings_of_one_run_do_not_stay_for_the_next(runs: Any, folder: Path) -> None:
    write(folder, "mask: {ratio: 0.5}")
    runs("mask")
    (folder / "facemae.yaml").unlink()
    assert runs("mask")[1] == {}


ERRORS = [
    ("masks: {ratio: 1}", "facemae.yaml: unknown command 'masks'; known: fit, inspect, mask"),
    (
        "mask: {ration: 1}",
        "facemae.yaml: unknown option mask: 'ration'; known: in, k, keep-names, out, ratio, s",
    ),
    ("fit: {data: x, help: true}", "facemae.yaml: unknown option fit: 'help'; known: data"),
    ("inspect: {path: x}", "facemae.yaml: unknown option inspect: 'path'; known: deep"),
    ("mask: 0.5", "facemae.yaml: mask holds 0.5; write options below it, such as `ratio: 0.5`"),
    ("mask: {keep-names: 1}", "facemae.yaml: mask: keep-names is 1; it takes true or false"),
    ("mask: {ratio: true}", "facemae.yaml: mask: ratio is True; it takes one number or text"),
    ("mask: {ratio: [0.5]}", "facemae.yaml: mask: ratio is [0.5]; it takes one number or text"),
    ("mask: {k: [{a: 1}]}", "facemae.yaml: mask: k is {'a': 1}; it takes one number or text"),
    ("mask: [ratio]", "facemae.yaml: mask holds ['ratio']; write options below it, such as `ratio: 0.5`"),
    ("- mask", "holds a list where a mapping"),
    ("mask: {a: &x 1, b: *x}", "aliases are not taken here"),
    ("mask: {seed: 1.5}", "Invalid value for '--seed'"),
    ("mask: {strategy: nose}", "Invalid value for '--strategy'"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_what_cannot_be_set_is_one_line_and_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    write(folder, text)
    assert module.main(["mask"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("facemae: error: ")
    assert message in err
    assert "facemae.yaml" in err


def test_a_wrong_flag_is_not_blamed_on_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "mask: {seed: 3}")
    assert module.main(["mask", "--seed", "-1"]) == 2
    assert "facemae.yaml" not in capsys.readouterr().err


def test_help_is_shown_although_the_file_is_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, "mask: {seed: nonsense}")
    assert module.main(["--help"]) == 0
    assert module.main(["mask", "--help"]) == 0
    assert "--keep-names" in capsys.readouterr().out


IGNORED = "facemae: facemae.yaml is ignored: the working folder is an input or an output of this command\n"


@pytest.mark.parametrize(
    "words",
    [
        ["mask", "--in", "."],
        ["mask", "--out", "."],
        ["mask", "--in", ".."],
        ["mask", "--in", "train.rec"],
        ["inspect", "."],
        ["fit", "--data", "x", "--pairs", "x.bin", "--pairs", "."],
        ["fit", "--data", "x", "--pairs", "pairs.txt"],
    ],
)
def test_in_an_input_or_output_folder_it_is_ignored(runs: Any, folder: Path, words: list[str]) -> None:
    write(folder, "mask: {ratio: 0.1}\ninspect: {deep: true}\nfit: {data: y}")
    options, settings, err = runs(*words)
    assert options.get("ratio", "0.75") == "0.75"
    assert options.get("deep", "False") == "False"
    assert (settings, err) == ({}, IGNORED)


def test_a_file_that_makes_its_own_folder_the_input_is_ignored(runs: Any, folder: Path) -> None:
    write(folder, "mask: {in: ., ratio: 0.1}")
    options, settings, err = runs("mask")
    assert (options["input"], options["ratio"], settings, err) == ("raw", "0.75", {}, IGNORED)


def test_a_rec_file_in_the_working_folder_is_no_reason_to_ignore_it(runs: Any, folder: Path) -> None:
    write(folder, "mask: {ratio: 0.5}")
    assert runs("mask", "--in", "faces.rec")[0]["ratio"] == "0.5"


def test_only_the_working_folder_is_looked_at(runs: Any, folder: Path) -> None:
    write(folder.parent, "mask: {ratio: 0.5}")
    assert runs("mask")[1] == {}


def test_the_real_commands_take_their_own_defaults_as_settings(tmp_path: Path) -> None:
    commands = typer.main.get_command(module.app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        for param in command.params:
            if param.param_type_name == "option" and isinstance(param.default, (bool, int, float, str)):
                option = max(param.opts, key=len).lstrip("-")
                write(tmp_path, f"{name}: {{{option}: {json.dumps(param.default)}}}")
                expected = param.default if param.is_flag else str(param.default)
                assert load_settings(tmp_path, commands) == {name: {param.name: expected}}


def test_no_file_no_settings(tmp_path: Path) -> None:
    assert load_settings(tmp_path, {}) == {}


def test_a_folder_of_that_name_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "facemae.yaml").mkdir()
    assert load_settings(tmp_path, {}) == {}


def test_unknown_is_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path, "mask: {}")
    with pytest.raises(UsageError):
        load_settings(tmp_path, {})
