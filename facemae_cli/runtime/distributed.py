"""Many processes as one: what torchrun tells a rank, and collectives that are nothing on a single rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from facemae_cli.errors import OutputError
from facemae_cli.runtime import launcher

T = TypeVar("T")


def rank() -> int:
    """This process's number among the ranks, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the ranks that torchrun started; nothing where there is only one.

    Raises UsageError where the launcher's variables make no sense, OutputError where the other ranks cannot be reached
    or are lost on the way.
    """
    if dist.is_initialized() or launcher.check() < 2:
        yield
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        try:
            yield
        finally:
            dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        first = str(error).strip().partition("\n")[0]
        lost = f"rank {launcher.rank()} of {launcher.world_size()} has lost the others ({first[:160]})"
        raise OutputError(f"{lost}: another rank's own message says why; start all of them again") from error


class _Gather(torch.autograd.Function):
    """Rows of all ranks, with a gradient.

    Every rank then computes the same loss over all rows. The gradient of its own rows is multiplied by the number
    of ranks, since DistributedDataParallel averages over ranks what has to be a sum.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.first, ctx.count = rank() * len(rows), len(rows)
        parts = [torch.empty_like(rows) for _ in range(world())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0][ctx.first : ctx.first + ctx.count] * world()


class _GatherShared(torch.autograd.Function):
    """Rows of all ranks, where each rank computes a part of the loss from all of them.

    The gradients of a rank's rows then come from every rank: they are summed, and multiplied as in `_Gather`.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return _Gather.forward(ctx, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total[ctx.first : ctx.first + ctx.count] * world()


class _Sum(torch.autograd.Function):
    """The sum over ranks, whose gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _Sum.forward(ctx, grads[0].contiguous())


def gather_rows(rows: Tensor) -> Tensor:
    """(n, ...) on each rank to (n * world, ...) on every rank, in rank order; each rank must bring as many rows."""
    return rows if world() == 1 else _Gather.apply(rows)


def gather_shared(rows: Tensor) -> Tensor:
    """As `gather_rows`, for a loss of which each rank computes only a part, such as that of its share of classes."""
    return rows if world() == 1 else _GatherShared.apply(rows)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over ranks, with a gradient; each rank must bring the same shape."""
    return value if world() == 1 else _Sum.apply(value)


def max_over_ranks(value: Tensor) -> Tensor:
    """The elementwise largest over ranks, without a gradient."""
    if world() == 1:
        return value
    largest = value.detach().clone()
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return largest


def share(count: int) -> tuple[int, int]:
    """The first and one past the last of `count` things that are this rank's, by equal contiguous shares."""
    return count * rank() // world(), count * (rank() + 1) // world()


def join_shares(rows: Tensor, count: int) -> Tensor:
    """The `count` rows of which each rank holds its `share`, on rank 0; the other ranks get none."""
    if world() == 1:
        return rows
    longest = -(-count // world())
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world())] if rank() == 0 else None
    dist.gather(padded, parts)
    sizes = [count * (r + 1) // world() - count * r // world() for r in range(world())]
    return torch.cat([part[:size] for part, size in zip(parts or [], sizes, strict=False)]) if parts else rows[:0]


def mean_over_ranks(value: float, device: torch.device) -> float:
    """The mean of a figure over ranks, in float64."""
    if world() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(total) / world()


def gather_objects(value: Any) -> list[Any]:
    """What each rank holds, in rank order, on every rank."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    dist.all_gather_object(values, value)
    return values


def to_first(value: Any) -> list[Any]:
    """What each rank holds, in rank order, on rank 0; nothing on the others."""
    if world() == 1:
        return [value]
    values: list[Any] | None = [None] * world() if rank() == 0 else None
    dist.gather_object(value, values)
    return values or []


def from_first(value: Any) -> Any:
    """What rank 0 holds, on every rank."""
    if world() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def on_rank_zero(work: Callable[[], T]) -> T:
    """What `work` returns on the first rank, on every rank; all raise what it raises there."""
    made: tuple[T | None, Exception | None] = None, None
    if rank() == 0:
        try:
            made = work(), None
        except Exception as error:
            made = None, error
    value, failed = from_first(made)
    if failed is not None:
        raise failed
    return cast(T, value)
