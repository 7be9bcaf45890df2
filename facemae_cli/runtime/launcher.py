"""What torchrun, or another launcher, says to each rank in environment variables, checked before it is believed."""

from __future__ import annotations

import os

from facemae_cli.errors import UsageError

_MEETING = ("MASTER_ADDR", "MASTER_PORT")  # where ranks meet


def world_size() -> int:
    """How many ranks were started: WORLD_SIZE, 1 where it is not set. Raises UsageError."""
    return _number("WORLD_SIZE", 1, least=1)


def rank() -> int:
    """This process's number among the ranks, from 0: RANK where there are several. Raises UsageError."""
    world = world_size()
    if world == 1:
        return 0
    _require("RANK")
    number = _number("RANK", 0)
    if number >= world:
        raise UsageError(f"RANK={number} is not below WORLD_SIZE={world}; start the ranks with torchrun")
    return number


def local_rank() -> int | None:
    """This process's number among the ranks of its machine; None where no launcher says so. Raises UsageError."""
    return _number("LOCAL_RANK", 0) if "LOCAL_RANK" in os.environ else None


def local_world_size() -> int:
    """How many ranks share this machine. Raises UsageError."""
    return _number("LOCAL_WORLD_SIZE", 1, least=1)


def check() -> int:
    """How many ranks there are, once all that they need to meet is known to be there. Raises UsageError."""
    rank()
    if world_size() > 1:
        for name in _MEETING:
            _require(name)
        _number("MASTER_PORT", 0, largest=2**16 - 1)
    return world_size()


def is_launched() -> bool:
    """Whether torchrun is this process's parent and looks after it."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def _require(name: str) -> None:
    if not os.environ.get(name):
        several = f"WORLD_SIZE={world_size()} announces several ranks"
        raise UsageError(f"{several}, but {name} is not set; start them with torchrun, or unset WORLD_SIZE")


def _number(name: str, default: int, least: int = 0, largest: int = 2**31 - 1) -> int:
    text = os.environ.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 11 and least <= int(text) <= largest):
        raise UsageError(
            f"{name}={text[:40]!r} in the environment is not a whole number from {least} to {largest}; start ranks "
            f"with torchrun, or unset {name}"
        )
    return int(text)
