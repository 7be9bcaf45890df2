"""How progress looks on stderr: a live bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from facemae_cli.commands.terminal import columns, notice, notice_lines
from facemae_cli.reports.text import Stage

if TYPE_CHECKING:
    import rich.progress

LOG_SECONDS = 5.0


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
        self._show(stage.bar(columns() - 2))

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
            self._live.update(self._live.task_ids[0], line=self._stage.bar(columns() - 2))

    def notice(self, line: str) -> None:
        if self._live is None:
            notice(line)
        else:
            for part in notice_lines(line):
                self._live.console.print(part, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        self._stop()
        if self._stage is not None:
            label = f"{self._stage.label}: "
            notice(label + self._stage.figures(columns() - len("facemae: ") - len(label)))
        self._stage = None

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
        self._live = None
