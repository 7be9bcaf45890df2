"""A verified pack: its figures, gates on the accuracy, and warnings about a figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import Attributes
from facemae_cli.data.packs.source import PackSource
from facemae_cli.evaluation.metrics import Floats, Verification, distances, verify_distances
from facemae_cli.evaluation.verification.gates import AccuracyGate
from facemae_cli.evaluation.verification.groups import GroupAccuracy, by_group
from facemae_cli.networks.card import Card
from facemae_cli.reports.text import NONE, percent, percent_interval

if TYPE_CHECKING:  # brings torch, which the page need not wait for
    from facemae_cli.inference.embed import Embeddings

# A published embedder that verifies fewer pairs was mostly fed faces aligned otherwise: LFW at 93 % is the known case.
DOUBTFUL_ACCURACY = 0.95
DOUBTFUL_PAIRS = 100  # fewer mean too little
DIGITS = 2  # of percentages, as accuracies are published


@dataclass(frozen=True)
class VerifiedPack:
    """What was measured on a pack: the figures, and the pairs they rest on.

    `kept`: (p,) numbers, in the pack, of the pairs whose faces both have a feature; `distances`: (p,) squared L2;
    `same`: (p,) bool. `left_out`: the pack's other pairs. `faces`: how many have a feature; `resized`: how many were
    not stored at the embedder's size; `shared_people`: see `data.packs.people`, None where names are not known;
    `groups`: the accuracy by group, where groups were given.
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


def cells(found: Verification, fars: Sequence[float], plus_minus: str = "±") -> list[str]:
    """Accuracy and its deviation, interval, TAR at each FAR, and threshold, as a table holds them."""
    accuracy = threshold = NONE
    if found.accuracy is not None:
        accuracy = f"{100 * found.accuracy:.{DIGITS}f} {plus_minus} {100 * (found.std or 0.0):.{DIGITS}f} %"
    if found.threshold is not None:
        threshold = f"{found.threshold:.3f}"
    tars = [percent(found.tar_at_far.get(far), DIGITS) for far in fars]
    return [accuracy, percent_interval(found.interval, DIGITS), *tars, threshold]


def judge(gates: Iterable[AccuracyGate], packs: dict[str, VerifiedPack]) -> list[AccuracyGate]:
    """The gates with what was reached."""
    return [replace(gate, accuracy=packs[gate.pack].verification.accuracy) for gate in gates]


def warning_lines(name: str, pack: VerifiedPack, card: Card) -> list[str]:
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
