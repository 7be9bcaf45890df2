"""One output by many ranks: rank r of R makes units r, r + R, ..., and the first rank writes all of them, in order.

Who made a unit does not show in it, so the output is the same on any number of ranks, and a stopped job may continue on
another number of them. Torch is loaded only where torchrun says that there are several.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import ModuleType
from typing import TypeVar, cast

from facemae_cli.runtime import launcher

Made = TypeVar("Made")
Entered = TypeVar("Entered")


def _ranks() -> ModuleType | None:
    """The collectives, None where this process is alone."""
    if launcher.world_size() < 2:
        return None
    from facemae_cli.runtime import distributed

    return distributed


@contextmanager
def process_group(device: str) -> Iterator[None]:
    """Be one of torchrun's ranks while the context lasts. `device`: cpu or cuda."""
    ranks = _ranks()
    if ranks is None:
        yield
        return
    import torch

    with ranks.process_group(torch.device(device)):
        yield


@contextmanager
def rank_zero_context(enter: Callable[[], AbstractContextManager[Entered]]) -> Iterator[Entered | None]:
    """On the first rank what `enter` gives, on the others None. An error of the first on entering is raised by all."""
    with ExitStack() as stack:
        yield rank_zero_first(lambda: stack.enter_context(enter()))


def rank_zero_first(work: Callable[[], Made]) -> Made | None:
    """What `work` returns on the first rank, and None on the others, which wait for it and raise what it raises."""
    ranks = _ranks()
    if ranks is None:
        return work()
    made: list[Made] = []  # kept here: it may be an open file, which no other rank can be handed
    ranks.on_rank_zero(lambda: made.append(work()))
    return made[0] if made else None


def broadcast(value: Made) -> Made:
    """What the first rank holds, on every rank."""
    ranks = _ranks()
    return value if ranks is None else cast(Made, ranks.from_first(value))


def run_sharded(
    units: Sequence[Entered], make: Callable[[Sequence[Entered]], Generator[Made, None, None]]
) -> Generator[Made, None, None]:
    """What `make` gives for each of `units`, in order, on the first rank; the others only help, and yield nothing.

    `make` is given this rank's units and yields as many things, which must be picklable.
    """
    ranks = _ranks()
    if ranks is None:
        yield from make(units)
        return
    rank, world = ranks.rank(), ranks.world()
    mine = make(units[rank::world])
    for first in range(0, len(units), world):
        own = next(mine) if first + rank < len(units) else None
        parts = ranks.to_first(own)
        yield from parts[: len(units) - first]
