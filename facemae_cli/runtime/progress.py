"""How a task tells whoever called it how far it is; the library itself never prints."""

from __future__ import annotations

import logging
from typing import Protocol


class Progress(Protocol):
    """What a task reports to. `commands/progress_bar.py` shows it; library callers may pass their own."""

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        """A stage begins: `total` units of which `done` are already there (a resumed run)."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` is a short figure to show beside them, such as a loss."""

    def notice(self, line: str) -> None:
        """One line a person should see: a warning, a key that was made, a refused face."""


class Silent:
    """A progress that shows nothing, the default of every library function. Notices go to the logger `facemae`, which
    shows them on stderr unless the caller's program says otherwise."""

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        return None

    def advance(self, count: int = 1, note: str = "") -> None:
        return None

    def notice(self, line: str) -> None:
        logging.getLogger("facemae").warning(line)


SILENT = Silent()


class Steps:
    """Numbers the steps of a task that calls others: the stages of the third of nine are called `3/9 ...`."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._number = progress, total, 0

    def next(self) -> Progress:
        """The progress of the next step."""
        self._number += 1
        return _Step(self._progress, f"{self._number}/{self._total} ")


class _Step:
    """A progress whose labels begin with `prefix`."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        self._progress, self._prefix = progress, prefix
        self.advance, self.notice = progress.advance, progress.notice

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        self._progress.start(self._prefix + label, total, unit, done)
