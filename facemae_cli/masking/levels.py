"""How much a masked dataset protects, as levels with plain names: how many people are in a face, how much is hidden."""

from __future__ import annotations

from typing import NamedTuple

from facemae_cli.errors import UsageError
from facemae_cli.masking.mixing import Mixing


class Level(NamedTuple):
    """How faces are mixed, and the share of each photo's patches that is hidden before."""

    mixing: Mixing
    ratio: float


LEVELS = {
    "light": Level(Mixing(people=2, copies=3), ratio=0.7),
    "strong": Level(Mixing(people=3, copies=2), ratio=0.8),
}


def level_called(name: str) -> Level:
    """The level of that name. Raises UsageError where there is none."""
    if name not in LEVELS:
        raise UsageError(f"--protect {name!r} is not a level; the levels are {', '.join(LEVELS)}")
    return LEVELS[name]
