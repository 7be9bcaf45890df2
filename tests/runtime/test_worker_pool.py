"""Worker processes: what crosses, what a lost one says, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.maskedfaces import chunk_of, masked_png

from facemae_cli.data.images.headers.header import Limits, limits_in_use, use_limits
from facemae_cli.errors import FaceError, OutputError
from facemae_cli.inference.masked_reader import MaskedReader
from facemae_cli.runtime import worker_pool
from facemae_cli.runtime.worker_pool import WorkerPool, open_pool

LOADED = "'torch' in __import__('sys').modules"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1, partial(use_limits, Limits(max_pixels=12345))) as pool:
        yield pool


def test_arrays_of_any_size_come_and_go(pool: WorkerPool) -> None:
    for count in (0, 5, 300_000, 7):
        made = pool.submit(np.add, np.arange(count), 3).result()
        assert np.array_equal(made, np.arange(count) + 3)
        made += 1  # it is the caller's own


def test_what_a_worker_was_handed_may_be_its_answer(pool: WorkerPool) -> None:
    """Its arguments lie in memory that the next call writes over."""
    handed = [np.arange(first, first + 300_000) for first in (0, 7)]
    made = [pool.submit(np.ravel, array).result() for array in handed]
    assert all(np.array_equal(*pair) for pair in zip(made, handed, strict=True))


def test_an_error_is_raised_as_it_is(pool: WorkerPool) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        pool.submit(int, "x").result()
    with pytest.raises(FaceError, match="why"):
        pool.submit(exec, "from facemae_cli.errors import FaceError; raise FaceError('code', 'why')").result()
    assert pool.submit(int, "7").result() == 7


def test_an_error_that_cannot_cross_is_told_in_words(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError, match="Odd in a worker process: 3"):
        pool.submit(exec, "class Odd(Exception): pass\nraise Odd(3)", {}).result()


def test_what_is_prepared_holds_there(pool: WorkerPool) -> None:
    assert pool.submit(limits_in_use).result().max_pixels == 12345


def test_readers_of_faces_need_no_torch_there(pool: WorkerPool) -> None:
    pool.submit(use_limits, limits_in_use()).result()
    chunk = chunk_of(masked_png(1), masked_png(2, 98))
    assert np.array_equal(pool.submit(MaskedReader(8), chunk).result().patches, MaskedReader(8)(chunk).patches)
    assert pool.submit(eval, LOADED).result() is False


def test_a_worker_computes_in_one_thread(pool: WorkerPool) -> None:
    chunk = chunk_of(*(masked_png(seed) for seed in range(32)))
    pool.submit(MaskedReader(8), chunk).result()  # large enough for OpenCV to share it out
    assert pool.submit(eval, "__import__('cv2').getNumThreads()").result() == 1


def test_a_worker_that_is_killed_is_told_of_in_one_line() -> None:
    with WorkerPool(1, int) as pool:
        number = pool.submit(os.getpid).result()
        with pytest.raises(OutputError, match=r"SIGKILL.*--resume.*--workers 1") as raised:
            pool.submit(os.kill, number, signal.SIGKILL).result()
        assert "\n" not in str(raised.value)
        with pytest.raises(OutputError):
            pool.submit(int).result()


def test_a_single_worker_and_few_items_need_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "WorkerPool", lambda count, prepare: pytest.fail("a process"))
    for workers, items in ((1, 10**9), (8, 1023)):
        with open_pool(workers, items, int) as pool:
            assert isinstance(pool, ThreadPoolExecutor)


def test_workers_end_with_an_owner_that_is_killed() -> None:
    code = (
        "import os, time; from facemae_cli.runtime.worker_pool import WorkerPool\n"
        "pool = WorkerPool(1, int); print(pool.submit(os.getpid).result(), flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    worker = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    deadline = time.monotonic() + 20
    while _runs(worker):
        assert time.monotonic() < deadline, "an orphan"
        time.sleep(0.02)


def _runs(number: int) -> bool:
    """Whether it is there, and no zombie that waits for init."""
    try:
        return ") Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False
