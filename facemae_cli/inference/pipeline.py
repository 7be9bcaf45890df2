"""The one inference pipeline: decoders, the device, encoders, all at work at once and in order.

Memory does not grow with the dataset: at most AHEAD units wait before the device and AHEAD behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from facemae_cli.data.decoding import open_image_pool
from facemae_cli.errors import UsageError
from facemae_cli.runtime.choices import check_batch_size
from facemae_cli.runtime.device import Precision, autocast
from facemae_cli.runtime.threads import ordered_units

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Computed = TypeVar("Computed")
Stored = TypeVar("Stored")

IN_FLIGHT = 2  # batches that a GPU has at a time
AHEAD = 2  # units that wait before and behind the device
CPU_SHARE = 16  # times as long as reading a face takes the network on a CPU, so that processes pay that much later
CPU_BATCH = 32
CUDA_BATCHES = (64, 128, 256, 512, 1024, 2048)
MEMORY_SHARE = 0.6  # of a GPU that a batch may take


def open_codecs(workers: int, faces: float, device: torch.device) -> AbstractContextManager[Executor]:
    """What reads and writes the images of so many faces for a network that computes on `device`."""
    return open_image_pool(workers, faces / (CPU_SHARE if device.type == "cpu" else 1))


def pipeline(
    units: Iterable[Sequence[Item]],
    load: Callable[[Item], Loaded],
    compute: Callable[[list[Loaded]], Sequence[Computed]],
    store: Callable[[Computed], Stored],
    *,
    threads: int,
) -> Generator[list[Stored], None, None]:
    """As `pipeline_in` a pool of `threads` threads."""
    with (
        ThreadPoolExecutor(threads, thread_name_prefix="codec") as pool,
        closing(pipeline_in(pool, units, load, compute, store)) as stored,
    ):
        yield from stored


def pipeline_in(
    pool: Executor,
    units: Iterable[Sequence[Item]],
    load: Callable[[Item], Loaded],
    compute: Callable[[list[Loaded]], Sequence[Computed]],
    store: Callable[[Computed], Stored],
) -> Generator[list[Stored], None, None]:
    """For each unit of items, in order: every item loaded, the unit computed, every result stored.

    `load` and `store` run in `pool`, `compute` in the caller's thread; what any of them raises is raised here at its
    unit's turn. Leaving the generator early drops what has not begun.
    """
    with (
        closing(ordered_units(pool, load, units, AHEAD)) as loaded,
        closing(ordered_units(pool, store, map(compute, loaded), AHEAD)) as stored,
    ):
        yield from stored


class _Lane:
    """The way of one batch to the device and back; pinned, its host memory is used again, and copies do not wait."""

    def __init__(self, device: torch.device, pinned: bool) -> None:
        self._device, self._pinned = device, pinned
        self._given: dict[int, Tensor] = {}
        self._result = torch.empty(0)
        self._kept = torch.empty(0)
        self._done: torch.cuda.Event | None = None

    def given(self, at: int, rows: Tensor, padded: int) -> Tensor:
        """Input number `at` on the device: (n, ...) `rows`, and copies of the first up to `padded` of them."""
        if not self._pinned:
            more = padded - len(rows)
            return torch.cat([rows, rows[:1].expand(more, *rows.shape[1:])]) if more else rows
        held = self._given.get(at)
        if held is None or held.shape[1:] != rows.shape[1:] or held.dtype != rows.dtype or len(held) < padded:
            held = self._given[at] = torch.empty((padded, *rows.shape[1:]), dtype=rows.dtype, pin_memory=_can_pin())
        _copy(rows, held[: len(rows)])
        held[len(rows) : padded] = rows[:1]
        return held[:padded].to(self._device, non_blocking=True)

    def keep(self, result: Tensor) -> None:
        """Begins to copy the network's result to the host."""
        if not self._pinned:
            self._result = result.cpu()
            return
        kept = self._kept
        if kept.shape[1:] != result.shape[1:] or kept.dtype != result.dtype or len(kept) < len(result):
            kept = self._kept = torch.empty(result.shape, dtype=result.dtype, pin_memory=_can_pin())
        self._result = kept[: len(result)]
        self._result.copy_(result, non_blocking=True)
        if result.is_cuda:
            self._done = torch.cuda.Event()
            self._done.record()

    def fetch(self) -> Tensor:
        """The result, once it is there; it stays until the lane is given another batch."""
        if self._done is not None:
            self._done.synchronize()
        return self._result


class _Rows:
    """`count` rows on the host, filled in order by batches of them."""

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self.filled = torch.empty(0)

    def add(self, batch: Tensor) -> None:
        if not self._filled:
            self.filled = torch.empty((self._count, *batch.shape[1:]), dtype=batch.dtype)
        _copy(batch, self.filled[self._filled : self._filled + len(batch)])
        self._filled += len(batch)


def _copy(rows: Tensor, into: Tensor) -> None:
    """Rows from host memory to host memory, by numpy: after a copy by torch its threads wait for the next at full
    speed, on cores that workers want."""
    np.copyto(into.view(torch.uint8).numpy(), rows.contiguous().view(torch.uint8).numpy())  # numpy has no bfloat16


def _can_pin() -> bool:
    return torch.cuda.is_available()


class Runner:
    """A network on a device, fed in batches of one size, halved when memory runs out.

    `network` takes and returns tensors whose first axis is the batch. A batch that is not full is padded to the next
    power of two with copies of its first row, so that a row's figures depend on the partition alone.
    """

    def __init__(
        self, network: Callable[..., Tensor], device: torch.device, precision: Precision, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"--batch-size {batch_size} must be at least 1, or auto")
        self.network, self.device, self.precision = network, device, precision
        self.batch_size, self.halvings = batch_size, 0
        pinned = device.type == "cuda"
        self._lanes = [_Lane(device, pinned) for _ in range(IN_FLIGHT if pinned else 1)]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """inputs: tensors of N rows on the host; returns the network's N rows on the host.

        A GPU has the next batch before the last one's results are fetched.
        """
        made = _Rows(len(inputs[0]))
        waiting: deque[_Lane] = deque()
        first = 0
        while first < len(inputs[0]):
            rows = [tensor[first : first + self.batch_size] for tensor in inputs]
            if len(waiting) == len(self._lanes):
                made.add(waiting.popleft().fetch())
            lane = next(lane for lane in self._lanes if lane not in waiting)
            try:
                self._start(lane, rows)
            except torch.OutOfMemoryError:
                while waiting:
                    made.add(waiting.popleft().fetch())
                self._halve()
                continue
            waiting.append(lane)
            first += len(rows[0])
        while waiting:
            made.add(waiting.popleft().fetch())
        return made.filled

    @torch.inference_mode()
    def _start(self, lane: _Lane, rows: list[Tensor]) -> None:
        count = len(rows[0])
        padded = min(self.batch_size, 1 << (count - 1).bit_length())
        with autocast(self.device, self.precision):
            lane.keep(self.network(*(lane.given(at, row, padded) for at, row in enumerate(rows)))[:count])

    def _halve(self) -> None:
        if self.batch_size == 1:
            raise UsageError(f"{self.device}: out of memory with one face at a time; take a smaller model or device")
        self.batch_size //= 2
        self.halvings += 1
        torch.cuda.empty_cache()


def choose_batch_size(asked: str, runner: Runner, example: Sequence[Tensor]) -> int:
    """`auto` or a number of faces, as a number; `auto` tries on a GPU what fits, with `example` inputs of one row.

    Raises UsageError for anything else.
    """
    check_batch_size(asked)
    if asked != "auto":
        return int(asked)
    if runner.device.type != "cuda":
        return CPU_BATCH
    total = torch.cuda.get_device_properties(runner.device).total_memory
    best = 1
    for size in CUDA_BATCHES:
        torch.cuda.reset_peak_memory_stats(runner.device)
        runner.batch_size = size
        runner(*(row[:1].expand(size, *row.shape[1:]).contiguous() for row in example))
        if runner.halvings or torch.cuda.max_memory_allocated(runner.device) > MEMORY_SHARE * total:
            break
        best = size
    runner.halvings = 0
    return best
