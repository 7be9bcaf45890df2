"""The only module that prints: progress and notices on stderr, a command's result on stdout."""

from __future__ import annotations

import os
import select
import shutil
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from json import dumps
from pathlib import Path
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from facemae_cli.data.faces import Refusal, count_reasons
from facemae_cli.data.side_files import refused_list, refused_text
from facemae_cli.errors import AllRefused, GateFailed
from facemae_cli.reports.text import NARROWEST, Stage, clean, finite, table, wrapped
from facemae_cli.runtime import launcher

if TYPE_CHECKING:
    import rich.progress

LISTED_REFUSALS = 20
LOG_SECONDS = 5.0
COLORS = {"red": "\x1b[1;31m", "yellow": "\x1b[1;33m", "green": "\x1b[1;32m"}
# Rows of a summary that judge: shown first, in the colour of the word they begin or end with.
JUDGING = ("verdict", "because", "gate")
JUDGEMENTS = {"passed": "green", "failed": "red", "undecided": "yellow", "refused": "yellow"}

# What facemae.yaml set for the running command; the app writes it, the result's JSON repeats it.
settings_in_use: ContextVar[Mapping[str, Any]] = ContextVar("settings_in_use", default=MappingProxyType({}))


class Result(Protocol):
    """What a task returns.

    A task that reads faces adds `refused: Sequence[Refusal]`; one with gates adds `failed_gates: Sequence[str]`, a
    line for each that did not pass; one that measures several things alike adds `measured()`, rows of as many cells
    each, the first row of headings, which are shown above the summary.
    """

    def as_json(self) -> dict[str, Any]:
        """The result as JSON types, without `refused` and `settings`: the console adds these."""

    def summary(self) -> Sequence[tuple[str, str]]:
        """The result as (label, value) rows for a person, the most important first."""


def write_line(line: str, stream: TextIO) -> None:
    """Writes one line, with what the stream's encoding cannot hold as escapes."""
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def show(text: str) -> None:
    """Help, version or a result, on stdout."""
    for line in text.splitlines():
        write_line(line, sys.stdout)


def notice(line: str, color: str = "") -> None:
    """One line for a person, on stderr; on a terminal broken at spaces where it is longer than that is wide."""
    for part in _notice_lines(line):
        write_line(colored(part, color, sys.stderr), sys.stderr)


def _notice_lines(line: str) -> list[str]:
    head, text = "facemae: ", clean(line)
    if not is_terminal(sys.stderr):
        return [head + text]
    first, *more = wrapped(text, max(_columns() - len(head), NARROWEST))
    return [head + first, *(" " * len(head) + part for part in more)]


def _columns() -> int:
    return max(shutil.get_terminal_size().columns, NARROWEST + 10)


def colored(text: str, color: str, stream: TextIO) -> str:
    """`text` in a colour of `COLORS` where `stream` is a terminal and NO_COLOR is not set; "" is no colour."""
    wanted = color and is_terminal(stream) and not os.environ.get("NO_COLOR")
    return f"{COLORS[color]}{text}\x1b[0m" if wanted else text


def show_error(line: str) -> None:
    """The one line an error is worth, on stderr."""
    notice(f"error: {' '.join(line.split())}", "red")


def show_traceback(error: BaseException) -> None:
    """Where the error came from, for `--debug`."""
    for line in "".join(traceback.format_exception(error)).splitlines():
        write_line(line, sys.stderr)


def reader_has_gone() -> bool:
    """Whether stdout is a pipe or a terminal whose other end is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):  # a stdout without a file descriptor, or a closed one
        return False


def settle_stdout() -> None:
    """Writes out what stdout still holds; what cannot be written goes nowhere.

    Otherwise the interpreter's last flush would fail again, and change the exit code.
    """
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches `stream` on a terminal that can redraw a line."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Log:
    """Progress without a terminal: a line every few seconds, and one when a stage ends."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._written_at = 0.0
        self._written: tuple[int, str] | None = None

    def start(self, stage: Stage) -> None:
        self._stage, self._written_at, self._written = stage, time.monotonic(), None

    def update(self) -> None:
        stage = self._stage
        if stage is None:
            return
        ended = stage.done >= stage.total and (self._written is None or self._written[0] != stage.done)
        if ended or time.monotonic() - self._written_at >= LOG_SECONDS:
            self._write(stage)

    def notice(self, line: str) -> None:
        notice(line)

    def end(self) -> None:
        if self._stage is not None and (self._written is None or self._written[0] != self._stage.done):
            self._write(self._stage)
        self._stage = None

    def _write(self, stage: Stage) -> None:
        if self._written != (stage.done, stage.note):
            notice(f"{stage.label}: {stage.figures()}")
        self._written_at, self._written = time.monotonic(), (stage.done, stage.note)


class Bar:
    """Progress on a terminal: one live line a stage, which stays behind as a plain line when the stage ends.

    Until the first stage begins the line says that something is loading: importing torch alone takes seconds.
    """

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._live: rich.progress.Progress | None = None

    def wait(self) -> None:
        """Shows at once that the command has begun."""
        self._show("loading")

    def start(self, stage: Stage) -> None:
        self._stop()
        self._stage = stage
        self._show(stage.bar(_columns() - 2))

    def _show(self, line: str) -> None:
        from rich.console import Console as RichConsole
        from rich.progress import Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        one_line = Column(no_wrap=True, overflow="crop")
        text = TextColumn("{task.fields[line]}", markup=False, table_column=one_line)
        self._live = Progress(SpinnerColumn(), text, console=RichConsole(stderr=True, highlight=False), transient=True)
        self._live.add_task("", total=None, line=line)
        self._live.start()

    def update(self) -> None:
        if self._live is not None and self._stage is not None:
            self._live.update(self._live.task_ids[0], line=self._stage.bar(_columns() - 2))

    def notice(self, line: str) -> None:
        if self._live is None:
            notice(line)
        else:
            for part in _notice_lines(line):
                self._live.console.print(part, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        self._stop()
        if self._stage is not None:
            label = f"{self._stage.label}: "
            notice(label + self._stage.figures(_columns() - len("facemae: ") - len(label)))
        self._stage = None

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = None


class Console:
    """One command's side of the talk with a person: the task's progress, then its result.

    with Console(json=json, refused=refused, overwrite=overwrite) as console:
        return console.finish(task(..., progress=console))

    On every rank but the first of a torchrun launch it is silent. Safe to call from several threads.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        refused: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        """`refused`: the file that will name refused inputs; with `overwrite` it replaces an older one."""
        self._refused_file = None if refused is None else refused_list(refused)
        self._json, self._overwrite = json, overwrite
        self._silent = launcher.rank() > 0
        self._view: Bar | Log = Bar() if is_terminal(sys.stderr) else Log()
        self._stage: Stage | None = None
        self._lock = RLock()

    def __enter__(self) -> Self:
        if isinstance(self._view, Bar) and not self._silent:
            self._view.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_stage()
        if isinstance(error, AllRefused) and not self._silent:
            self._tell_refused(error.refused)

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        """A stage begins; the one before it is over."""
        with self._lock:
            self._end_stage()
            self._stage = Stage(label, total, unit, done)
            if not self._silent:
                self._view.start(self._stage)

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units of the stage are done."""
        with self._lock:
            if self._stage is None:
                return
            self._stage.done += count
            self._stage.note = clean(note) or self._stage.note
            if not self._silent:
                self._view.update()

    def notice(self, line: str) -> None:
        """One line for a person, above the progress."""
        with self._lock:
            if not self._silent:
                self._view.notice(line)

    def finish(self, result: Result) -> int:
        """Shows the result, the refused inputs and the failed gates.

        Returns the exit code: 1 where a gate failed, else 3 where inputs were refused, else 0.
        """
        self._end_stage()
        refused: Sequence[Refusal] = getattr(result, "refused", ())
        failed: Sequence[str] = getattr(result, "failed_gates", ())
        if not self._silent:
            show(self._as_text(result, refused))
            self._tell_refused(refused)
            for line in failed:
                notice(f"gate failed: {line}", "red")
        if failed:
            return GateFailed.exit_code
        return 3 if refused else 0

    def _tell_refused(self, refused: Sequence[Refusal]) -> None:
        """Lists what was refused on stderr, and all of it in the file that was asked for."""
        file = self._refused_file
        _list_refused(refused, None if file is None else file.path)
        if file is not None:
            file.write(refused_text(refused), overwrite=self._overwrite)

    def _as_text(self, result: Result, refused: Sequence[Refusal]) -> str:
        if not self._json:
            return _for_a_person(result)
        value = result.as_json()
        if hasattr(result, "refused"):
            value["refused"] = [{"where": r.where, "reason": r.reason, "detail": r.detail} for r in refused]
        value["settings"] = dict(settings_in_use.get())
        return dumps(finite(value), indent=2)

    def _end_stage(self) -> None:
        with self._lock:
            if not self._silent:
                self._view.end()
            self._stage = None


def _for_a_person(result: Result) -> str:
    """The verdict, what was measured, and the rest of the summary."""
    measured: Sequence[Sequence[str]] = getattr(result, "measured", list)()
    rows = result.summary()
    verdict = [row for row in rows if row[0] in JUDGING]
    rest = [row for row in rows if row[0] not in JUDGING]
    width = _columns() if is_terminal(sys.stdout) else None
    parts = [_in_color(verdict, width), table(measured) if measured else "", table(rest, width) if rest else ""]
    return "\n\n".join(filter(None, parts))


def _in_color(rows: Sequence[tuple[str, str]], width: int | None) -> str:
    """Rows that judge; one without a judgement, a reason, has the colour of the one above it."""
    label = max((len(name) for name, _ in rows), default=0)
    color, lines = "", []
    for name, value in rows:
        words = value.replace(",", " ").split() or [""]
        color = next((JUDGEMENTS[word] for word in (words[0], words[-1]) if word in JUDGEMENTS), color)
        lines += [colored(line, color, sys.stdout) for line in table([(name.ljust(label), value)], width).splitlines()]
    return "\n".join(lines)


def _list_refused(refused: Sequence[Refusal], file: Path | None) -> None:
    if not refused:
        return
    for item in refused[:LISTED_REFUSALS]:
        notice(f"refused: {item.where}: {item.reason}: {item.detail}")
    if len(refused) > LISTED_REFUSALS:
        notice(f"... and {len(refused) - LISTED_REFUSALS} more, see {file or '--refused FILE'}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(refused).items())
    notice(f"refused {len(refused)} of the inputs: {reasons}")
