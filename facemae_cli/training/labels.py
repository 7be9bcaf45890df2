"""What a recogniser learns: the faces to train on, their people as classes 0, 1, ..., counted and never typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource, Refusal
from facemae_cli.errors import InputError, UsageError
from facemae_cli.training.loader import hold_out, readable
from facemae_cli.training.margin_loss import NO_LABEL
from facemae_cli.training.recipes import RecognizerRecipe


@dataclass(frozen=True)
class LabelledFaces:
    """`members` and `held` are faces to train on and faces of people held out; `labels`, (len(source),) int64, are
    the members' classes, of which there are `classes`, and NO_LABEL for all other faces."""

    members: list[int]
    held: list[int]
    labels: NDArray[np.int64]
    classes: int

    @property
    def unlabelled(self) -> int:
        """Members that teach no class although there are classes to learn."""
        return int((self.labels[self.members] == NO_LABEL).sum()) if self.classes else 0

    @classmethod
    def of(cls, source: FaceSource, recipe: RecognizerRecipe, with_teacher: bool) -> LabelledFaces:
        """Without a teacher faces without identity are left out: nothing can be learnt from them.

        Raises UsageError where there is neither a margin nor a teacher, InputError where there are too few people.
        """
        if recipe.margin == "none" and not with_teacher:
            raise UsageError("--margin none learns no classes, so give --teacher, an embedder to learn from")
        members, held = list(range(len(source))), list[int]()
        if recipe.validation:
            members, held = hold_out(source, recipe.validation, recipe.seed)
        labels, classes = _labels(source, members if recipe.margin != "none" else [])
        if not with_teacher:
            members = [index for index in members if labels[index] != NO_LABEL]
        if recipe.margin != "none" and classes < 2:
            raise InputError(_too_few(source, classes))
        return cls(members, held, labels, classes)

    def without(self, source: FaceSource, refused: Sequence[Refusal]) -> LabelledFaces:
        """What of them could be read, with the classes of these alone. Raises InputError where one class is left."""
        members, held = (readable(source, faces, refused) for faces in (self.members, self.held))
        classes = len(np.setdiff1d(self.labels[members], [NO_LABEL]))
        if self.classes and classes < 2:
            raise InputError(_too_few(source, classes))
        return LabelledFaces(members, held, self.labels, classes)


def _labels(source: FaceSource, members: list[int]) -> tuple[NDArray[np.int64], int]:
    """The identities of `members` numbered in the order in which they first come up, and how many there are."""
    labels = np.full(len(source), NO_LABEL, dtype=np.int64)
    known: dict[str, int] = {}
    for index in members:
        identity = source.name(index).identity
        if identity is not None:
            labels[index] = known.setdefault(identity, len(known))
    return labels, len(known)


def _too_few(source: FaceSource, classes: int) -> str:
    way_out = "or --teacher with --margin none, which needs no people"
    if classes:
        few = f"{classes} person is too few to learn: a recogniser needs 2 or more to tell apart"
        return f"{source.path}: {few}; give more, {way_out}"
    few = f"not one of its {len(source)} faces that can be read has an identity"
    return f"{source.path}: {few}; give a folder a person, {way_out}"
