"""Figures by group of people: the worst group, and the groups that are too small to say anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar


class Group(ABC):
    """What was measured of one group: `column` and `value` say which. With `fewest` of what is `counted` it is large
    enough to be named as better or worse."""

    fewest: ClassVar[int]
    counted: ClassVar[str]
    column: str
    value: str

    @property
    @abstractmethod
    def size(self) -> int:
        """How many are in it of what is `counted`."""

    @property
    @abstractmethod
    def harm(self) -> float | None:
        """The worse for its people, the higher; None where it could not be measured."""

    @abstractmethod
    def in_words(self) -> str:
        """What was measured of it."""

    @property
    def too_small(self) -> bool:
        """Whether too few are in it to say anything."""
        return self.size < self.fewest


Some = TypeVar("Some", bound=Group)


def worst_group(groups: Sequence[Some]) -> Some | None:
    """The group of the highest harm among those that are large enough, the first of several; None without any."""
    harms = [(each.harm, each) for each in groups if not each.too_small]
    large = [(harm, each) for harm, each in harms if harm is not None]
    return max(large, key=lambda pair: pair[0], default=(0.0, None))[1]


def group_lines(groups: Sequence[Group]) -> list[str]:
    """The worst group, and the groups that are too small, for a person; a line for each."""
    lines = []
    worst = worst_group(groups)
    if worst is not None:
        large = sum(not each.too_small for each in groups)
        lines.append(f"the worst of {large} groups is {worst.column} {worst.value}: {worst.in_words()}")
    small = [f"{each.column} {each.value} ({each.size})" for each in groups if each.too_small]
    if small:
        lines.append(f"too small to tell, under {groups[0].fewest} {groups[0].counted}: {', '.join(small)}")
    return lines
