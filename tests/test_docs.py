"""The documents, held to the code: what they show exists, and what exists is shown."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer

import facemae_cli
from facemae_cli.app import app, main
from facemae_cli.data.faces import NotRead
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.tasks.demo import FOLDERS, STRANGERS
from facemae_cli.tasks.train_recognizer import TrainRecognizerResult

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()
# Every page, by its path: what they show is held to the code alike.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (ROOT / "README.md", *sorted(ROOT.glob("facemae_cli/**/*.md")), *sorted(ROOT.glob("tests/**/*.md")))
}
PROGRAM = typer.main.get_command(app)
COMMANDS: dict[str, Any] = PROGRAM.commands  # type: ignore[attr-defined]
KINDS_OF_CHANGE = {"Added", "Changed", "Deprecated", "Fixed", "Removed", "Security"}
OPERATORS = {"|", ">", "2>", "&&", ";", "||", "time", "exec"}
# Each with a bracket, so that this file does not find itself.
UNFINISHED = re.compile(r"\bTOD[O]|\bFIXM[E]|\bXX[X]\b|pragma: no cove[r]|@@[A-Z]+@[@]")
PLACES = re.compile(r"(?<![\w.])/(?:wor[k]|roo[t]|far[m])/\w|index-ur[l]|file:/[/]")


def blocks(language: str, page: str) -> list[str]:
    """A page's fenced blocks of a language."""
    return re.findall(rf"^```(?:{language})\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def commands_in(page: str) -> Iterator[str]:
    """A page's shell commands, one a line; in a `console` block only what follows a prompt is one."""
    for language, prompt in (("sh|bash", ""), ("console", "$ ")):
        for block in blocks(language, page):
            for line in re.sub(r"\\\n\s*", " ", block).splitlines():
                if line.startswith(prompt):
                    yield line.removeprefix(prompt).strip()


def shell_lines() -> Iterator[str]:
    """Those of all pages that run facemae; in workflows too."""
    for page in PAGES.values():
        yield from (line for line in commands_in(page) if "facemae" in line)
        for block in blocks("yaml", page):
            for line in block.splitlines():
                if line.strip().removeprefix("- run: ").startswith("facemae "):
                    yield line.strip().removeprefix("- run: ")


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
def test_every_command_has_a_page_that_runs_it_and_the_readme_leads_there(name: str) -> None:
    path = f"facemae_cli/commands/{name}.md"
    assert PAGES[path].startswith(f"# `facemae {name}`\n")
    runs = (words_of(line) for line in commands_in(PAGES[path]))
    assert any(words is not None and words[:1] == [name] for words in runs), f"show a line that runs facemae {name}"
    assert f"]({path})" in README


def test_a_page_of_a_command_is_of_one_that_there_is() -> None:
    pages = {Path(path).stem for path in PAGES if path.startswith("facemae_cli/commands/")}
    assert pages == {"README", *COMMANDS}


def test_the_readme_is_read_in_one_sitting_and_opens_with_what_ci_runs() -> None:
    assert len(README.splitlines()) <= 170
    first = [line for block in blocks("sh|bash|console", README) for line in block.splitlines()]
    until = next(number for number, line in enumerate(first) if "pytest" in line)
    assert first[: until + 1] == ["pip install . && facemae demo", "pip install '.[test]' && pytest"]


def test_the_readme_runs_facemae() -> None:
    assert sum(words_of(line) is not None for line in commands_in(README)) >= 6


def test_scripts_that_pages_run_are_there() -> None:
    for path, page in PAGES.items():
        for line in commands_in(page):
            for script in re.findall(r"python (tests/\S+\.py)", line):
                assert (ROOT / script).is_file(), f"{path}: {script}"


# What is spread into the JSON of a command, by its source.
SPREAD = {
    "self.not_read.as_json()": set(NotRead().as_json()),
    "self.further.as_json()": set(FurtherFindings().as_json()),
    "{name: str(self.out / name) for name in (*FOLDERS, STRANGERS)}": {*FOLDERS, STRANGERS},
    "{name: str(self.out / file) for name, file in files.items()}": {
        "key",
        "contact_sheet",
        "pack",
        "verification",
        "audit",
    },
    "self.about": {"layout", "sidecars", "property"},
    "self.recognizer.as_json() if self.recognizer else {'model': None}": {"model"},
    "said": {each.name for each in fields(TrainRecognizerResult)} - {"refused", "not_read"},
}


def json_keys(name: str) -> set[str]:
    """The first-level keys that the result of a command writes in its own `as_json`, from the source."""
    module = "evaluation/leakage/leakage_result" if name == "leakage" else f"tasks/{name.replace('-', '_')}"
    tree = ast.parse((ROOT / f"facemae_cli/{module}.py").read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "as_json"]
    (returned,) = (node.value for node in functions[-1].body if isinstance(node, ast.Return))
    assert isinstance(returned, ast.Dict)
    keys: set[str] = set()
    for key, value in zip(returned.keys, returned.values, strict=True):
        keys |= SPREAD[ast.unparse(value)] if key is None else {ast.literal_eval(key)}
    return keys


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_s_page_lists_the_keys_of_its_json(name: str) -> None:
    table = PAGES[f"facemae_cli/commands/{name}.md"].partition("\n## JSON\n")[2]
    named = re.findall(r"^\| (`[^|]+`) \|", table, re.MULTILINE)
    listed = {key for cell in named for key in re.findall(r"`(\w+)`", cell)}
    assert json_keys(name) == listed
    assert {"schema", "command"} <= listed


@pytest.mark.parametrize(("line", "words"), RUNS, ids=[line for line, _ in RUNS])
def test_what_the_pages_run_is_understood(line: str, words: list[str]) -> None:
    if words and words[0] not in COMMANDS:
        assert set(words) <= {"--help", "--version"}, line
        return
    for eager in ("--help", "-h"):
        assert eager not in words, f"{line}: shown by itself, not run"
    COMMANDS[words[0]].make_context(words[0], words[1:], parent=typer.Context(PROGRAM))


def test_python_in_the_pages_compiles_and_finds_its_names() -> None:
    for block in (block for page in PAGES.values() for block in blocks("python|py", page)):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module == "facemae_cli":
                assert {alias.name for alias in node.names} <= set(facemae_cli.__all__)


def test_links_in_the_documents_lead_somewhere() -> None:
    for page in (*map(ROOT.joinpath, PAGES), ROOT / "CHANGELOG.md", *ROOT.glob("models/*.md")):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert target.startswith(("https://", "http://")) or (page.parent / target).exists(), target


def test_links_to_headings_lead_to_one() -> None:
    for path, page in PAGES.items():
        for target, heading in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page):
            if not target.startswith("http"):
                there = (ROOT / path).parent / target if target else ROOT / path
                heads = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
                assert heading in slugs, f"{path}: {target}#{heading}"


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
