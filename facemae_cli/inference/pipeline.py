"""The one inference pipeline: decoders, the device, encoders, all at work at once and in order.

Memory does not grow with the dataset: at most AHEAD units wait before the device and AHEAD behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import torch
from torch import Tensor

from facemae_cli.errors import UsageError
from facemae_cli.runtime.choices import check_batch_size
from facemae_cli.runtime.device import Precision, autocast
from facemae_cli.runtime.threads import ordered_units

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Computed = TypeVar("Computed")
Stored = TypeVar("Stored")

AHEAD = 2  # units that wait before and behind the device
CPU_BATCH = 32
CUDA_BATCHES = (64, 128, 256, 512, 1024, 2048)
MEMORY_SHARE = 0.6  # of a GPU that a batch may take


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

    def __call__(self, *inputs: Tensor) -> Tensor:
        """inputs: tensors of N rows on the host; returns the network's N rows on the host."""
        made: list[Tensor] = []
        first = 0
        while first < len(inputs[0]):
            rows = [tensor[first : first + self.batch_size] for tensor in inputs]
            try:
                made.append(self._batch(rows))
            except torch.OutOfMemoryError:
                self._halve()
                continue
            first += len(rows[0])
        return torch.cat(made)

    @torch.inference_mode()
    def _batch(self, rows: list[Tensor]) -> Tensor:
        count = len(rows[0])
        padded = min(self.batch_size, 1 << (count - 1).bit_length())
        if padded > count:
            rows = [torch.cat([row, row[:1].expand(padded - count, *row.shape[1:])]) for row in rows]
        with autocast(self.device, self.precision):
            return self.network(*(self._to_device(row) for row in rows))[:count].cpu()

    def _to_device(self, row: Tensor) -> Tensor:
        if self.device.type == "cuda":
            return row.pin_memory().to(self.device, non_blocking=True)
        return row

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
