"""How much a masked dataset protects, as levels with plain names: how faces of several people are mixed at each."""

from __future__ import annotations

from facemae_cli.errors import UsageError
from facemae_cli.masking.mixing import Mixing

LEVELS = {
    "light": Mixing(people=2, copies=3),
    "strong": Mixing(people=3, copies=6),
}


def level(name: str) -> Mixing:
    """How faces are mixed at a level. Raises UsageError for a name that is none."""
    if name not in LEVELS:
        raise UsageError(f"--protect {name!r} is not a level; the levels are {', '.join(LEVELS)}")
    return LEVELS[name]
