"""Leakage by group: whether some people are found more often than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.leakage.statistics import Clusters, People
from facemae_cli.evaluation.metrics import Floats, Interval
from facemae_cli.reports.text import percent, percent_interval

FEWEST = 20  # people: of fewer, a rate and its interval say too little to name the group as better or worse


@dataclass(frozen=True)
class GroupRate:
    """The leakage rate of the photos of one group, all asking among the whole release.

    `column` and `value`: which group. `risk` and its 95 % `interval` are None where no photo of it asks.
    """

    column: str
    value: str
    people: int
    queries: int
    risk: float | None
    interval: Interval | None

    @property
    def too_small(self) -> bool:
        """Whether too few people are in it to say anything."""
        return self.people < FEWEST

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


def worst_group(rates: Sequence[GroupRate]) -> GroupRate | None:
    """The group of the highest risk among those that are large enough, the first of several; None without any."""
    large = [rate for rate in rates if rate.risk is not None and not rate.too_small]
    return max(large, key=lambda rate: rate.risk or 0.0, default=None)


def group_lines(rates: Sequence[GroupRate]) -> list[str]:
    """The worst group, and the groups that are too small, for a person; a line for each."""
    lines = []
    worst = worst_group(rates)
    if worst is not None:
        large = sum(not rate.too_small for rate in rates)
        lines.append(
            f"the worst of {large} groups is {worst.column} {worst.value}: {percent(worst.risk)} of its photos find "
            f"their person (95 % interval {percent_interval(worst.interval)}; {worst.people} people)"
        )
    small = [f"{rate.column} {rate.value} ({rate.people})" for rate in rates if rate.too_small]
    if small:
        lines.append(f"too small to tell, under {FEWEST} people: {', '.join(small)}")
    return lines
