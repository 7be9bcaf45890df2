"""Other processes in a test: forked, without the seconds that a Python with torch takes to start."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo  # a second of every process that makes an optimizer: once here, not in each that is forked
import torch.distributed as dist

from facemae_cli.runtime import distributed

PATIENCE = 60.0  # seconds


def run_ranks(world: int, folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """What `work(rank)` returns on each of `world` ranks; it may use `facemae_cli.runtime.distributed` and autograd."""
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    store = folder / f"store-{world}-{len(list(folder.iterdir()))}"

    def run(rank: int) -> None:
        told = open(f"{store}.{rank}", "w")  # noqa: SIM115  kept open, to tell where this rank hangs
        faulthandler.dump_traceback_later(PATIENCE - 10, file=told)
        gc.disable()  # what is collected here might join threads that only the parent has
        try:
            torch.set_num_threads(1)  # the parent's OpenMP threads do not outlive the fork
            dist.init_process_group("gloo", store=dist.FileStore(str(store), world), rank=rank, world_size=world)
            made = work(rank)
            dist.barrier()
            answers.put((rank, made, None))
        except BaseException:
            answers.put((rank, None, traceback.format_exc()))

    processes = [context.Process(target=run, args=(rank,), daemon=True) for rank in range(world)]
    gc.freeze()  # and what the parent has stays as it is
    for process in processes:
        process.start()
    gc.unfreeze()
    found = {}
    for _ in processes:
        try:
            rank, made, error = answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise AssertionError("\n".join(Path(f"{store}.{each}").read_text() for each in range(world))) from None
        assert error is None, error
        found[rank] = made
    for process in processes:
        process.join(10)
        process.kill()
    return [found[rank] for rank in range(world)]


def end_of(work: Callable[[], Any]) -> int:
    """How a forked process ends that does `work`, on one thread: its exit code, or minus the signal."""
    gc.freeze()  # as above
    pid = os.fork()
    if pid == 0:
        gc.disable()
        code = 70
        try:
            torch.set_num_threads(1)  # as above
            work()
            code = 0
        finally:
            os._exit(code)
    gc.unfreeze()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def on_ranks(count: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`work` on `count` ranks, which are threads here."""
    here, meet = threading.local(), threading.Barrier(count, timeout=30)
    held: list[Any] = [None] * count
    results: list[Any] = [None] * count

    def gather(value: Any) -> list[Any]:
        held[here.rank] = value
        meet.wait()
        every = list(held)
        meet.wait()
        return every

    def start(rank: int) -> None:
        here.rank = rank
        results[rank] = work()

    monkeypatch.setattr(distributed, "rank", lambda: here.rank)
    monkeypatch.setattr(distributed, "world", lambda: count)
    monkeypatch.setattr(distributed, "gather_objects", gather)
    threads = [threading.Thread(target=start, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
