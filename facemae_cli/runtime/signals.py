"""Signals that end the program: raised where Python runs, and carried out by force where it does not come to run.

A Python signal handler runs only between two steps of the main thread's Python code, never inside a native wait such as
a rank's for another one. So a thread waits beside it for the signal, and ends the process where the main thread has not
done so in time. What stands on the disk is safe at every moment: it has to survive SIGKILL too.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from facemae_cli.runtime.launcher import is_launched

PATIENCE = 1.2  # seconds from the first signal to the end by force; what asked for it may expect two in all
ECHO = 0.3  # seconds in which a repeated signal is the same one, which a terminal and a launcher both sent
PARENT_LOOKS = 0.5  # seconds between two looks whether the launcher lives
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DISARM = b"\0"


class Stopped(BaseException):
    """A signal asked the program to end; raised in the main thread so that staged work is left in order."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def signals_end(
    farewell: Callable[[int], None], leave: Callable[[int], NoReturn], *, whole_process: bool
) -> Iterator[None]:
    """Within, the first SIGTERM or SIGHUP raises Stopped, SIGINT KeyboardInterrupt; a second one ends the process.

    A process that has not ended PATIENCE seconds after the first one, whatever it waits in, is ended by `farewell(n)`
    and `leave(128 + n)`, which is `os._exit` or like it. With `whole_process` that holds after the context too, until
    the interpreter has ended; else nothing is left behind. A rank of torchrun whose launcher dies takes that for a
    SIGTERM. Off the main thread, where Python takes no signals, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch(farewell, leave)
    # A SIGHUP that is ignored, as under nohup, stays so.
    before = {n: signal.getsignal(n) for n in WATCHED}
    taken = [n for n, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    for number in taken:
        signal.signal(number, watch.stop)
    try:
        yield
    finally:
        if not (whole_process and watch.stopped):
            watch.disarm()
        for number in taken:
            signal.signal(number, before[number])


def kill_children() -> None:
    """Ends the worker processes of this one, which nobody else would."""
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()


class _Watch:
    """A thread to which the interpreter's own C handler writes each signal's number, whatever Python is doing."""

    def __init__(self, farewell: Callable[[int], None], leave: Callable[[int], NoReturn]) -> None:
        self.stopped = False  # whether the main thread has been told
        self._farewell, self._leave = farewell, leave
        self._ears, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        self._before = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._forget)
        self._thread = threading.Thread(target=self._listen, name="signals", daemon=True)
        self._thread.start()

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The handler: raises on the first signal; what comes then is the thread's business."""
        if not self.stopped:
            self.stopped = True
            raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    def disarm(self) -> None:
        """Ends the thread and lets go of the signals."""
        signal.set_wakeup_fd(self._before)
        os.write(self._mouth, _DISARM)
        self._thread.join()
        os.close(self._ears)
        os.close(self._mouth)
        self._mouth = -1

    def _forget(self) -> None:
        """A forked child must not tell its parent of the child's signals."""
        with suppress(ValueError, OSError):
            if self._mouth >= 0:
                signal.set_wakeup_fd(-1)

    def _listen(self) -> None:
        parent = os.getppid() if is_launched() else 0
        first, came = 0, 0.0
        while True:
            waits = [came + PATIENCE - time.monotonic()] if first else []
            waits += [PARENT_LOOKS] if parent else []
            heard = self._hear(max(min(waits), 0) if waits else None)
            if _DISARM in heard:
                return
            for number in heard:
                if first and time.monotonic() > came + ECHO:
                    self._end(first)
                if not first and number in WATCHED:
                    first, came = number, time.monotonic()
            if first and time.monotonic() >= came + PATIENCE:
                self._end(first)
            if parent and os.getppid() != parent:
                parent = 0
                os.kill(os.getpid(), signal.SIGTERM)

    def _hear(self, timeout: float | None) -> bytes:
        """The numbers of the signals that have come, or nothing once there is something else to look after."""
        ready, _, _ = select.select([self._ears], [], [], timeout)
        return os.read(self._ears, 64) if ready else b""

    def _end(self, number: int) -> NoReturn:
        """Ends the process, and its children, with the code of the signal."""
        last = threading.Thread(target=self._farewell, args=(number,), daemon=True)  # stderr may be stuck too
        with suppress(RuntimeError):
            last.start()
            last.join(0.5)
        kill_children()
        self._leave(128 + number)
