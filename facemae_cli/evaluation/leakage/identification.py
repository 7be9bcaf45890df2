"""One attacker's rates on a release: real -> released, real -> real and imitated -> released, for every K and number of
people asked for. It works on features alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.options import ALL
from facemae_cli.evaluation.leakage.ranks import Ranks, rank_over_ranks
from facemae_cli.evaluation.leakage.results import AttackKind, Finding, Photo
from facemae_cli.evaluation.leakage.risk import hits, risk
from facemae_cli.evaluation.leakage.statistics import Clusters, People, compare
from facemae_cli.evaluation.retrieval import QUERIES, columns, places
from facemae_cli.inference.embed import Embeddings
from facemae_cli.runtime.progress import SILENT, Progress


@dataclass(frozen=True)
class FeatureSets:
    """What one attacker sees: features of the n original and m released faces, of imitations of the originals by the
    name of what made them, and of faces of people known not to be in the release.

    `among_real`: the originals as they ask, and are asked, among themselves, where that is not as `real`.
    """

    attacker: str
    real: Embeddings
    released: Embeddings
    imitated: Mapping[str, Embeddings] = field(default_factory=dict)
    non_members: Embeddings | None = None
    among_real: tuple[Embeddings, Embeddings] | None = None


@dataclass(frozen=True)
class Plan:
    """What is measured: each K of `ks`; each number of people of `identities` (ALL: everyone), in `trials` samples,
    from `seed`. `device` is what searches, `resamples` how often a comparison samples people again."""

    ks: tuple[int, ...] = (2,)
    identities: tuple[int | None, ...] = (ALL,)
    trials: int = 1
    seed: int = 0
    device: str = "cpu"
    resamples: int = 2000

    def samples(self, people: People, count: int | None) -> Iterator[People | None]:
        """The people of each sample of `count` of them, ascending; one sample, None, for ALL."""
        if count is None:
            yield None
            return
        for trial in range(self.trials):
            random = np.random.default_rng([self.seed, count, trial])
            yield np.sort(random.choice(people, count, replace=False))


@dataclass(frozen=True)
class Ranked:
    """The `ranks` of n queries, whose they are, (n,) `people`, and how many people are in the `gallery`."""

    ranks: Ranks
    people: People
    gallery: int


@dataclass(frozen=True)
class Measured:
    """The rates of one attacker; `missing`: a line for each that could not be measured; `ranked`: the search by other
    photos among everyone, None where there was none."""

    findings: list[Finding]
    missing: list[str]
    ranked: Ranked | None = None


@dataclass(frozen=True)
class Attack:
    """One attack: queries and the gallery, of n and m faces, with who they show, (n,) and (m,) or (m, S); `asks`: (n,)
    bool, which queries ask; `exclude`: (n,) or (n, E) the gallery faces each leaves out, -1 for none."""

    kind: AttackKind
    photo: Photo
    queries: Embeddings
    gallery: Embeddings
    query_people: People
    gallery_people: People
    asks: NDArray[np.bool_]
    exclude: People
    model: str | None = None

    def rank_queries(self, people: People | None, k: int, device: str, progress: Progress = SILENT) -> Ranked:
        """How the queries rank among the gallery, both of these people only (None: all). Raises InputError where a side
        is empty."""
        asks, there = self.asks & self.queries.valid, self.gallery.valid
        if people is not None:
            asks = asks & np.isin(self.query_people, people)
            there = there & np.isin(columns(self.gallery_people), people).any(axis=1)
        rows, faces = np.flatnonzero(asks), np.flatnonzero(there)
        if not (len(rows) and len(faces)):
            raise InputError(f"there are {len(rows)} photos to ask with and {len(faces)} faces to search")
        ranks = rank_over_ranks(
            self.queries.features[rows],
            self.gallery.features[faces],
            self.query_people[rows],
            self.gallery_people[faces],
            k,
            exclude=places(faces, len(there))[self.exclude[rows]],
            device=device,
            progress=progress if len(rows) > QUERIES else SILENT,  # a short search is over before anybody looks
        )
        shown = self.gallery_people[faces]
        return Ranked(ranks, self.query_people[rows], len(np.unique(shown[shown >= 0])))


def attacks(sets: FeatureSets, matching: Matching) -> list[Attack]:
    """Every attack that the names allow, in the order of a report.

    Where too few photos join, `other` photos cannot be told and `same` asks with every photo; else `same` asks with the
    photos that are in the release, and `other` leaves out those that may be there under another name.
    """
    none, everyone = np.full(len(matching.real), -1, np.int64), np.ones(len(matching.real), np.bool_)
    known = np.asarray((matching.own_faces >= 0).any(axis=1)) if matching.names.photos_join else everyone
    found = []
    sources: list[tuple[AttackKind, Embeddings, str | None]] = [("real_to_released", sets.real, None)]
    sources += [("imitated_to_released", seen, model) for model, seen in sets.imitated.items()]
    for kind, seen, model in sources:
        pair = (seen, sets.released, matching.real, matching.shown)
        if matching.names.photos_join:
            found.append(Attack(kind, "other", *pair, ~matching.doubtful, matching.own_faces, model))
        found.append(Attack(kind, "same", *pair, known, none, model))
    itself = np.arange(len(matching.real))
    among = sets.among_real or (sets.real, sets.real)
    strength = Attack("real_to_real", "other", *among, matching.real, matching.real, everyone, itself)
    found.insert(2 if matching.names.photos_join else 1, strength)
    return found


def measure(sets: FeatureSets, matching: Matching, plan: Plan, progress: Progress = SILENT) -> Measured:
    """All rates of one attacker."""
    findings: list[Finding] = []
    missing: list[str] = []
    strength: dict[int, Clusters] = {}  # of real_to_real among everyone, by K
    kept: Ranked | None = None
    for attack in sorted(attacks(sets, matching), key=lambda attack: attack.kind != "real_to_real"):
        for count in sorted(plan.identities, key=lambda count: np.inf if count is None else count):
            try:
                samples = plan.samples(matching.both, count)
                found = [attack.rank_queries(people, max(plan.ks), plan.device, progress) for people in samples]
                findings += _findings(attack, sets.attacker, found, count, plan, strength)
            except InputError as error:
                people = "all" if count is None else count
                missing.append(f"{attack.kind}, {attack.photo} photos, {sets.attacker}, {people} people: {error}")
                continue
            if count is None and attack.kind == "real_to_real":
                strength = {k: clusters(found[0], k) for k in plan.ks}
            if count is None and (attack.kind, attack.photo) == ("real_to_released", "other"):
                kept = found[0]
    place = {(attack.kind, attack.photo, attack.model): at for at, attack in enumerate(attacks(sets, matching))}
    findings.sort(key=lambda found: place[found.attack, found.photo, found.model])
    return Measured(findings, missing, kept)


def _findings(
    attack: Attack,
    attacker: str,
    found: Sequence[Ranked],
    count: int | None,
    plan: Plan,
    strength: Mapping[int, Clusters],
) -> list[Finding]:
    """The findings at every K among `count` people, `found` in samples; for everyone compared to `strength`."""
    findings = []
    for k in plan.ks:
        trials = tuple(risk(each.ranks, each.people, k) for each in found)
        compared = None
        if count is None and k in strength:
            counted = clusters(found[0], k)
            if np.isin(counted.people, strength[k].people).any():
                compared = compare(counted, strength[k], seed=plan.seed, resamples=plan.resamples)
        size = found[0].gallery if count is None else count
        findings.append(
            Finding(attack.kind, attack.photo, attacker, k, size, count is None, trials, attack.model, compared)
        )
    return findings


def clusters(ranked: Ranked, k: int) -> Clusters:
    """Who is found at `k`. Queries whose person has no face there do not count."""
    there = ranked.ranks.genuine > 0
    return Clusters.of(hits(ranked.ranks, k)[there], ranked.people[there])
