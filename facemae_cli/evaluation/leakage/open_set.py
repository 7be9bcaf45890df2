"""Open-set identification in the terms of ISO/IEC 19795-1: false positives and false negatives at a threshold.

FPIR(T): the share of searches by photos of people who are not in the release that return any face of score T or more.
FNIR(N, K, T): the share of searches by photos of people in it, among N people, that do not return a face of the person
among the K best with a score of T or more. FNIR(N, K, 0), without a threshold, is 1 less the leakage rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.known_members import Sides
from facemae_cli.evaluation.leakage.ranks import Ranks, nearest_over_ranks
from facemae_cli.evaluation.leakage.results import Photo
from facemae_cli.evaluation.leakage.risk import hits
from facemae_cli.evaluation.leakage.statistics import Clusters, People
from facemae_cli.evaluation.metrics import Floats, Interval, allowed_errors
from facemae_cli.evaluation.retrieval import Features
from facemae_cli.reports.text import decimal

FPIRS = (1e-2, 1e-3)


@dataclass(frozen=True)
class OpenSet:
    """Open-set identification by one attacker at one K among `identities` people (N).

    `fnir`: FNIR(N, K, 0) with its 95 % interval over people; `fnir_at_fpir`: FNIR(N, K, T) by FPIR, at the lowest T
    whose false positives are at most floor(FPIR x searches of people not in it); None where that is under 1.
    `searches` of people in the release, `others` of people not in it.
    """

    attacker: str
    photo: Photo
    k: int
    identities: int
    searches: int
    others: int
    fnir: float
    interval: Interval
    fnir_at_fpir: dict[float, float | None]
    intervals: dict[float, Interval | None]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types; FPIRs as plain decimals."""
        return {
            "attacker": self.attacker,
            "photo": self.photo,
            "k": self.k,
            "n": self.identities,
            "fnir_n_k_0": self.fnir,
            "fnir_n_k_0_interval": list(self.interval),
            "fnir_at_fpir": {decimal(fpir): rate for fpir, rate in self.fnir_at_fpir.items()},
            "fnir_intervals": {decimal(fpir): None if i is None else list(i) for fpir, i in self.intervals.items()},
            "searches_of_members": self.searches,
            "searches_of_others": self.others,
            "notes": list(self.notes),
        }


def identify(
    sides: Sides,
    outside: Features,
    k: int,
    *,
    attacker: str,
    photo: Photo,
    fpirs: Sequence[float] = FPIRS,
    device: str = "cpu",
) -> OpenSet:
    """Real photos of people in the release and of others, `outside` (c, D), ask among the released faces of `sides`.

    Arguments as `control.attack_control`. Raises InputError where a side is empty.
    """
    asks = sides.asking(photo)
    if not (asks.any() and len(outside)):
        raise InputError(f"there are {int(asks.sum())} photos of people in the release and {len(outside)} of others")
    ranks, people = sides.rank(asks, k, photo, device), sides.real_people[asks]
    highest = nearest_over_ranks(outside, sides.released, 1, device=device)[0][:, 0]
    count = len(np.unique(sides.released_people))
    return open_set(ranks, people, highest, k, identities=count, attacker=attacker, photo=photo, fpirs=fpirs)


def open_set(
    ranks: Ranks,
    people: People,
    highest: Floats,
    k: int,
    *,
    identities: int,
    attacker: str,
    photo: Photo,
    fpirs: Sequence[float] = FPIRS,
) -> OpenSet:
    """The rates of `ranks`, whose (n,) queries are of these `people`, against (c,) `highest`: the best score of each
    search by a photo of somebody who is not in the release of `identities`. Raises InputError where no query's person
    is there."""
    there = ranks.genuine > 0
    if not there.any():
        raise InputError(f"none of {len(there)} query photos has another face of its person in the gallery")
    found, best, whose = hits(ranks, k)[there], ranks.best[there], people[there]
    ordered = np.sort(highest)
    rates: dict[float, float | None] = dict.fromkeys(fpirs)
    intervals: dict[float, Interval | None] = dict.fromkeys(fpirs)
    for fpir in fpirs:
        allowed = allowed_errors(fpir, len(ordered))
        if allowed >= 1:
            bar = ordered[-1 - allowed] if allowed < len(ordered) else -math.inf  # T is just above it
            rates[fpir], intervals[fpir] = _missed(np.where(best > bar, found, 0.0), whose)
    fnir, interval = _missed(found, whose)
    notes = tuple(
        f"FNIR at FPIR {decimal(fpir)} needs {math.ceil(1 / fpir)} photos of people not in it; there are {len(ordered)}"
        for fpir in fpirs
        if rates[fpir] is None
    )
    counts = identities, len(found), len(ordered)
    return OpenSet(attacker, photo, k, *counts, fnir, interval, rates, intervals, notes)


def _missed(found: Floats, people: People) -> tuple[float, Interval]:
    """1 - the rate, and its interval."""
    counted = Clusters.of(found, people)
    (low, high), _ = counted.interval()
    return 1 - counted.rate, (1 - high, 1 - low)
