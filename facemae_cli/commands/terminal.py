"""Lines on stdout and stderr: what every word to a person or a machine passes through.

Results go to stdout, notices and errors to stderr; colours, widths and broken lines are for terminals alone.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import traceback
from contextlib import suppress
from typing import TextIO

from facemae_cli.reports.text import NARROWEST, clean, wrapped

COLORS = {"red": "\x1b[1;31m", "yellow": "\x1b[1;33m", "green": "\x1b[1;32m"}


def write_line(line: str, stream: TextIO) -> None:
    """Writes one line, with what the stream's encoding cannot hold as escapes. An OSError names the stream."""
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        raise type(error)(error.errno, error.strerror, "standard output" if stream is sys.stdout else None) from error


def show(text: str) -> None:
    """Help, version or a result, on stdout."""
    for line in text.splitlines():
        write_line(line, sys.stdout)


def notice(line: str, color: str = "") -> None:
    """One line for a person, on stderr; on a terminal broken at spaces where it is longer than that is wide."""
    for part in notice_lines(line):
        write_line(colored(part, color, sys.stderr), sys.stderr)


def notice_lines(line: str) -> list[str]:
    """What `notice` writes of `line`: one line, or on a terminal as many as its width asks for."""
    head, text = "facemae: ", clean(line)
    if not is_terminal(sys.stderr):
        return [head + text]
    first, *more = wrapped(text, max(columns() - len(head), NARROWEST))
    return [head + first, *(" " * len(head) + part for part in more)]


def columns() -> int:
    """The width of the terminal in columns; of a very narrow one, what a table needs at least."""
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


def stand_in_for_closed_streams() -> None:
    """Puts the null device where whoever started the program closed a standard stream, as some schedulers do.

    A line has somewhere to go then, and the next file that is opened does not get the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - as long as the program runs


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
