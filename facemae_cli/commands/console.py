"""One command's talk with a person: progress and notices on stderr, its result on stdout."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from json import dumps
from pathlib import Path
from threading import RLock
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from facemae_cli.commands.progress_bar import Bar, Log
from facemae_cli.commands.terminal import colored, columns, is_terminal, notice, show
from facemae_cli.errors import AllRefused, GateFailed
from facemae_cli.reports.text import Stage, clean, finite, table, tables
from facemae_cli.runtime import launcher

if TYPE_CHECKING:
    from facemae_cli.data.faces import Refusal
    from facemae_cli.data.side_files import SideFile

LISTED_REFUSALS = 20
# Rows of a summary that judge: shown first, in the colour of the word they begin or end with; the others of `FIRST`
# stand beside them.
JUDGING = ("verdict", "because", "gate")
FIRST = (*JUDGING, "set limits", "other photos", "the very photo")
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
        self._refused_file = None if refused is None else _refused_list(refused)
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
            from facemae_cli.data.side_files import refused_text

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
    verdict = [row for row in rows if row[0] in FIRST]
    rest = [row for row in rows if row[0] not in FIRST]
    width = columns() if is_terminal(sys.stdout) else None
    parts = [_in_color(verdict, width), tables(measured, width) if measured else "", table(rest, width) if rest else ""]
    return "\n\n".join(filter(None, parts))


def _in_color(rows: Sequence[tuple[str, str]], width: int | None) -> str:
    """Rows that judge; one without a judgement, a reason, has the colour of the one above it."""
    label = max((len(name) for name, _ in rows), default=0)
    color, lines = "", []
    for name, value in rows:
        words = re.findall(r"[\w-]+", value) or [""]
        color = next((JUDGEMENTS[word] for word in (words[0], words[-1]) if word in JUDGEMENTS), color)
        of_row = color if name in JUDGING else ""
        lines += [colored(line, of_row, sys.stdout) for line in table([(name.ljust(label), value)], width).splitlines()]
    return "\n".join(lines)


def _refused_list(path: Path) -> SideFile:
    from facemae_cli.data.side_files import refused_list  # not for every --help

    return refused_list(path)


def _list_refused(refused: Sequence[Refusal], file: Path | None) -> None:
    if not refused:
        return
    from facemae_cli.data.faces import count_reasons

    for item in refused[:LISTED_REFUSALS]:
        notice(f"refused: {item.where}: {item.reason}: {item.detail}")
    if len(refused) > LISTED_REFUSALS:
        notice(f"... and {len(refused) - LISTED_REFUSALS} more, see {file or '--refused FILE'}")
    reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(refused).items())
    notice(f"refused {len(refused)} of the inputs: {reasons}")
