"""How much a masked dataset protects, as levels with plain names: how many people are in a face, how much is hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.masking.mixing import Mixing

Rate = tuple[float, float, float]  # in percent, with its 95 % interval


@dataclass(frozen=True)
class Measured:
    """What was measured of a release of 6,731 photos of 1,529 people, reconstructed by mae-v1 (models/RESULTS.md).

    `other`, `same`: how many photos find one of their people among the two nearest faces, by the strongest attacker,
    who has learnt from mixtures of their own; by another photo, and by the very one. `lfw`: the accuracy there, in
    percent, of a small recogniser that learnt from it, the mean over three seeds."""

    other: Rate
    same: Rate
    lfw: float

    def __str__(self) -> str:
        other, same = (f"{rate:.1f} % ({low:.1f} to {high:.1f})" for rate, low, high in (self.other, self.same))
        return (
            f"the strongest attacker finds one of its people by {other} of their other photos and by {same} of the "
            f"very photos; a recogniser trained on it reaches {self.lfw:.1f} % on LFW"
        )


class Level(NamedTuple):
    """How faces are mixed, and the share of each photo's patches that is hidden before."""

    mixing: Mixing
    ratio: float
    measured: Measured | None = None


LEVELS = {
    "light": Level(
        Mixing(people=2, copies=3),
        ratio=0.7,
        measured=Measured((22.4, 20.1, 25.0), (90.2, 89.2, 91.2), 80.7),
    ),
    "strong": Level(
        Mixing(people=3, copies=3, warp=1.5),
        ratio=0.77,
        measured=Measured((6.9, 5.8, 8.2), (45.6, 43.8, 47.3), 78.5),
    ),
}


def level_called(name: str) -> Level:
    """The level of that name. Raises UsageError where there is none."""
    if name not in LEVELS:
        raise UsageError(f"--protect {name!r} is not a level; the levels are {', '.join(LEVELS)}")
    return LEVELS[name]


def measured_elsewhere(manifest: Manifest | None) -> str | None:
    """What was measured of another dataset of the level that this one says it is of, as a sentence without its end.

    None where it is of none, or was mixed in another way."""
    extra: Mapping[str, object] = manifest.extra if manifest else {}
    level = LEVELS.get(str(extra.get("level")))
    if level is None or level.measured is None or Mixing.of(manifest) != level.mixing:
        return None
    return f"of a release of level {extra['level']} (1,529 people, reconstructed by mae-v1): {level.measured}"
