"""The documents, held to the code: what they show exists, and what exists is shown."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import facemae_cli
from facemae_cli.app import app, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
PROGRAM = typer.main.get_command(app)
COMMANDS: dict[str, Any] = PROGRAM.commands  # type: ignore[attr-defined]
KINDS_OF_CHANGE = {"Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"}
OPERATORS = {"|", ">", "2>", "&&", ";", "||", "time", "exec"}
# Each with a bracket, so that this file does not find itself.
UNFINISHED = re.compile(r"\bTOD[O]|\bFIXM[E]|\bXX[X]\b|pragma: no cove[r]|@@[A-Z]+@[@]")
PLACES = re.compile(r"(?<![\w.])/(?:wor[k]|roo[t]|far[m])/\w|index-ur[l]|file:/[/]")


def blocks(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"^```(?:{language})\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def shell_lines() -> Iterator[str]:
    """The README's shell commands, one a line; in a `console` block only what follows a prompt is one."""
    for language, prompt in (("sh|bash", ""), ("console", "$ ")):
        for block in blocks(language):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                if line.startswith(prompt) and "facemae" in line:
                    yield line.removeprefix(prompt).strip()


def words_of(line: str) -> list[str] | None:
    """What follows `facemae`, or `-m facemae_cli`, in a shell line that runs it; None where it does not."""
    words = shlex.split(line, comments=True)
    for index, word in enumerate(words):
        starts = index == 0 or words[index - 1] in OPERATORS or "=" in words[index - 1]
        if (word == "facemae" and starts) or (word == "facemae_cli" and words[index - 1] == "-m"):
            rest = words[index + 1 :]
            return rest[: next((i for i, each in enumerate(rest) if each in OPERATORS), None)]
    return None


RUNS = [(line, words) for line in shell_lines() if (words := words_of(line)) is not None]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_in_the_readme(name: str) -> None:
    assert re.search(rf"^##+ .*`(facemae )?{name}`", README, re.MULTILINE), f"give {name} a heading with `{name}` in it"
    assert any(words[:1] == [name] for _, words in RUNS), f"show a line that runs facemae {name}"


def test_the_readme_runs_facemae() -> None:
    assert len(RUNS) >= len(COMMANDS)


@pytest.mark.parametrize(("line", "words"), RUNS, ids=[line for line, _ in RUNS])
def test_what_the_readme_runs_is_understood(line: str, words: list[str]) -> None:
    if words and words[0] not in COMMANDS:
        assert set(words) <= {"--help", "--version"}, line
        return
    for eager in ("--help", "-h"):
        assert eager not in words, f"{line}: shown by itself, not run"
    COMMANDS[words[0]].make_context(words[0], words[1:], parent=typer.Context(PROGRAM))


def test_python_in_the_readme_compiles_and_finds_its_names() -> None:
    for block in blocks("python|py"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "facemae_cli":
                assert {alias.name for alias in node.names} <= set(facemae_cli.__all__)


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("models/*.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert target.startswith(("https://", "http://")) or (page.parent / target).exists(), target


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_option_has_help(name: str) -> None:
    assert COMMANDS[name].help
    first = COMMANDS[name].help.splitlines()[0]
    assert first.endswith((".", ":")), f"facemae {name}: the first line is what `facemae --help` shows: {first!r}"
    for param in COMMANDS[name].params:
        assert param.help, f"facemae {name} {'/'.join(param.opts)}"


def test_the_program_s_help_shows_each_first_line_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name, command in COMMANDS.items():
        assert f"{name} {command.help.splitlines()[0]}" in shown


def test_the_options_of_the_program_have_help() -> None:
    assert all(param.help for param in PROGRAM.params)


def test_an_option_reads_the_same_in_every_command() -> None:
    for flag in ("--json", "--refused", "--overwrite", "--device", "--precision", "--workers"):
        said = {param.help for command in COMMANDS.values() for param in command.params if flag in param.opts}
        assert len(said) <= 1, f"{flag}: take it from commands/_options.py"


def test_the_changelog_has_its_form() -> None:
    lines = [line for line in CHANGELOG.splitlines() if line]
    assert lines[0] == "# Changelog"
    versions = [line for line in lines if line.startswith("## ")]
    assert versions
    for line in versions:
        assert re.fullmatch(r"## \d+\.\d+\.\d+ - (unreleased|\d{4}-\d\d-\d\d)", line), line
    for line in lines:
        if line.startswith("### "):
            assert line[4:] in KINDS_OF_CHANGE, line
    dates = [line.rpartition(" - ")[2] for line in versions]
    assert "unreleased" not in dates[1:]
    assert dates == sorted(dates, reverse=True)


def test_the_newest_version_in_the_changelog_is_the_package_s() -> None:
    newest = re.search(r"^## (\S+)", CHANGELOG, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == facemae_cli.__version__


def tracked_texts() -> list[tuple[str, str]]:
    """Every tracked file that is text, with its content."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    contents = [(name, (ROOT / name).read_bytes()) for name in listed.stdout.decode().split("\0") if name]
    return [(name, content.decode()) for name, content in contents if b"\0" not in content]


@pytest.mark.parametrize("pattern", [UNFINISHED, PLACES], ids=["unfinished marks", "places of one machine"])
def test_no_tracked_text_holds(pattern: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in tracked_texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == []
