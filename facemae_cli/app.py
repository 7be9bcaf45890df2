"""The Typer app, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from facemae_cli import __version__
from facemae_cli.commands import console, terminal
from facemae_cli.commands.align import align
from facemae_cli.commands.command import Command
from facemae_cli.commands.config_file import load_settings
from facemae_cli.commands.convert import convert
from facemae_cli.commands.demo import demo
from facemae_cli.commands.fit import fit
from facemae_cli.commands.inspect import inspect
from facemae_cli.commands.leakage import leakage
from facemae_cli.commands.mask import mask
from facemae_cli.commands.names import names
from facemae_cli.commands.reconstruct import reconstruct
from facemae_cli.commands.train_recognizer import train_recognizer
from facemae_cli.commands.verify import verify
from facemae_cli.commands.withdraw import withdraw
from facemae_cli.data.reading import EXHAUSTED, NAME_TOO_LONG, exhausted
from facemae_cli.errors import FacemaeError, UsageError
from facemae_cli.runtime.signals import Stopped, kill_children, signals_end

# Where several exit codes hold, a signal's decides, else the first of these.
PRECEDENCE = (70, 4, 2, 1, 3)
# click's own, or that of the copy of click inside newer typers.
ClickException: type[Exception] = typer.BadParameter.__mro__[2]


class Commands(TyperGroup):
    """The commands, which says which there are when asked for another."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise UsageError(f"there is no command {args[0]!r}; known: {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


def _show_version(wanted: bool) -> None:
    if wanted:
        terminal.show(f"facemae {__version__}")
        raise typer.Exit


def facemae(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback with an error.")] = False,
) -> None:
    """Turn a face dataset into one that still trains recognisers while its people are harder to find.

    raw/ --mask--> masked/ --reconstruct--> released/. Try `facemae demo` first; `facemae help COMMAND` explains one.
    """
    ctx.default_map = load_settings(Path.cwd(), ctx.command.commands)  # type: ignore[attr-defined]


def build_app(commands: Iterable[Callable[..., int | None]]) -> typer.Typer:
    """The app of these functions, each of which is a command of its own name."""
    built = typer.Typer(
        name="facemae",
        cls=Commands,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    built.callback()(facemae)
    for command in commands:
        built.command(command.__name__.replace("_", "-"), cls=Command)(command)
    return built


app = build_app(
    (demo, align, mask, fit, reconstruct, train_recognizer, verify, leakage, inspect, convert, names, withdraw)
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line `arguments` (without the program's name), by default the process's own.

    Returns the exit code; every error ends here as one line on stderr.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]  # it may stand before or after the command
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    console.settings_in_use.set({})
    terminal.stand_in_for_closed_streams()
    try:
        with signals_end(partial(_say_stopped, words), os._exit, whole_process=arguments is None):
            return _run(words or ["--help"])
    except (Exception, Stopped, KeyboardInterrupt) as error:
        unread = isinstance(error, BrokenPipeError) and terminal.reader_has_gone()
        terminal.settle_stdout()
        if unread:
            return 128 + signal.SIGPIPE  # as `facemae inspect raw | head` does; no news to anybody
        if debug:
            terminal.show_traceback(error)
        code, line = explain(error, words)
        terminal.show_error(line)
        if arguments is None and code > 128:
            # A signal is waiting; the interpreter would take seconds to take torch apart.
            kill_children()
            os._exit(code)
        return code


def _run(words: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        command._main_shell_completion({}, "facemae")  # a shell that asks for completions gets them, and no more
        with command.make_context("facemae", words) as context:
            code = command.invoke(context)
    except typer.Exit as leave:
        code = leave.exit_code
    return code if isinstance(code, int) else 0


def _say_stopped(words: Sequence[str], number: int) -> None:
    terminal.show_error(explain(Stopped(number), words)[1])


def explain(error: BaseException, words: Sequence[str] = ()) -> tuple[int, str]:
    """The exit code of `error` and its one line; of several at once, those of the one that decides."""
    found = [_explain_one(one, words) for one in _several(error)]
    return min(found, key=lambda pair: PRECEDENCE.index(pair[0]) if pair[0] in PRECEDENCE else -1)


def _several(error: BaseException) -> Iterator[BaseException]:
    """`error`, or the members of a group; and a signal while which it arose, such as when tidying up failed."""
    if isinstance(error, BaseExceptionGroup):
        for member in error.exceptions:
            yield from _several(member)
    else:
        yield error
    before = error.__context__
    while before is not None:
        if isinstance(before, Stopped | KeyboardInterrupt):
            yield before
        before = before.__context__


def _explain_one(error: BaseException, words: Sequence[str]) -> tuple[int, str]:
    if isinstance(error, Stopped | KeyboardInterrupt):
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        resume = "; the same command with --resume continues from here" if _takes_resume(words) else ""
        return 128 + number, f"stopped by {signal.Signals(number).name}{resume}"
    if isinstance(error, FacemaeError):
        return error.exit_code, str(error)
    if isinstance(error, ClickException):
        return 2, _usage_line(error)
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        return 4, f"{error.filename or 'a file'}: {exhausted(error)}"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return 2, f"{error.filename or 'a file'}: {NAME_TOO_LONG}"
    if isinstance(error, OSError):
        return 4, f"{error.filename}: {error.strerror}" if error.filename else f"{error.strerror or error}"
    if isinstance(error, MemoryError):
        return 4, "out of memory; a smaller --batch-size, or a machine with more, may do"
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return 4, "no more threads can be started; lower --workers, or raise the limit of processes (`ulimit -u`)"
    return 70, f"internal error: {type(error).__name__}: {error}; run it again with --debug to see where"


def _usage_line(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return str(error.format_message()) + (f" (see `{context.command_path} --help`)" if context else "")


def _takes_resume(words: Sequence[str]) -> bool:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    name = next((word for word in words if word in commands), None)
    return name is not None and any(param.name == "resume" for param in commands[name].params)
