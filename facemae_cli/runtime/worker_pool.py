"""Worker processes beside this one, for work that would wait for Python's lock in threads.

A call is one message each way; arrays in it cross in shared memory. Workers are started by this module, not by
`multiprocessing`: they import what they are handed and nothing else (no torch, and not the caller's main module, which
may be a notebook), and the shared memory has no name, so that nothing is left of it however the processes end. A worker
ends when its connection does, be it that its owner was killed. Ctrl-C does not reach it: it has a session of its own.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from socket import socketpair
from typing import Any, TypeVar

from facemae_cli.errors import OutputError
from facemae_cli.runtime.memory import keep_freed_memory

Item = TypeVar("Item")
Made = TypeVar("Made")

ITEMS_A_WORKER: float = 512  # faces whose work takes about as long as a worker takes to start: 0.3 s of CPU
SWITCH = 5e-4  # seconds after which a thread that looks after a worker may interrupt the one that computes
PATIENCE = 5.0  # seconds that a worker may take to end what it does
_ROOT = str(Path(__file__).parents[2])
_START = "import sys; sys.path.insert(0, sys.argv[1]); from facemae_cli.runtime.worker_pool import serve; serve()"
_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)


@contextmanager
def open_pool(workers: int, items: float, prepare: Callable[[], object]) -> Iterator[Executor]:
    """`workers` processes for so many items, each of which first calls `prepare`; threads of this process where a
    process would not pay, as for a single worker or few items. What is submitted to processes must be picklable.

    Raises OutputError where a process cannot be started, and in place of a result when one is lost.
    """
    count = min(workers, int(items / ITEMS_A_WORKER))
    if count < 2:
        with ThreadPoolExecutor(workers, thread_name_prefix="codec") as threads:
            yield threads
        return
    with WorkerPool(count, prepare) as pool:
        yield pool


class WorkerPool(Executor):
    """`count` processes, each looked after by a thread that waits for its results.

    What is submitted must not keep arrays that it was handed: they last until it returns.
    """

    def __init__(self, count: int, prepare: Callable[[], object]) -> None:
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        try:
            for _ in range(count):
                self._workers.append(_Worker(prepare))
                self._idle.put(self._workers[-1])
        except OSError as error:
            self._close()
            raise OutputError(f"a worker process cannot be started: {error}; lower --workers") from error
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="worker")
        # By default a thread waits 5 ms for a busy one: half the time in which a worker does a chunk.
        self._before = sys.getswitchinterval()
        sys.setswitchinterval(min(self._before, SWITCH))

    def submit(self, work: Callable[..., Made], /, *args: Any, **named: Any) -> Future[Made]:
        return self._threads.submit(self._call, work, args, named)

    def _call(self, work: Callable[..., Made], args: Sequence[Any], named: dict[str, Any]) -> Made:
        worker = self._idle.get()
        try:
            made: Made = worker.call(work, args, named)
            return made
        finally:
            self._idle.put(worker)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the processes, once what they are at is done."""
        sys.setswitchinterval(self._before)
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        self._close()

    def _close(self) -> None:
        for worker in self._workers:
            worker.hang_up()
        for worker in self._workers:
            worker.end()


class _Worker:
    """The owner's side of one process."""

    def __init__(self, prepare: Callable[[], object]) -> None:
        ours, theirs = socketpair()
        with theirs:
            self._channel = _Channel(Connection(ours.detach()), _Block(_nameless()), _Block(_nameless()))
            handed = (theirs.fileno(), self._channel.outgoing.descriptor, self._channel.incoming.descriptor)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, _ROOT, *map(str, handed)],
                pass_fds=handed,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | _ONE_THREAD,
            )
        self._channel.connection.send(sys.path)
        self._channel.connection.send(prepare)

    def call(self, work: Callable[..., Any], args: Sequence[Any], named: dict[str, Any]) -> Any:
        """What `work` returns there; raises what it raises."""
        try:
            self._channel.send((work, args, named))
            error, made = self._channel.receive()
        except (EOFError, ConnectionError) as lost:
            raise self._lost() from lost
        if error is not None:
            raise error
        return made

    def _lost(self) -> OutputError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        code = self._process.returncode
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
        return OutputError(
            f"a worker process ended {how} before its work was done, as when memory is short: what is finished is kept,"
            " so continue with --resume where there is one; --workers 1 does without processes"
        )

    def hang_up(self) -> None:
        self._channel.connection.close()

    def end(self) -> None:
        """Waits for its end, and brings that about where it takes too long."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._channel.outgoing.close()
        self._channel.incoming.close()


class _Block:
    """Memory that two processes share, behind a descriptor of each; it grows as it has to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def view(self, size: int) -> memoryview:
        """Its first `size` bytes. Raises OSError where there is no more memory."""
        if not size:
            return memoryview(bytearray())
        if self._memory is None or len(self._memory) < size:
            if os.fstat(self.descriptor).st_size < size:
                _allocate(self.descriptor, 1 << (size - 1).bit_length())
            self._memory = mmap.mmap(self.descriptor, os.fstat(self.descriptor).st_size)
        return memoryview(self._memory)[:size]

    def close(self) -> None:
        self._memory = None
        os.close(self.descriptor)


class _Channel:
    """Objects sent over a connection, their arrays by a block for each way, which holds one message at a time."""

    def __init__(self, connection: Connection, outgoing: _Block, incoming: _Block) -> None:
        self.connection, self.outgoing, self.incoming = connection, outgoing, incoming

    def send(self, value: object) -> None:
        arrays: list[memoryview] = []
        data = pickle.dumps(value, 5, buffer_callback=lambda buffer: arrays.append(buffer.raw()))
        sizes, at = [array.nbytes for array in arrays], 0
        view = self.outgoing.view(sum(sizes))
        for array, size in zip(arrays, sizes, strict=True):
            view[at : at + size] = array
            at += size
        self.connection.send_bytes(struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes) + data)

    def receive(self, *, keep: bool = True) -> Any:
        """Raises EOFError where the other side is gone. Without `keep`, arrays last until the next message alone."""
        message = self.connection.recv_bytes()
        (count,) = struct.unpack_from("<I", message)
        sizes, at = struct.unpack_from(f"<{count}Q", message, 4), 0
        arrays, view = [], self.incoming.view(sum(sizes))
        for size in sizes:
            array = view[at : at + size]
            arrays.append(bytearray(array) if keep else array)
            at += size
        return pickle.loads(memoryview(message)[4 + 8 * count :], buffers=arrays)


def serve() -> None:
    """A worker's whole life: calls answered until its owner hangs up."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    keep_freed_memory()  # decoded chunks come and go: 120 us a face less
    connection, incoming, outgoing = (int(word) for word in sys.argv[2:])
    channel = _Channel(Connection(connection), _Block(outgoing), _Block(incoming))
    with suppress(EOFError, ConnectionError):
        sys.path[:] = channel.connection.recv()
        channel.connection.recv()()
        while True:
            channel.send(_answer(channel))


def _answer(channel: _Channel) -> tuple[BaseException | None, Any]:
    """The error or the result of the next call."""
    try:
        work, args, named = channel.receive(keep=False)
        return None, work(*args, **named)
    except (EOFError, ConnectionError):
        raise
    except BaseException as error:
        error.add_note(traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__} in a worker process: {error}")
        return error, None


def _nameless() -> int:
    """The descriptor of a file in memory that no name leads to; where the system has none, on the disk."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("facemae", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _allocate(descriptor: int, size: int) -> None:
    """Makes the file that large, and sure that there is memory for it: a page that is missing later kills a process."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
