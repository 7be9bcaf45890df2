"""One attacker's rates on a release: real -> released, real -> real and imitated -> released, for every K and number of
people asked for (design section 5). It works on features alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.matching import WhoIsWho
from facemae_cli.evaluation.leakage.ranks import Standings, join, stand
from facemae_cli.evaluation.leakage.results import Attack, Finding, Photo
from facemae_cli.evaluation.leakage.risk import hits, risk
from facemae_cli.evaluation.leakage.statistics import Clusters, People, compare
from facemae_cli.evaluation.retrieval import QUERIES
from facemae_cli.inference.embed import Embeddings
from facemae_cli.runtime import distributed
from facemae_cli.runtime.progress import SILENT, Progress

ALL = None  # in a list of numbers of people
MAX_K = 1000


@dataclass(frozen=True)
class Views:
    """What one attacker sees: features of the n original and m released faces, of imitations of the originals by the
    name of what drew them, and of faces of people known not to be in the release."""

    attacker: str
    real: Embeddings
    released: Embeddings
    imitated: Mapping[str, Embeddings] = field(default_factory=dict)
    non_members: Embeddings | None = None


@dataclass(frozen=True)
class Plan:
    """What is measured: each K of `ks`; each number of people of `identities` (ALL: everyone), in `trials` draws, from
    `seed`. `device` is what searches, `resamples` how often a comparison draws people anew."""

    ks: tuple[int, ...] = (2,)
    identities: tuple[int | None, ...] = (ALL,)
    trials: int = 1
    seed: int = 0
    device: str = "cpu"
    resamples: int = 2000

    def draws(self, people: People, count: int | None) -> Iterator[People | None]:
        """The people of each draw of `count` of them, ascending; one draw, None, for ALL."""
        if count is None:
            yield None
            return
        for trial in range(self.trials):
            random = np.random.default_rng([self.seed, count, trial])
            yield np.sort(random.choice(people, count, replace=False))


@dataclass(frozen=True)
class Sides:
    """One attack: queries and the gallery, of n and m faces, with who they show; `asks`: (n,) bool, which queries ask;
    `exclude`: (n,) the gallery face each leaves out, -1 for none."""

    attack: Attack
    photo: Photo
    queries: Embeddings
    gallery: Embeddings
    query_people: People
    gallery_people: People
    asks: NDArray[np.bool_]
    exclude: People
    model: str | None = None

    def stand(
        self, people: People | None, k: int, device: str, progress: Progress = SILENT
    ) -> tuple[Standings, People, int]:
        """Standings of the queries among the gallery, both of these people only (None: all); whose queries they are;
        how many people are in the gallery. Raises InputError where a side is empty."""
        asks, there = self.asks & self.queries.valid, self.gallery.valid
        if people is not None:
            asks, there = asks & np.isin(self.query_people, people), there & np.isin(self.gallery_people, people)
        rows, faces = np.flatnonzero(asks), np.flatnonzero(there)
        if not (len(rows) and len(faces)):
            raise InputError(f"there are {len(rows)} photos to ask with and {len(faces)} faces to search")
        place = np.full(len(there) + 1, -1, np.int64)  # the last is that of none
        place[faces] = np.arange(len(faces))
        low, high = distributed.share(len(rows))
        part = stand(
            self.queries.features[rows[low:high]],
            self.gallery.features[faces],
            self.query_people[rows[low:high]],
            self.gallery_people[faces],
            k,
            exclude=place[self.exclude[rows[low:high]]],
            device=device,
            progress=progress if len(rows) > QUERIES else SILENT,  # a short search is over before anybody looks
        )
        standings = join(distributed.gather_objects(part))
        return standings, self.query_people[rows], len(np.unique(self.gallery_people[faces]))


def attacks(views: Views, who: WhoIsWho) -> list[Sides]:
    """Every attack that the names allow, in the order of a report.

    Where too few photos join, `other` photos cannot be told and `same` asks with every photo; else `same` asks with the
    photos that are in the release, and `other` leaves out those that may be there under another name.
    """
    none, everyone = np.full(len(who.real), -1, np.int64), np.ones(len(who.real), np.bool_)
    known = who.twin >= 0 if who.names.photos_join else everyone
    sides = []
    sources: list[tuple[Attack, Embeddings, str | None]] = [("real_to_released", views.real, None)]
    sources += [("imitated_to_released", seen, model) for model, seen in views.imitated.items()]
    for attack, seen, model in sources:
        pair = (seen, views.released, who.real, who.released)
        if who.names.photos_join:
            sides.append(Sides(attack, "other", *pair, ~who.doubtful, who.twin, model))
        sides.append(Sides(attack, "same", *pair, known, none, model))
    itself = np.arange(len(who.real))
    strength = Sides("real_to_real", "other", views.real, views.real, who.real, who.real, everyone, itself)
    sides.insert(2 if who.names.photos_join else 1, strength)
    return sides


def measure(views: Views, who: WhoIsWho, plan: Plan, progress: Progress = SILENT) -> tuple[list[Finding], list[str]]:
    """All rates of one attacker, and a line for each that could not be measured."""
    findings: list[Finding] = []
    missing: list[str] = []
    strength: dict[int, Clusters] = {}
    order = sorted(attacks(views, who), key=lambda sides: sides.attack != "real_to_real")  # the others compare to it
    for sides in order:
        for count in sorted(plan.identities, key=lambda count: np.inf if count is None else count):
            try:
                findings += _at(sides, views.attacker, who.both, count, plan, strength, progress)
            except InputError as error:
                people = "all" if count is None else count
                missing.append(f"{sides.attack}, {sides.photo} photos, {views.attacker}, {people} people: {error}")
    place = {(sides.attack, sides.photo, sides.model): at for at, sides in enumerate(attacks(views, who))}
    return sorted(findings, key=lambda found: place[found.attack, found.photo, found.model]), missing


def _at(
    sides: Sides,
    attacker: str,
    both: People,
    count: int | None,
    plan: Plan,
    strength: dict[int, Clusters],
    progress: Progress,
) -> list[Finding]:
    """The findings at every K among `count` people; `strength` takes and gives real_to_real on everyone, by K."""
    found = [sides.stand(people, max(plan.ks), plan.device, progress) for people in plan.draws(both, count)]
    findings = []
    for k in plan.ks:
        trials = tuple(risk(standings, people, k) for standings, people, _ in found)
        compared = None
        if count is None:
            counted = clusters(*found[0][:2], k)
            if sides.attack == "real_to_real":
                strength[k] = counted
            elif k in strength and np.isin(counted.people, strength[k].people).any():
                compared = compare(counted, strength[k], seed=plan.seed, resamples=plan.resamples)
        size = found[0][2] if count is None else count
        findings.append(
            Finding(sides.attack, sides.photo, attacker, k, size, count is None, trials, sides.model, compared)
        )
    return findings


def clusters(standings: Standings, people: People, k: int) -> Clusters:
    """Who is found at `k`; people: (n,) the queries' people. Queries whose person has no face there do not count."""
    there = standings.mates > 0
    return Clusters.of(hits(standings, k)[there], people[there])


def parse_ks(text: str) -> tuple[int, ...]:
    """`2` or `1,2,3,4`, ascending. Raises UsageError."""
    return tuple(sorted(set(_numbers(text.split(","), "--k", MAX_K))))


def parse_identities(text: str, people: int) -> tuple[int | None, ...]:
    """`all` or `100,300,all`, ascending, of `people` that there are. Raises UsageError for more than these."""
    said = [part.strip() for part in text.split(",")]
    counts = _numbers([part for part in said if part != "all"], "--identities", people)
    return (*sorted(set(counts)), *([ALL] if "all" in said else []))


def _numbers(parts: Sequence[str], option: str, most: int) -> list[int]:
    for part in parts:
        if not part.strip().isdecimal() or not 1 <= int(part) <= most:
            raise UsageError(f"{option} {part.strip()!r}: give a number from 1 to {most}, or several as 1,2,3")
    return [int(part) for part in parts]
