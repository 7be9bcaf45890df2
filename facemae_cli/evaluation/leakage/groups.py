"""Leakage by group: whether some people are found more often than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.groups import Group
from facemae_cli.evaluation.leakage.statistics import Clusters, People
from facemae_cli.evaluation.metrics import Floats, Interval
from facemae_cli.reports.text import percent, percent_interval

FEWEST = 20  # people: of fewer, a rate and its interval say too little


@dataclass(frozen=True)
class GroupRate(Group):
    """The leakage rate of the photos of one group, all asking among the whole release.

    `column` and `value`: which group. `risk` and its 95 % `interval` are None where no photo of it asks.
    """

    fewest = FEWEST
    counted = "people"
    column: str
    value: str
    people: int
    queries: int
    risk: float | None
    interval: Interval | None

    @property
    def size(self) -> int:
        """How many people are in it."""
        return self.people

    @property
    def harm(self) -> float | None:
        """The risk."""
        return self.risk

    def in_words(self) -> str:
        """The risk with its interval."""
        return (
            f"{percent(self.risk)} of its photos find their person (95 % interval {percent_interval(self.interval)}; "
            f"{self.people} people)"
        )

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "column": self.column,
            "group": self.value,
            "identities": self.people,
            "queries": self.queries,
            "risk": self.risk,
            "interval": None if self.interval is None else list(self.interval),
            "too_small": self.too_small,
        }


def by_group(found: Floats, people: People, columns: Sequence[Column]) -> list[GroupRate]:
    """The rate in each group of each column: `found`, (n,) how likely each photo finds its person; `people`, (n,);
    the columns' codes are (n,) too. Photos of an unknown value are in no group. Raises ValueError where shapes differ.
    """
    rates = []
    for column in columns:
        if column.codes.shape != found.shape or people.shape != found.shape:
            raise ValueError(f"column {column.name}: codes of {column.codes.shape} photos, not {found.shape}")
        for code, value in enumerate(column.values):
            inside = column.codes == code
            counted = Clusters.of(found[inside], people[inside]) if inside.any() else None
            rates.append(
                GroupRate(
                    column.name,
                    value,
                    0 if counted is None else len(counted.people),
                    int(inside.sum()),
                    None if counted is None else counted.rate,
                    None if counted is None else counted.interval()[0],
                )
            )
    return rates
