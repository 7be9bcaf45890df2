"""The first signal ends a process in two seconds whatever it waits in: real processes, one rank of two missing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from facemae_cli.data.synthetic import write_dataset
from facemae_cli.runtime.signals import Stopped, signals_end

LIMIT = 2.0  # seconds from the signal to the end
STARTING = 60.0  # seconds for a process to come to where it waits, on a busy machine


def default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def python(*words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *words]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        preexec_fn=default_signals,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ends_in_time(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Sends the signal; what the process says on stderr before it ends with its code."""
    sent = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert time.monotonic() - sent < LIMIT
    return err


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(STARTING)
        yield listening


def rank(number: int, port: int) -> dict[str, str]:
    return {"WORLD_SIZE": "2", "RANK": str(number), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def until_listening(port: int) -> None:
    wanted, began = f":{port:04X} ", time.monotonic()
    while not any(
        wanted in line.split("rem_address")[-1] and " 0A " in line
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()
    ):
        assert time.monotonic() - began < STARTING
        time.sleep(0.05)


def test_a_first_rank_ends_that_waits_for_the_second(tmp_path: Path, port: socket.socket) -> None:
    write_dataset(tmp_path / "raw", 1, 1)
    number = port.getsockname()[1]
    port.close()
    words = f"-m facemae_cli mask --in {tmp_path}/raw --out {tmp_path}/out --key {tmp_path}/k".split()
    with python(*words, **rank(0, number)) as process:
        until_listening(number)
        time.sleep(0.3)
        err = ends_in_time(process, signal.SIGTERM)
    assert err.endswith("facemae: error: stopped by SIGTERM; the same command with --resume continues from here\n")
    assert not (tmp_path / "out").exists()


def test_a_second_rank_ends_that_waits_for_the_first(tmp_path: Path, port: socket.socket) -> None:
    write_dataset(tmp_path / "raw", 1, 1)
    port.listen()
    words = f"-m facemae_cli mask --in {tmp_path}/raw --out {tmp_path}/out --key {tmp_path}/k".split()
    with python(*words, **rank(1, port.getsockname()[1])) as process:
        answered, _ = port.accept()  # it is connected, and nobody answers
        with answered:
            time.sleep(0.3)
            ends_in_time(process, signal.SIGINT)


# A wait that no handler interrupts, without the seconds that torch takes to start: a lock of libc.
STUCK = """
import ctypes, os, sys, threading
from facemae_cli.runtime.signals import signals_end
def say(number):
    print("farewell", number, file=sys.stderr, flush=True)
def wait():
    libc = ctypes.CDLL(None)
    lock = ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(lock)
    threading.Timer(0.3, print, ["ready"], {{"flush": True}}).start()
    libc.pthread_mutex_lock(lock)
with signals_end(say, os._exit, whole_process=True):
    {body}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_native_wait_ends(number: signal.Signals) -> None:
    with python("-c", STUCK.format(body="wait()")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert ends_in_time(process, number) == f"farewell {number}\n"


def test_tidying_up_that_hangs_ends_as_well() -> None:
    body = "try:\n        print('ready', flush=True); import time; time.sleep(30)\n    finally:\n        wait()"
    with python("-c", STUCK.format(body=body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ends_in_time(process, signal.SIGTERM)


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    """The interpreter waits for its threads when all else is done."""
    body = "import time; threading.Thread(target=wait).start(); time.sleep(30)"
    with python("-c", STUCK.format(body=body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ends_in_time(process, signal.SIGTERM)


def test_a_second_signal_does_not_wait() -> None:
    with python("-c", STUCK.format(body="wait()")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 128 + signal.SIGTERM
        assert time.monotonic() - sent < 0.6


def test_a_rank_does_not_outlive_its_launcher() -> None:
    """torchrun is killed; its rank, in a native wait, finds another parent and ends."""
    launcher = (
        "import subprocess, sys, time;"
        f"rank = subprocess.Popen([sys.executable, '-c', {STUCK.format(body='wait()')!r}], stdout=subprocess.PIPE);"
        "rank.stdout.readline(); print(rank.pid, flush=True); time.sleep(60)"
    )
    with python("-c", launcher, TORCHELASTIC_RUN_ID="none") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
        began = time.monotonic()
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() - began < LIMIT + 0.5
            time.sleep(0.05)


def test_nothing_is_left_behind_where_the_process_goes_on() -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)

    def stopped() -> None:
        with signals_end(lambda number: None, os._exit, whole_process=False):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)

    with pytest.raises(Stopped):
        stopped()
    assert signal.set_wakeup_fd(before) == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_forked_child_keeps_its_signals_to_itself() -> None:
    with signals_end(lambda number: None, os._exit, whole_process=False):
        pid = os.fork()
        if pid == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            except Stopped:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        time.sleep(1.5)  # a parent that took the signal for its own would be gone
