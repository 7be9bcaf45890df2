"""Who is learnt: classes counted from names, people held out, faces without a name."""

from __future__ import annotations

import pytest
from helpers.sources import MemorySource, memory_source

from facemae_cli.errors import InputError, UsageError
from facemae_cli.training.labels import LabelledFaces
from facemae_cli.training.recipes import RecognizerRecipe

MIXED = MemorySource([("b", "1", b""), (None, "2", b""), ("a", "3", b""), ("b", "4", b""), (None, "5", b"")])
LABELS = RecognizerRecipe()
NO_LABELS = RecognizerRecipe(margin="none")


def test_people_are_numbered_as_they_come_up_and_the_nameless_left_out() -> None:
    found = LabelledFaces.of(MIXED, LABELS, with_teacher=False)
    assert (found.members, found.labels.tolist(), found.classes) == ([0, 2, 3], [0, -1, 1, 0, -1], 2)
    assert (found.held, found.unlabelled) == ([], 0)


def test_a_teacher_says_something_of_the_nameless_too() -> None:
    found = LabelledFaces.of(MIXED, LABELS, with_teacher=True)
    assert (found.members, found.classes, found.unlabelled) == ([0, 1, 2, 3, 4], 2, 2)


def test_a_teacher_alone_needs_no_classes() -> None:
    found = LabelledFaces.of(MIXED, NO_LABELS, with_teacher=True)
    assert (found.members, found.classes, found.unlabelled) == ([0, 1, 2, 3, 4], 0, 0)
    assert set(found.labels) == {-1}


def test_held_out_people_are_no_classes() -> None:
    source = memory_source(20, 2, size=28)
    found = LabelledFaces.of(source, RecognizerRecipe(validation=4), with_teacher=False)
    assert sorted(found.members + found.held) == list(range(40))
    assert len(found.held) == 4
    assert found.classes == 18
    assert (found.labels[found.held] == -1).all()
    assert sorted(set(found.labels[found.members])) == list(range(18))


def test_too_few_people_and_nothing_to_learn() -> None:
    with pytest.raises(UsageError, match="give --teacher"):
        LabelledFaces.of(MIXED, NO_LABELS, with_teacher=False)
    with pytest.raises(InputError, match="1 person is too few"):
        LabelledFaces.of(MemorySource([("a", "1", b""), ("a", "2", b"")]), LABELS, with_teacher=True)
    with pytest.raises(InputError, match="not one of its 2 faces that can be read has an identity"):
        LabelledFaces.of(MemorySource([(None, "1", b""), (None, "2", b"")]), LABELS, with_teacher=False)
