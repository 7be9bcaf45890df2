"""Figures and names in words: pure text, which `commands/console.py` prints."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Any

NONE = "–"  # stands for a figure that there is not
DIGITS = 6  # of a percentage, at most
SHORTEST_BAR, LONGEST_BAR = 6, 24
NARROWEST = 30  # letters in which a cell is still broken into lines


def clean(text: str) -> str:
    """`text` on one line: a name may hold newlines, escape sequences or bytes that are not text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def counted(count: int, noun: str) -> str:
    """How many of what: 1 epoch, 2 epochs."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def sentence(line: str) -> str:
    """A line as a sentence: with a capital and a full stop."""
    return f"{line[0].upper()}{line[1:]}."


def table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Rows of as many cells each as aligned columns; the last cell is broken at spaces where it passes `width`."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    before = sum(widths[:-1]) + 2 * len(widths[:-1])
    lines = []
    for *first, last in cells:
        head = "".join(f"{cell.ljust(room)}  " for cell, room in zip(first, widths, strict=False))
        parts = wrapped(last, width - before) if width is not None and width - before >= NARROWEST else [last]
        lines += [f"{head if not number else ' ' * before}{part}".rstrip() for number, part in enumerate(parts)]
    return "\n".join(lines)


def tables(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Rows as one table, or, where it would pass `width`, as several below each other: each has the first column and
    as many of the others as fit, one at least, without rows that hold nothing there."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    parts: list[list[int]] = [[]]
    room = math.inf if width is None else width - widths[0]
    for column in range(1, len(widths)):
        if parts[-1] and sum(widths[each] + 2 for each in [*parts[-1], column]) > room:
            parts.append([])
        parts[-1].append(column)
    split = ([[row[0], *(row[column] for column in part)] for row in cells] for part in parts)
    if len(parts) == 1:
        return table(cells)
    return "\n\n".join(table([row for row in rows if set(row[1:]) != {NONE}]) for rows in split)


def wrapped(text: str, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width`; a path or a digest is never broken."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def finite(value: Any) -> Any:
    """`value` with what JSON has no word for, an infinity or a NaN, as null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def duration(seconds: float) -> str:
    """`seconds` for a person: 4.2 s, 3 min 20 s, 5 h 2 min."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Stage:
    """How far one stage of a task is, in units done and in words."""

    def __init__(self, label: str, total: int, unit: str, done: int) -> None:
        self.label, self.total, self.unit = clean(label), total, unit
        self.done = self._before = done
        self.note = ""
        self._started = time.monotonic()

    def figures(self, width: int | None = None) -> str:
        """Count, rate and time left, or time taken once all is done; the rate leaves out a resumed run's share.

        In so many letters as a terminal has room for: the rate goes first, then the count.
        """
        elapsed = time.monotonic() - self._started
        rate = (self.done - self._before) / elapsed if elapsed > 0 else 0.0
        count, speed = f"{self.done}/{self.total} {self.unit}", f"{rate:.1f} {self.unit}/s" if rate > 0 else ""
        left = f"{duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        when = f"in {duration(elapsed)}" if self.done >= self.total and rate > 0 else left
        ways = ((count, speed, when, self.note), (count, when, self.note), (when, self.note), (when,))
        shown = [", ".join(filter(None, words)) for words in ways]
        return next((line for line in shown if width is None or len(line) <= width), shown[-1][:width])

    def bar(self, width: int) -> str:
        """Label, bar, share and figures in at most `width` letters, as a terminal shows them while it lasts."""
        share = min(self.done / self.total, 1.0) if self.total else 1.0
        label = self.label if len(self.label) <= width // 2 else f"{self.label[: width // 2 - 1]}…"
        figures = self.figures(max(width - len(label) - 9, 0))
        room = min(width - len(label) - len(figures) - 10, LONGEST_BAR)
        done = round(share * room)
        bar = f"{'━' * done}{'─' * (room - done)} " if room >= SHORTEST_BAR else ""
        return f"{label}  {bar}{100 * share:3.0f} %  {figures}".rstrip()[:width]


def decimal(share: float) -> str:
    """`share` as a plain decimal, never 1e-05."""
    from decimal import Decimal  # here, since every command's --help would pay for it

    plain = format(Decimal(repr(float(share))), "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def percent(share: float | None, digits: int | None = None) -> str:
    """A share in percent, 99.45 %, to so many `digits`; a dash for None.

    `digits` None: one, and more where the share would else seem to be nothing, or all: 7.4 %, 0.0022 %, 99.997 %.
    """
    return NONE if share is None else f"{_hundredfold(share, digits)} %"


def exact_percent(share: float) -> str:
    """A share that somebody set, such as a limit, in percent as it is: 30 %, 0.1 %."""
    return f"{decimal(round(100 * share, 10))} %"


def percent_interval(ends: tuple[float, float] | None, digits: int | None = None) -> str:
    """An interval of shares in percent, `digits` as in `percent`, near 100 % two at most: 6.6 to 8.2 %."""
    if ends is None:
        return NONE
    low, high = (_hundredfold(round(end, 4) if end > 0.9995 else end, digits) for end in ends)
    return f"{low} to {high} %"


def rate(share: float | None, ends: tuple[float, float] | None, digits: int | None = None) -> str:
    """A share and its interval as a table holds them: 7.4 % (6.6 to 8.2)."""
    return NONE if share is None else f"{percent(share, digits)} ({percent_interval(ends, digits).removesuffix(' %')})"


def _hundredfold(share: float, digits: int | None) -> str:
    value = 100 * share
    if digits is None:
        digits = 1
        for gap, below, more in ((abs(value), 1.0, 1), (abs(100 - value), 0.05, 0)):
            if 10**-DIGITS < gap < below:
                digits = min(more - math.floor(math.log10(gap)), DIGITS)
    shown = f"{value:.{digits}f}"
    return shown.removeprefix("-") if float(shown) == 0 else shown.replace("-", "−")
