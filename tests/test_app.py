"""The boundary: errors and signals become one line and an exit code; commands and tasks agree."""

from __future__ import annotations

import errno
import importlib
import inspect
import os
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from helpers.releases import write_faces

import facemae_cli
from facemae_cli import app as module
from facemae_cli.errors import FaceError, GateFailed, InputError, OutputError, UsageError

COMMANDS = typer.main.get_command(module.app).commands  # type: ignore[attr-defined]
TASKS = facemae_cli._TASKS
# Options of the console and of the process, which a task knows nothing of, and the task's way to talk to a person.
OF_THE_COMMAND, OF_THE_TASK = {"json", "refused", "max_pixels"}, {"progress"}


def toys(act: Callable[[], int | None]) -> list[Callable[..., int | None]]:
    """Commands that do what the test says: `work` with options, `look` without."""

    def work(
        ratio: Annotated[float, typer.Option("--ratio")] = 0.75,
        resume: Annotated[bool, typer.Option("--resume")] = False,
    ) -> int | None:
        return act()

    def look() -> int | None:
        return act()

    return [work, look]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the app with a toy command that acts so; returns exit code, stdout and stderr."""

    def run(act: Callable[[], int | None], *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(module, "app", module.build_app(toys(act)))
        code = module.main(words or ["work"])
        return code, *capsys.readouterr()

    return run


def raises(error: BaseException) -> Callable[[], int]:
    def act() -> int:
        raise error

    return act


def groups(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("threads", list(errors))


ERRORS = [
    (GateFailed("accuracy 0.91 is under --min-accuracy 0.95"), 1, "accuracy 0.91 is under --min-accuracy 0.95"),
    (UsageError("ratio 2 is over 1"), 2, "ratio 2 is over 1"),
    (InputError("raw/ does not exist"), 2, "raw/ does not exist"),
    (FaceError("truncated", "a.jpg has no end"), 2, "a.jpg has no end"),
    (OutputError("no space left in released/"), 4, "no space left in released/"),
    (OSError(errno.ENOSPC, "No space left on device", "out/x"), 4, "out/x: No space left on device"),
    (OSError("the disk went away"), 4, "the disk went away"),
    (MemoryError(), 4, "out of memory; a smaller --batch-size, or a machine with more, may do"),
    (KeyError("x"), 70, "internal error: KeyError: 'x'; run it again with --debug to see where"),
    (UsageError("two\n  lines"), 2, "two lines"),
    (KeyboardInterrupt(), 130, "stopped by SIGINT; the same command with --resume continues from here"),
    (module.Stopped(15), 143, "stopped by SIGTERM; the same command with --resume continues from here"),
    (groups(GateFailed("gate"), UsageError("usage")), 2, "usage"),
    (groups(UsageError("usage"), groups(OSError("disk"), GateFailed("gate"))), 4, "disk"),
    (groups(OSError("disk"), OSError("disk 2")), 4, "disk"),
    (groups(OSError("disk"), KeyError(7)), 70, "internal error: KeyError: 7; run it again with --debug to see where"),
]


@pytest.mark.parametrize(("error", "code", "line"), ERRORS, ids=lambda value: getattr(type(value), "__name__", ""))
def test_an_error_is_one_line_and_its_code(runs: Any, error: BaseException, code: int, line: str) -> None:
    assert runs(raises(error)) == (code, "", f"facemae: error: {line}\n")


def test_a_signal_decides_over_what_went_wrong_while_tidying_up(runs: Any) -> None:
    def act() -> int:
        try:
            raise module.Stopped(signal.SIGTERM)
        finally:
            raise OSError("cannot tidy up")

    assert runs(act)[0] == 143


def test_only_a_command_that_resumes_is_said_to_resume(runs: Any) -> None:
    assert runs(raises(KeyboardInterrupt()), "look")[2] == "facemae: error: stopped by SIGINT\n"


@pytest.mark.parametrize("words", [("--debug", "work"), ("work", "--debug")])
def test_a_traceback_comes_only_with_debug(runs: Any, words: tuple[str, str]) -> None:
    code, out, err = runs(raises(ValueError("bug")), *words)
    assert (code, out) == (70, "")
    assert "Traceback" in err
    assert "in act" in err
    assert err.splitlines()[-1].startswith("facemae: error: internal error: ValueError: bug")


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_command_returns_its_exit_code(runs: Any, code: int) -> None:
    assert runs(lambda: code) == (code, "", "")


def test_a_command_that_returns_nothing_is_done(runs: Any) -> None:
    assert runs(lambda: None)[0] == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["wrok"], "facemae: error: there is no command 'wrok'; known: work, look"),
        (["work", "--ration", "1"], "facemae: error: No such option.*(see `facemae work --help`)"),
        (["work", "--ratio", "much"], "facemae: error: Invalid value for '--ratio'.*(see `facemae work --help`)"),
        (["work", "extra"], "facemae: error: Got unexpected extra argument.*(extra) (see `facemae work --help`)"),
        (["--nonsense"], "facemae: error: No such option.*(see `facemae --help`)"),
    ],
)
def test_wrong_words_are_one_line_and_code_2(runs: Any, words: list[str], expected: str) -> None:
    code, out, err = runs(lambda: 0, *words)
    start, _, end = expected.partition(".*")
    assert (code, out) == (2, "")
    assert err.startswith(start)
    assert err.endswith(f"{end}\n")
    assert err.count("\n") == 1


def test_without_words_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main([]) == 0
    assert capsys.readouterr().out.startswith("Usage: facemae [OPTIONS] COMMAND [ARGS]...")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["--version"]) == 0
    assert capsys.readouterr().out == f"facemae {facemae_cli.__version__}\n"


# What follows runs in processes of their own: signals, pipes and the interpreter's end belong to a process.

STARVED = 120.0  # seconds that a process may need on a crowded machine; nothing below waits for a time to pass
CHILD = """
import sys, time
import typer
from facemae_cli import app
from facemae_cli.commands.terminal import show
from facemae_cli.runtime import signals

signals.PATIENCE = 600  # the end by force is tests/runtime/test_signals.py's; here it would cut a slow tidying short

def work(resume: bool = False) -> int:
    try:
        {body}
    finally:
        print("tidied", file=sys.stderr, flush=True)
    return 0

app.app = app.build_app([work])
sys.exit(app.main(["work"]))
"""
SLEEP = 'print("ready", flush=True); time.sleep(600)'


def default_signals() -> None:
    """As in a terminal, even where the tests themselves run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def child(body: str, **options: Any) -> subprocess.Popen[str]:
    """Runs the toy command with this body in a process of its own."""
    options = {"preexec_fn": default_signals, **options}
    code = CHILD.format(body=textwrap.indent(body, " " * 8).strip())
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_work_be_tidied_up(number: signal.Signals) -> None:
    with child(SLEEP, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=STARVED)
    assert process.returncode == 128 + number
    assert err.splitlines()[0] == "tidied"
    assert err.splitlines()[1].startswith(f"facemae: error: stopped by {number.name}; the same command with --resume")


def test_after_a_signal_nothing_is_taken_apart() -> None:
    """The interpreter's own end can take seconds with torch loaded."""
    code = CHILD.format(body=textwrap.indent(SLEEP, " " * 16).strip())
    code = code.replace('app.main(["work"])', "app.main()")
    first = 'import atexit, sys; sys.argv = ["facemae", "work"]; atexit.register(print, "the end")'
    options: dict[str, Any] = {"preexec_fn": default_signals, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", f"{first}\n{code}"], text=True, **options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=STARVED)
    assert (process.returncode, out) == (143, "")
    assert err.splitlines()[0] == "tidied"


def test_a_second_signal_ends_the_process_at_once() -> None:
    body = f"signals.ECHO = 0\ntry:\n    {SLEEP}\nfinally:\n    {SLEEP.replace('ready', 'tidying')}"
    with child(body, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for word in ("ready\n", "tidying\n"):
            assert process.stdout.readline() == word
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=STARVED) == 128 + signal.SIGTERM


def test_a_signal_that_two_have_sent_is_one() -> None:
    """As a terminal and a launcher do: the tidying up goes on."""
    body = f"signals.ECHO = 600\ntry:\n    {SLEEP}\nfinally:\n    print('tidying', flush=True)\n    sys.stdin.read()"
    with child(body, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for word in ("ready\n", "tidying\n"):
            assert process.stdout.readline() == word
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=STARVED)
    assert process.returncode == 128 + signal.SIGTERM
    assert err.splitlines()[0] == "tidied"


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    body = 'print("ready", flush=True)\nsys.stdin.read()'
    with child(body, stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=ignore) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=STARVED)  # only the end of its input lets it end
    assert process.returncode == 0


@pytest.mark.parametrize("length", [1, 100_000])
def test_a_reader_that_goes_away_is_met_with_silence(length: int) -> None:
    read, write = os.pipe()
    os.close(read)
    with child(f'show("x" * {length})', stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=STARVED)
    assert (process.returncode, err) == (141, "tidied\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("length", [1, 100_000])
def test_a_full_disk_under_stdout_is_code_4(length: int) -> None:
    with open("/dev/full", "w") as full, child(f'show("x" * {length})', stdout=full) as process:
        _, err = process.communicate(timeout=STARVED)
    assert process.returncode == 4
    assert err.splitlines() == ["tidied", "facemae: error: standard output: No space left on device"]


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_change_no_exit_code(closed: str, tmp_path: Path) -> None:
    raw = write_faces(tmp_path / "raw", range(2))
    for words, code in (
        (["inspect", raw, "--json"], 0),
        (["mask", "-i", raw, "-o", tmp_path / "masked"], 0),
        (["no"], 2),
    ):
        line = shlex.join([sys.executable, "-m", "facemae_cli", *map(str, words)])
        ran = subprocess.run(f"{line} {closed}", shell=True, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == code, ran
        assert "Traceback" not in ran.stderr
    assert sum(path.suffix == ".png" for path in (tmp_path / "masked").rglob("*")) == len(list(raw.rglob("*.*")))


@pytest.mark.parametrize("length", [250, 300])  # as it stands, or only with what is added while it is written
def test_a_name_that_is_too_long_is_a_matter_of_usage(length: int, tmp_path: Path, runs: Any) -> None:
    def mask() -> None:
        facemae_cli.mask(write_faces(tmp_path / "raw", range(2)), tmp_path / ("x" * length))

    code, _, err = runs(mask)
    assert code == 2
    assert "the name is too long for the file system" in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_broken_pipe_elsewhere_is_an_error(runs: Any) -> None:
    assert runs(raises(BrokenPipeError(errno.EPIPE, "Broken pipe")))[::2] == (4, "facemae: error: Broken pipe\n")


# The library behind the commands.


def parameters_of_command(name: str) -> dict[str, Any]:
    return {p.name: p for p in COMMANDS[name.replace("_", "-")].params if p.name not in OF_THE_COMMAND | {"help"}}


def parameters_of_task(name: str) -> dict[str, inspect.Parameter]:
    signature = inspect.signature(getattr(facemae_cli, name))
    return {key: value for key, value in signature.parameters.items() if key not in OF_THE_TASK}


def test_the_package_exports_a_task_for_every_command() -> None:
    assert sorted(TASKS) == sorted(name.replace("-", "_") for name in COMMANDS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_the_function_of_its_module(name: str) -> None:
    assert getattr(facemae_cli, name) is getattr(importlib.import_module(f"facemae_cli.tasks.{name}"), name)


@pytest.mark.parametrize("name", TASKS)
def test_command_and_task_take_the_same_parameters(name: str) -> None:
    assert set(parameters_of_command(name)) == set(parameters_of_task(name))


@pytest.mark.parametrize("name", TASKS)
def test_command_and_task_have_the_same_defaults(name: str) -> None:
    task = parameters_of_task(name)
    for key, param in parameters_of_command(name).items():
        expected = inspect.Parameter.empty if param.required else param.default
        assert task[key].default == expected, f"facemae {name}: {key}"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_is_named_after_its_parameter(name: str) -> None:
    for param in COMMANDS[name].params:
        if param.param_type_name == "option":
            flag = "--in" if param.name == "input" else f"--{param.name.replace('_', '-')}"
            assert flag in param.opts, f"facemae {name}: {param.opts}"


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'blur'"):
        facemae_cli.blur  # noqa: B018


def test_dir_lists_the_tasks() -> None:
    assert set(TASKS) <= set(dir(facemae_cli))


def test_a_shell_is_told_how_to_complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_FACEMAE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "facemae mask --over")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit) as done:
        module.main([])
    assert (done.value.code, capsys.readouterr().out.split()) == (0, ["--overwrite"])


def test_completion_can_be_installed(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [sys.executable, "-m", "facemae_cli", "--install-completion", "bash"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_FACEMAE_COMPLETE" in next(tmp_path.rglob("*facemae.sh")).read_text()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_given_twice_is_an_error_where_it_takes_one_value(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under any of its spellings; click would take the last one without a word."""
    options = [param for param in COMMANDS[name].params if param.param_type_name == "option"]
    single = [param for param in options if not param.is_flag and not param.multiple]
    assert single
    for param in single:
        first, second = param.opts[0], param.opts[-1]
        assert module.main([name, first, "1", second, "2"]) == 2
        assert f"{first} is given 2 times, and it takes one value" in capsys.readouterr().err


def test_several_values_and_plain_flags_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["verify", "--pairs", "a.bin", "--pairs", "b.bin", "--json", "--json"]) == 2
    assert "a.bin is not a file" in capsys.readouterr().err


def test_no_more_threads_or_files_is_told_as_that(runs: Any) -> None:
    code, _, err = runs(raises(RuntimeError("can't start new thread")))
    assert (code, "lower --workers" in err, "`ulimit -u`" in err) == (4, True, True)
    code, _, err = runs(raises(OSError(errno.EMFILE, "Too many open files", "out/x")))
    assert code == 4
    assert err.startswith("facemae: error: out/x: too many open files, the limit is ")
    assert "`ulimit -n`" in err
