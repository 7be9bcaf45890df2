"""An attacker who knows some members: they hold real and released faces of n people of a release, learn from them how
released faces relate to real ones, and look for everybody else. A release that only turns or shifts identity space
falls to about as many known people as it has directions.

Both sides are centred by the known people's means, and then the released face y of a real face x becomes, by method:

- `none`: y itself, nothing learnt, not even the means;
- `ridge`: y (I + D), D of least squares with a penalty on its size, so that few people change little;
- `orthogonal`: y R, the orthogonal map of least squares (Schoenemann, Psychometrika 31, 1966);
- `whitened`: y and x through the inverse root of the scatter within known people (WCCN, Hatch et al., 2006), shrunk;
- `centroids`: the cosines of y to the known people's released centroids, and of x to their real ones, less their means:
  each side is described by the same people, in its own terms (Moschella et al., ICLR 2023).

The method is chosen by known people left out of the learning, never by the people attacked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.ranks import Ranks, rank_over_ranks
from facemae_cli.evaluation.leakage.results import Photo
from facemae_cli.evaluation.leakage.risk import Risk, hits, risk
from facemae_cli.evaluation.leakage.spread import Axes, ridge
from facemae_cli.evaluation.leakage.statistics import Clusters, Paired, People, compare
from facemae_cli.evaluation.metrics import Floats, Interval
from facemae_cli.evaluation.retrieval import places
from facemae_cli.inference.embed import Features, normalised

FOLDS = 5  # of known people, to choose the method by
STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the penalty, in mean variances of a direction times the number of pairs
SHRINKAGES = (0.1, 1.0)  # of the mean variance, added to each direction's before whitening
KNOWING = 2  # tells its sample of people from the others of one seed
QUERIES = 1024  # whose scores are held at once

Map = Callable[[Floats], Floats]
Maps = tuple[Map, Map]  # of real and of released features


@dataclass(frozen=True)
class Sides:
    """n real and m released faces that have features, (n, D) and (m, D), rows of length 1, with their people; and
    `same_photo`: (n,) the released face of the very photo, -1 where there is none."""

    real: Features
    released: Features
    real_people: People
    released_people: People
    same_photo: People

    def of(self, people: People) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows of these people's real and released faces."""
        return (
            np.flatnonzero(np.isin(self.real_people, people)),
            np.flatnonzero(np.isin(self.released_people, people)),
        )

    @property
    def both(self) -> People:
        """The people on both sides, ascending."""
        return np.intersect1d(self.real_people, self.released_people)

    def asking(self, photo: Photo) -> NDArray[np.bool_]:
        """(n,) which real photos can ask: their person is released and, with `photo` same, so is the very photo."""
        return np.isin(self.real_people, self.released_people) & ((self.same_photo >= 0) if photo == "same" else True)

    def rank(self, asks: NDArray[np.bool_], k: int, photo: Photo, device: str) -> Ranks:
        """Where the people of the photos that ask stand among the released faces; with `photo` other, without the
        released face of the very photo."""
        exclude = self.same_photo[asks] if photo == "other" else None
        return rank_over_ranks(
            self.real[asks], self.released, self.real_people[asks], self.released_people, k,
            exclude=exclude, device=device,
        )  # fmt: skip

    @property
    def highest(self) -> int:
        """A number that no person here has, nor any higher."""
        return 1 + int(max(self.real_people.max(initial=-1), self.released_people.max(initial=-1)))


@dataclass(frozen=True)
class KnownMembers:
    """The leakage rate of the people who are left when `known` people are known, at one K, by one attacker.

    `method`: what the held-out known people chose, of those in `held_out`: by method, the mean reciprocal rank of the
    held-out people's nearest released face. `learnt`: the attack by what was learnt; `unlearnt`: the same attack by
    features as they are; `compared`: the one against the other.
    """

    attacker: str
    photo: Photo
    known: int
    k: int
    method: str
    learnt: Risk
    unlearnt: Risk
    compared: Paired
    held_out: Mapping[str, float]

    @property
    def risk(self) -> float:
        """The share of the others' photos that find their person, by what was learnt."""
        return self.learnt.risk

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the risk."""
        return self.learnt.interval

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        return {
            "attacker": self.attacker,
            "photo": self.photo,
            "known_members": self.known,
            "k": self.k,
            "risk": self.risk,
            "interval": list(self.interval),
            "chance": self.learnt.chance,
            "method": self.method,
            "methods_by_trial": [self.method],
            "held_out_mean_reciprocal_rank": dict(self.held_out),
            "risk_without_learning": self.unlearnt.risk,
            "against_without_learning": asdict(self.compared),
            "queries": self.learnt.queries,
            "identities_attacked": self.learnt.people,
            "trials": [self.risk],
        }


def attack_knowing(
    sides: Sides,
    known: int,
    k: int,
    *,
    attacker: str,
    photo: Photo = "other",
    seed: int = 0,
    resamples: int = 2000,
    device: str = "cpu",
) -> KnownMembers:
    """The attack at `k` by who knows `known` people, sampled from `seed`; more known people of one seed hold the fewer.
    `photo` other leaves a query's own reconstruction out. Raises InputError where nobody is left.
    """
    members, rest = known_and_rest(sides, known, seed)
    scores = held_out_scores(sides, members, photo)
    method = max(scores, key=lambda name: scores[name])
    learnt, plain = (
        attack_rest(sides, METHODS[way](sides, np.sort(members)), rest, k, photo, device) for way in (method, "none")
    )
    compared = compare(learnt[1], plain[1], seed=seed, resamples=resamples)
    return KnownMembers(attacker, photo, known, k, method, learnt[0], plain[0], compared, scores)


Found = tuple[Risk, Clusters]


def known_and_rest(sides: Sides, known: int, seed: int) -> tuple[People, People]:
    """The people who are known, in the order of knowing them, and the others, ascending."""
    people = np.random.default_rng([seed, KNOWING, 0]).permutation(sides.both)
    return people[:known], np.sort(people[known:])


def attack_rest(sides: Sides, maps: Maps, people: People, k: int, photo: Photo, device: str) -> Found:
    """Photos of `people` ask among the released faces of `people`, both mapped."""
    real, released = sides.of(people)
    if photo == "same":
        real = real[sides.same_photo[real] >= 0]
    if not (len(real) and len(released)):
        raise InputError(f"there are {len(real)} photos to ask with and {len(released)} faces to search")
    place = places(released, len(sides.released))
    asking, (queries, gallery) = sides.real_people[real], _mapped(sides, maps, real, released)
    ranks = rank_over_ranks(
        queries,
        gallery,
        asking,
        sides.released_people[released],
        k,
        exclude=place[sides.same_photo[real]] if photo == "other" else None,
        device=device,
    )
    there = ranks.genuine > 0
    return risk(ranks, asking, k), Clusters.of(hits(ranks, k)[there], asking[there])


def map_faces(sides: Sides, maps: Maps) -> tuple[Features, Features]:
    """All real and all released faces after the maps, rows of length 1."""
    return _mapped(sides, maps, np.arange(len(sides.real)), np.arange(len(sides.released)))


def _mapped(
    sides: Sides, maps: Maps, real: NDArray[np.int64], released: NDArray[np.int64]
) -> tuple[Features, Features]:
    """Features of these rows after the maps, rows of length 1; what a map makes zero becomes a constant direction."""
    made = []
    for rows, features, apply in ((real, sides.real, maps[0]), (released, sides.released, maps[1])):
        found, valid = normalised(apply(features[rows].astype(np.float64)).astype(np.float32))
        found[~valid] = np.float32(found.shape[1] ** -0.5)
        made.append(found)
    return made[0], made[1]


def held_out_scores(sides: Sides, members: People, photo: Photo) -> dict[str, float]:
    """By method, the mean reciprocal rank of known people's nearest released face among the whole release, each fold
    of known people asking by what the others taught."""
    folds = [members[fold::FOLDS] for fold in range(FOLDS)]
    scores: dict[str, float] = {}
    everybody = np.arange(len(sides.released))
    for name, learn in METHODS.items():
        found: list[Floats] = []
        for fold in folds:
            real, _ = sides.of(fold)
            if len(real):
                maps = learn(sides, np.sort(np.setdiff1d(members, fold)))
                found.append(_reciprocal_ranks(sides, real, *_mapped(sides, maps, real, everybody), photo))
        ranks = np.concatenate(found) if found else np.zeros(0)
        scores[name] = float(ranks.mean()) if len(ranks) else 0.0
    return scores


def _reciprocal_ranks(
    sides: Sides, rows: NDArray[np.int64], queries: Features, gallery: Features, photo: Photo
) -> Floats:
    """1 / (1 + the faces of others that score higher than the person's best), of the queries that can be found."""
    made = []
    for first in range(0, len(rows), QUERIES):
        part = rows[first : first + QUERIES]
        scores = (queries[first : first + QUERIES] @ gallery.T).astype(np.float64)
        if photo == "other":
            own = sides.same_photo[part]
            scores[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
        genuine = sides.real_people[part][:, None] == sides.released_people[None]
        best = np.where(genuine, scores, -np.inf).max(axis=1)
        can = np.isfinite(best)
        above = (~genuine & (scores > best[:, None])).sum(axis=1)
        made.append(1.0 / (1.0 + above[can]))
    return np.concatenate(made)


def _pairs(sides: Sides, people: People) -> tuple[Floats, Floats]:
    """(p, D) real and released features that belong together: a photo and what was made of it; where no photo is
    known on both sides, a person's means."""
    real, _ = sides.of(people)
    real = real[sides.same_photo[real] >= 0]
    if len(real):
        return sides.real[real].astype(np.float64), sides.released[sides.same_photo[real]].astype(np.float64)
    return _centroids(sides.real, sides.real_people, people), _centroids(sides.released, sides.released_people, people)


def _centroids(features: Features, whose: People, people: People) -> Floats:
    """(p, D) the mean face of each of `people`, of those that have a face there."""
    return np.stack([features[whose == person].astype(np.float64).mean(axis=0) for person in people.tolist()])


def _unchanged(sides: Sides, people: People) -> Maps:
    return (lambda x: x), (lambda y: y)


def _ridge(strength: float) -> Callable[[Sides, People], Maps]:
    def learn(sides: Sides, people: People) -> Maps:
        x, y = _pairs(sides, people)
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, y = x - x_mean, y - y_mean
        change = ridge(y, x - y, strength)
        return (lambda real: real - x_mean), (lambda released: (released - y_mean) @ (np.eye(len(change)) + change))

    return learn


def _orthogonal(sides: Sides, people: People) -> Maps:
    x, y = _pairs(sides, people)
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    left, _, right = np.linalg.svd((y - y_mean).T @ (x - x_mean))
    return (lambda real: real - x_mean), (lambda released: (released - y_mean) @ left @ right)


def _whitened(shrinkage: float) -> Callable[[Sides, People], Maps]:
    def learn(sides: Sides, people: People) -> Maps:
        real, released = sides.of(people)
        x, y = sides.real[real].astype(np.float64), sides.released[released].astype(np.float64)
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        faces = np.concatenate([x - x_mean, y - y_mean])
        people_of_both = np.concatenate([sides.real_people[real], sides.released_people[released]])
        _, whose = np.unique(people_of_both, return_inverse=True)
        sums = np.zeros((int(whose.max()) + 1, faces.shape[1]))
        np.add.at(sums, whose, faces)
        within = faces - (sums / np.bincount(whose)[:, None])[whose]
        root = Axes.of_rows(within).inverse_root(shrinkage)
        return (lambda one: (one - x_mean) @ root), (lambda other: (other - y_mean) @ root)

    return learn


def _by_centroids(sides: Sides, people: People) -> Maps:
    def side(features: Features, whose: People) -> Map:
        anchors = _centroids(features, whose, people)
        mean = anchors.mean(axis=0)
        anchors = anchors - mean
        anchors /= np.maximum(np.linalg.norm(anchors, axis=1, keepdims=True), np.finfo(float).tiny)

        def described(faces: Floats) -> Floats:
            centred = faces - mean
            length = np.linalg.norm(centred, axis=1, keepdims=True)
            return (centred / np.maximum(length, np.finfo(float).tiny)) @ anchors.T

        return described

    return side(sides.real, sides.real_people), side(sides.released, sides.released_people)


METHODS: dict[str, Callable[[Sides, People], Maps]] = {
    "none": _unchanged,
    **{f"ridge {strength:g}": _ridge(strength) for strength in STRENGTHS},
    "orthogonal": _orthogonal,
    **{f"whitened {shrinkage:g}": _whitened(shrinkage) for shrinkage in SHRINKAGES},
    "centroids": _by_centroids,
}
