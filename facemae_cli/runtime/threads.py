"""Work spread over threads whose results come back in order; codecs and hashes let other threads run meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from facemae_cli.errors import UsageError
from facemae_cli.runtime import launcher

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 4  # results a thread may be ahead of their reader


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(asked: int | None) -> int:
    """How many workers `--workers` asks for; None: one per core, of which the ranks of this machine each take a share.

    Raises UsageError for less than one.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"--workers {asked} must be at least 1")
    return asked or max(1, cores() // launcher.local_world_size())


def ordered_units(
    pool: Executor, work: Callable[[Item], Made], units: Iterable[Iterable[Item]], ahead: int
) -> Generator[list[Made], None, None]:
    """`work` of every item of each unit, unit by unit in order, while the next `ahead` units are under way in `pool`.

    No more than these wait to be taken, so memory does not grow with the number of units. What `work` raises is raised
    here, at its unit's turn; closing the generator early drops what has not begun.
    """
    waiting: deque[list[Future[Made]]] = deque()
    try:
        for unit in units:
            waiting.append([pool.submit(work, item) for item in unit])
            if len(waiting) > ahead:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
    finally:
        for futures in waiting:
            for future in futures:
                future.cancel()


def ordered_map(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Generator[Made, None, None]:
    """`work` of each item, in the order of the items, in threads of its own; the rest as `ordered_units`.

    At most AHEAD results a thread wait to be taken.
    """
    alone = ([item] for item in items)
    with ThreadPoolExecutor(threads) as pool, closing(ordered_units(pool, work, alone, AHEAD * threads - 1)) as units:
        for [made] in units:
            yield made
