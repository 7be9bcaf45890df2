"""Work spread over threads whose results come back in order; codecs and hashes let other threads run meanwhile."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")

AHEAD = 4  # results a thread may be ahead of their reader


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ordered_map(work: Callable[[Item], Made], items: Iterable[Item], threads: int) -> Generator[Made, None, None]:
    """`work` of each item, in the order of the items.

    At most AHEAD results a thread wait to be taken, so memory does not grow with the number of items. What `work`
    raises is raised here, at that item's turn; leaving the iterator early drops what has not begun.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
