"""Executions in a process of their own, which may crash, hang or run out of memory without taking the count along.

The process writes each input to memory that is shared before it reads it. When it dies, the executions before the last
are repeated for their counts (the same seed gives the same inputs), the last is a defect, and the rest goes on.
"""

from __future__ import annotations

import gc
import json
import mmap
import os
import resource
import select
import signal
import struct
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path

from fuzz.engine import MAX_GROWTH, MAX_SECONDS, Tally, Target, play, scratch

BLOCKED_SECONDS = 30.0  # without a sign of life, where no CPU is used
_SLACK = 2**26  # of address space, for what grows with the number of executions
_HEAD = struct.Struct("<QQ")
_ROOM = 2**22


class _Cell:
    """The number and bytes of the execution that is going on, seen by both processes."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _ROOM)

    def put(self, number: int, data: bytes) -> None:
        """Notes an input, and gives it its time."""
        data = data[: _ROOM - _HEAD.size]
        self._memory[: _HEAD.size + len(data)] = _HEAD.pack(number, len(data)) + data
        signal.setitimer(signal.ITIMER_PROF, 1.5 * MAX_SECONDS)

    def get(self) -> tuple[int, bytes]:
        number, size = _HEAD.unpack_from(self._memory)
        return number, self._memory[_HEAD.size : _HEAD.size + size]


def play_apart(target: Target, seed: int, first: int, last: int) -> Tally:
    """As `play`, in a process that has 512 MiB more than this one and a second of CPU for each input."""
    scratch()
    target.seeds()  # what is made once is made before the process is
    whole, at = Tally(), first
    while at < last:
        tally, died, input_ = _attempt(target, seed, at, last)
        if tally is not None:
            whole.add(tally)
            return whole
        number, data = input_
        if number > at:
            whole.add(play_apart(target, seed, at, number))
        lost = Tally()
        lost.count("defect", died, number, data)
        whole.add(lost)
        at = number + 1
    return whole


def _attempt(target: Target, seed: int, first: int, last: int) -> tuple[Tally | None, str, tuple[int, bytes]]:
    """The counts; or None, how the process died, and of which execution."""
    cell = _Cell()
    cell.put(first, b"")
    signal.setitimer(signal.ITIMER_PROF, 0)
    reading, writing = os.pipe()
    gc.collect()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _work(target, seed, first, last, cell, writing)
    os.close(writing)
    with open(reading, "rb") as answers:
        answer = _listen(answers.fileno(), cell, child)
    status = os.waitpid(child, 0)[1]
    if answer and os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return _tally(answer), "", (last, b"")
    return None, _cause(status), cell.get()


def _listen(descriptor: int, cell: _Cell, child: int) -> bytes:
    """All that the process writes; one that is stuck in one execution is ended."""
    answer, at, since = b"", cell.get()[0], time.monotonic()
    while True:
        if select.select([descriptor], [], [], 1.0)[0]:
            more = os.read(descriptor, 2**16)
            if not more:
                return answer
            answer += more
        if cell.get()[0] != at:
            at, since = cell.get()[0], time.monotonic()
        elif time.monotonic() - since > BLOCKED_SECONDS:
            os.kill(child, signal.SIGKILL)


def _work(target: Target, seed: int, first: int, last: int, cell: _Cell, writing: int) -> None:
    """What the new process does, to its end."""
    try:
        gc.freeze()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # codecs print to it
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MAX_GROWTH + _SLACK
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        tally = play(target, seed, first, last, cell.put)
        signal.setitimer(signal.ITIMER_PROF, 0)
        inputs = [(kind, number, data.hex()) for kind, number, data in tally.inputs]
        answer = json.dumps(vars(tally) | {"inputs": inputs})
    except BaseException:
        answer = json.dumps({"failed": traceback.format_exc()})
    with suppress(BaseException), open(writing, "wb") as answers:
        answers.write(answer.encode())
    os._exit(0)


def _tally(answer: bytes) -> Tally:
    said = json.loads(answer)
    if "failed" in said:
        raise RuntimeError(f"the fuzzer itself fails:\n{said['failed']}")
    for name in ("refused", "defects"):
        said[name] = Counter(said[name])
    said["inputs"] = [(kind, number, bytes.fromhex(data)) for kind, number, data in said["inputs"]]
    return Tally(**said)


def _cause(status: int) -> str:
    if not os.WIFSIGNALED(status):
        return "the process ended"
    number = os.WTERMSIG(status)
    if number == signal.SIGPROF:
        return f"over {MAX_SECONDS:g} s"
    return f"stuck for {BLOCKED_SECONDS:g} s" if number == signal.SIGKILL else f"crash: {signal.Signals(number).name}"
