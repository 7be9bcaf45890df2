"""The pipeline's order, bounds and errors; the runner's batches, padding and halving."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from facemae_cli.errors import FaceError, UsageError
from facemae_cli.inference.pipeline import AHEAD, CPU_BATCH, IN_FLIGHT, Runner, _Lane, choose_batch_size, pipeline

CPU = torch.device("cpu")


def units(count: int, size: int) -> list[range]:
    return [range(at, at + size) for at in range(0, count * size, size)]


def test_results_come_in_order_whatever_takes_long() -> None:
    def load(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item

    def store(item: int) -> int:
        time.sleep(0.002 * ((item + 1) % 3))
        return -item

    made = list(pipeline(units(7, 4), load, lambda items: [10 * item for item in items], store, threads=3))
    assert made == [[-10 * item for item in unit] for unit in units(7, 4)]


def test_no_more_than_the_bound_is_read_ahead() -> None:
    begun: list[int] = []
    lock = threading.Lock()

    def load(item: int) -> int:
        with lock:
            begun.append(item)
        return item

    stages = pipeline(units(50, 2), load, list, lambda item: item, threads=2)
    next(stages)
    assert len(begun) <= 2 * (2 * AHEAD + 2)
    stages.close()


@pytest.mark.parametrize("stage", ["load", "compute", "store"])
def test_what_a_stage_raises_is_raised(stage: str) -> None:
    def work(name: str) -> Iterator[None]:
        if name == stage:
            raise FaceError("corrupt", f"in {name}")
        yield

    def load(item: int) -> int:
        list(work("load"))
        return item

    def compute(items: list[int]) -> list[int]:
        list(work("compute"))
        return items

    def store(item: int) -> int:
        list(work("store"))
        return item

    with pytest.raises(FaceError, match=f"in {stage}"):
        list(pipeline(units(3, 2), load, compute, store, threads=2))


def test_batches_are_full_or_padded_to_a_power_of_two_and_cut_back() -> None:
    seen: list[int] = []

    def network(rows: torch.Tensor) -> torch.Tensor:
        seen.append(len(rows))
        return rows * 2

    rows = torch.arange(21)
    assert torch.equal(Runner(network, CPU, "fp32", 8)(rows), rows * 2)
    assert seen == [8, 8, 8]
    seen.clear()
    Runner(network, CPU, "fp32", 8)(rows[:11])
    assert seen == [8, 4]


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.uint8, torch.float32, torch.int64])
def test_rows_of_any_kind_come_back_as_they_are(dtype: torch.dtype, pinned: bool) -> None:
    rows = torch.arange(66, dtype=dtype).reshape(11, 3, 2)
    runner = Runner(lambda batch: batch.transpose(1, 2), CPU, "fp32", 4)
    runner._lanes = [_Lane(CPU, pinned)]
    made = runner(rows)
    assert made.dtype == dtype
    assert torch.equal(made, rows.transpose(1, 2))


def test_memory_that_runs_out_halves_the_batch_and_loses_nothing() -> None:
    def network(rows: torch.Tensor) -> torch.Tensor:
        if len(rows) > 3:
            raise torch.OutOfMemoryError("no room")
        return rows + 1

    runner = Runner(network, CPU, "fp32", 16)
    assert runner(torch.arange(20)).tolist() == list(range(1, 21))
    assert (runner.batch_size, runner.halvings) == (2, 3)


def test_memory_that_is_never_enough_is_said() -> None:
    def network(rows: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(UsageError, match="cpu: out of memory with one face at a time"):
        Runner(network, CPU, "fp32", 2)(torch.arange(4))


def test_batch_sizes_as_asked_and_as_found() -> None:
    runner = Runner(lambda rows: rows, CPU, "fp32", 1)
    assert choose_batch_size("7", runner, []) == 7
    assert choose_batch_size("auto", runner, []) == CPU_BATCH
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(UsageError, match="neither auto nor a number"):
            choose_batch_size(wrong, runner, [])


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="--batch-size 0 must be at least 1"):
        Runner(lambda rows: rows, CPU, "fp32", 0)


def test_batches_in_flight_use_the_same_memory_and_lose_nothing() -> None:
    """As on a GPU, whose lanes are pinned; here they are plain memory, and the copies do not overlap."""
    seen: list[int] = []

    def network(rows: torch.Tensor, more: torch.Tensor) -> torch.Tensor:
        if len(rows) > 4:
            raise torch.OutOfMemoryError("no room")
        seen.append(rows.data_ptr())
        return rows * 2 + more[:, :1]

    runner = Runner(network, CPU, "fp32", 8)
    runner._lanes = [_Lane(CPU, pinned=True) for _ in range(IN_FLIGHT)]
    for count in (23, 3, 40):
        rows, more = torch.arange(3 * count).reshape(count, 3), torch.arange(2 * count).reshape(count, 2)
        assert torch.equal(runner(rows, more), rows * 2 + more[:, :1])
    assert runner.batch_size == 4
    assert len(set(seen)) == IN_FLIGHT


def test_the_next_batch_starts_before_the_last_one_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fetch = _Lane.fetch
    monkeypatch.setattr(_Lane, "fetch", lambda lane: steps.append("fetch") or fetch(lane))
    runner = Runner(lambda rows: steps.append("start") or rows, CPU, "fp32", 4)
    runner._lanes = [_Lane(CPU, pinned=True) for _ in range(IN_FLIGHT)]
    assert runner(torch.arange(12)).tolist() == list(range(12))
    assert steps == ["start", "start", "fetch", "start", "fetch", "fetch"]
