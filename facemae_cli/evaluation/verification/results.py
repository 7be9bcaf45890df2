"""A verified pack: its figures, gates on the accuracy, and warnings about a figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import Attributes
from facemae_cli.data.packs.source import BinPack, PackSource
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.metrics import Floats, Verification, distances, verify_distances, worst_pairs
from facemae_cli.evaluation.verification.groups import GroupAccuracy, by_group
from facemae_cli.inference.embed import Embeddings
from facemae_cli.networks.card import Card

if TYPE_CHECKING:
    from facemae_cli.evaluation.verification.page import PackReport

# A published embedder that verifies fewer pairs was mostly fed faces aligned otherwise: LFW at 93 % is the known case.
DOUBTFUL_ACCURACY = 0.95
DOUBTFUL_PAIRS = 100  # fewer mean too little
ROUNDING = 1e-12  # a mean of folds' accuracies may fall short of the decimal it is by as much


@dataclass(frozen=True)
class VerifiedPack:
    """What was measured on a pack: the figures, and the pairs they rest on.

    `kept`: (p,) numbers, in the pack, of the pairs whose faces both have a feature; `distances`: (p,) squared L2;
    `same`: (p,) bool. `left_out`: the pack's other pairs. `faces`: how many have a feature; `resized`: how many were
    not stored at the embedder's size; `shared_people`: see `data.people`, None where names are not known; `groups`:
    the accuracy by group, where groups were given.
    """

    verification: Verification
    kept: NDArray[np.int64]
    distances: Floats
    same: NDArray[np.bool_]
    left_out: int
    faces: int
    resized: int
    shared_people: int | None = None
    groups: tuple[GroupAccuracy, ...] = ()

    @classmethod
    def of(
        cls,
        pack: PackSource,
        made: Embeddings,
        shared_people: int | None = None,
        attributes: Attributes | None = None,
    ) -> VerifiedPack:
        """InsightFace's protocol over the pairs of `pack` both of whose faces `made` has features of."""
        kept = np.flatnonzero(made.valid[pack.pairs].all(axis=1))
        found, same = distances(made.features, pack.pairs[kept]), pack.same[kept]
        left_out = len(pack.pairs) - len(kept) + pack.missing
        faces = int(made.valid.sum())
        figures = verify_distances(found, same)
        columns = () if attributes is None else attributes.columns
        groups = tuple(by_group(figures, found, same, pack.pairs[kept], columns))
        return cls(figures, kept, found, same, left_out, faces, made.resized, shared_people, groups)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            **self.verification.as_json(),
            "left_out": self.left_out,
            "faces": self.faces,
            "faces_resized": self.resized,
            "people_in_training": self.shared_people,
            "groups": [group.as_json() for group in self.groups],
        }


@dataclass(frozen=True)
class AccuracyGate:
    """The least `accuracy`, in [0, 1], that a pack must reach; and what was reached, None where nothing could be."""

    pack: str
    minimum: float
    accuracy: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the accuracy is there and high enough."""
        return self.accuracy is not None and self.accuracy >= self.minimum - ROUNDING

    def __str__(self) -> str:
        if self.accuracy is None:
            return f"{self.pack}: no accuracy could be measured, and at least {self.minimum:g} is asked for"
        return f"{self.pack}: accuracy {self.accuracy:.6g} is {'at least' if self.passed else 'under'} {self.minimum:g}"

    def as_json(self) -> dict[str, Any]:
        """The gate and its outcome as JSON types."""
        return {"pack": self.pack, "minimum": self.minimum, "accuracy": self.accuracy, "passed": self.passed}


def parse_gates(texts: Iterable[str], packs: Sequence[str]) -> list[AccuracyGate]:
    """Gates from `0.99`, for all `packs`, and `lfw=0.99`, for one of them, which wins; in the order of `packs`.

    Raises UsageError for what is not a proportion, for a pack that is not there, and for two gates of one kind.
    """
    minimums: dict[str | None, float] = {}
    for text in texts:
        head, equals, minimum = text.rpartition("=")
        pack = head.strip() if equals else None
        if pack is not None and pack not in packs:
            raise UsageError(f"--min-accuracy {text}: there is no pack {pack!r}; there are {', '.join(packs)}")
        if pack in minimums:
            raise UsageError(f"--min-accuracy {text}: a second one for {pack or 'all packs'}; give one")
        minimums[pack] = _parse_minimum(text, minimum)
    return [
        AccuracyGate(pack, minimums.get(pack, minimums.get(None, 0.0)))
        for pack in packs
        if {pack, None} & minimums.keys()
    ]


def _parse_minimum(text: str, minimum: str) -> float:
    try:
        value = float(minimum)
    except ValueError:
        value = math.nan
    if 1 < value <= 100:
        raise UsageError(
            f"--min-accuracy {text} is over 1: accuracy is a proportion, so write {value / 100:g} for {value:g} %"
        )
    if not 0 <= value <= 1:
        raise UsageError(f"--min-accuracy {text!r} is not a proportion from 0 to 1; give 0.99, or PACK=0.99")
    return value


def judge(gates: Iterable[AccuracyGate], packs: dict[str, VerifiedPack]) -> list[AccuracyGate]:
    """The gates with what was reached."""
    return [replace(gate, accuracy=packs[gate.pack].verification.accuracy) for gate in gates]


def pack_report(name: str, pack: PackSource, verified: VerifiedPack) -> PackReport:
    """A pack as a report shows it, with the worst misjudged pairs."""
    from facemae_cli.evaluation.verification.page import PackReport, WorstPair  # brings matplotlib and jinja2

    shown = []
    for at in worst_pairs(verified.verification, verified.distances, verified.same).tolist():
        number = int(verified.kept[at])
        first, second = pack.pairs[number].tolist()
        photos = "" if isinstance(pack, BinPack) else f": {pack.name(first).photo}, {pack.name(second).photo}"
        caption = f"pair {number + 1}{photos}"
        faces = pack.read(first), pack.read(second)
        shown.append(WorstPair(*faces, bool(verified.same[at]), float(verified.distances[at]), caption))
    return PackReport(name, verified.verification, verified.distances, verified.same, shown, verified.groups)


def warnings(name: str, pack: VerifiedPack, card: Card) -> list[str]:
    """What a reader of a pack's figures should know, one line each: faces of another size, signs of misalignment,
    people the embedder was trained on."""
    found = pack.verification
    lines = []
    if pack.resized:
        lines.append(
            f"{name}: {pack.resized} of {pack.faces} faces are not {card.input.pixels} pixels and were resized; "
            "an embedder wants faces aligned to its template, not photos"
        )
    published = card.recipe is None
    if (
        published
        and found.accuracy is not None
        and found.pairs >= DOUBTFUL_PAIRS
        and found.accuracy < DOUBTFUL_ACCURACY
    ):
        lines.append(
            f"{name}: {100 * found.accuracy:.2f} % is little for a published embedder: were the faces aligned to the "
            "ArcFace template, and does the card give the right colour order, mean and std?"
        )
    if pack.shared_people:
        lines.append(
            f"{name}: {pack.shared_people} of its people are, by name, among the training faces, which inflates the "
            "accuracy"
        )
    return lines
