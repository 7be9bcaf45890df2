"""Which photos of which people each mixed face is made of: planned by the key, before any face is masked.

A mixed face shows patches of several people, none of whom is in it whole, and it stands under a pseudonym of the
mixture, not of a person. Who is mixed with whom follows a keyed cycle of the people, so that everybody comes first in
as many mixtures as everybody else; photos are paired by how alike their poses are. That mixed identities still teach a
recogniser is known of SynFace's identity mixup (arXiv 2108.07960); here patches are mixed, and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Name
from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.masking.pseudonyms import Pseudonyms

MOST_WARP = 4.0
BLOCK = 256  # photos of a person that are paired at once: the time for it grows with the cube

Poses = NDArray[np.float32]


SOURCES_CODE = "facemae:"  # begins the row of a list of sources that holds the code


@dataclass(frozen=True)
class Mixing:
    """How faces are mixed: of `people` people each, a photo of each of them; every photo comes first in `copies`
    mixtures, each with other people. `warp`: how much each face is warped once it is reconstructed (`masking.warp`)."""

    people: int
    copies: int
    warp: float = 1.0

    def __post_init__(self) -> None:
        """Raises UsageError for numbers that cannot be."""
        if self.people < 2 or self.copies < 1:
            raise UsageError(f"{self.as_json()} is not a mixture: it takes 2 people or more, and 1 copy or more")
        if not 0 <= self.warp <= MOST_WARP:
            raise UsageError(f"{self.as_json()} is not a mixture: its warp is a number from 0 to {MOST_WARP:g}")

    @classmethod
    def of(cls, manifest: Manifest | None) -> Mixing | None:
        """How a dataset's faces are mixed, as it says of itself; None where each is of one person. Raises UsageError
        for numbers that cannot be."""
        said = manifest.extra.get("mixing") if manifest else None
        if not isinstance(said, Mapping):
            return None
        people, copies, warp = said.get("people"), said.get("copies"), said.get("warp", 1.0)
        return cls(
            people if type(people) is int else 0,
            copies if type(copies) is int else 0,
            float(warp) if isinstance(warp, int | float) else -1.0,
        )

    def __str__(self) -> str:
        return f"{self.people} people in a face, each photo first in {self.copies}"

    def as_json(self) -> dict[str, Any]:
        """The numbers as JSON types."""
        return asdict(self)


def sources_code(manifest: Manifest | None) -> str | None:
    """The code that a mixed dataset has in common with the list of whom its faces are made of; None where it says
    none, as older ones do."""
    said = manifest.extra.get("mixing") if manifest else None
    code = said.get("sources") if isinstance(said, Mapping) else None
    return code if isinstance(code, str) else None


def warp_of(mixing: Mixing | None) -> float:
    """How much a release warps faces that are mixed so; 0 where each is of one person (None)."""
    return mixing.warp if mixing else 0.0


class Part(NamedTuple):
    """A photo in a mixture: its number in the dataset, and whether it is mirrored."""

    number: int
    mirrored: bool


@dataclass(frozen=True)
class Mixture:
    """A face to be made: its name, its parts, the first of whom it is a copy, and 32 keyed bytes that all faces of its
    label have in common."""

    name: Name
    label: bytes
    parts: tuple[Part, ...]


def plan_mixtures(names: Sequence[Name], poses: Poses, key: Pseudonyms, mixing: Mixing) -> list[Mixture]:
    """All mixtures of the photos called `names`, sorted by their own names, which mean nothing without the key.

    `poses`: (n, h, w) float32, small pictures of the photos, compared to pair those that are alike.
    Raises UsageError where faces have no identities, and where people are too few.
    """
    people = people_to_mix(names, mixing)
    units = _units(poses)
    made = (mixture for copy in range(mixing.copies) for mixture in _copy(names, people, units, key, mixing, copy))
    return sorted(made, key=lambda mixture: mixture.name)


def people_to_mix(names: Sequence[Name], mixing: Mixing) -> Mapping[str, list[int]]:
    """The photos of each person, by number. Raises UsageError as `plan_mixtures`."""
    found: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        if name.identity is None:
            raise UsageError(
                "faces without a person cannot be mixed: give one folder per person, or a .rec with labels"
            )
        found.setdefault(name.identity, []).append(number)
    if len(found) <= mixing.people:
        raise UsageError(
            f"{len(found)} people are too few to mix {mixing.people} of them: it takes {mixing.people + 1} (`mask` "
            "without --protect takes any)"
        )
    return found


def _copy(
    names: Sequence[Name],
    people: Mapping[str, list[int]],
    units: tuple[Poses, Poses],
    key: Pseudonyms,
    mixing: Mixing,
    copy: int,
) -> Iterator[Mixture]:
    """The mixtures of one copy: everybody with those who come next in a keyed cycle."""
    cycle = sorted(people, key=lambda person: key.cycle(copy, person))
    for at, person in enumerate(cycle):
        own = people[person]
        others = (people[cycle[(at + step) % len(cycle)]] for step in range(1, mixing.people))
        columns = [[Part(number, False) for number in own], *(_paired(own, theirs, units) for theirs in others)]
        label = key.mixture(copy, person)
        for number, parts in zip(own, zip(*columns, strict=True), strict=True):
            name = key.mixture_name(label, key.mixture(copy, person, names[number].photo))
            yield Mixture(name, label, parts)


def _paired(own: Sequence[int], theirs: Sequence[int], units: tuple[Poses, Poses]) -> list[Part]:
    """A photo of another person for each of one's own: all are used as evenly as can be, and the sum of likenesses is
    then the largest (up to `BLOCK` photos)."""
    from scipy.optimize import linear_sum_assignment  # only where faces are mixed

    plain, mirrored = units
    mine, others = np.array(own), np.array(theirs)
    likeness = np.stack([plain[mine] @ plain[others].T, plain[mine] @ mirrored[others].T])
    best, turned = likeness.max(axis=0), likeness[1] > likeness[0]
    parts = []
    for first in range(0, len(mine), BLOCK):
        block = best[first : first + BLOCK]
        # As many columns as rows, in turn: a person with many photos meets all of the other's.
        offered = np.arange(first, first + max(len(block), min(len(others), BLOCK))) % len(others)
        rows, found = linear_sum_assignment(block[:, offered], maximize=True)
        chosen = offered[found]
        parts += [Part(int(others[at]), bool(turned[first + row, at])) for row, at in zip(rows, chosen, strict=True)]
    return parts


def _units(poses: Poses) -> tuple[Poses, Poses]:
    """(n, h, w) pictures, and mirrored, as (n, h * w) vectors without mean, of length 1 (0 for even pictures)."""

    def units(pictures: Poses) -> Poses:
        flat = pictures.reshape(len(pictures), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)

    return units(poses), units(poses[:, :, ::-1])
