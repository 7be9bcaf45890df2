"""Small audits: datasets of which only names matter, features to go with them, and the rates by plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from helpers.sources import MemorySource

from facemae_cli.data.faces import FaceSource
from facemae_cli.evaluation.leakage.dataset_features import see_dataset
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.membership import membership
from facemae_cli.evaluation.leakage.results import Finding, MembershipFinding
from facemae_cli.evaluation.leakage.risk import Risk
from facemae_cli.inference.embed import Embeddings, normalised

TIE = 1e-6


def named(*faces: str) -> MemorySource:
    """A dataset of faces `person/photo`, or `photo` alone, each with bytes of its own."""
    parts = [face.rpartition("/") for face in faces]
    return MemorySource(
        [(person or None, photo, face.encode()) for face, (person, _, photo) in zip(faces, parts, strict=True)]
    )


def scan(source: FaceSource) -> Scan:
    """The faces of `source` at first sight, as an audit gets them."""
    return see_dataset(source, {}).scan


def people_and_photos(people: int, photos: int) -> list[str]:
    return [f"p{person}/{photo}.jpg" for person in range(people) for photo in range(photos)]


def seen(rows: np.ndarray) -> Embeddings:
    """(n, D) rows as unit features; rows of zeros have none."""
    return Embeddings(*normalised(np.asarray(rows, np.float32)), refused=[])


def faces_of(people: np.ndarray, dim: int, spread: float, seed: int) -> np.ndarray:
    """(n, dim) features: each person's own direction, and noise of this size."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(int(people.max()) + 1, dim))
    return directions[people] + spread * random.normal(size=(len(people), dim))


def hit_by_looping(
    query: np.ndarray, person: str, gallery: Sequence[tuple[str, np.ndarray]], k: int
) -> tuple[float, float] | None:
    """How likely `person` is among the k nearest of the gallery (ties: all ways to break them), and so by chance; None
    where no face there is the person's."""
    scores = [sum(float(a) * float(b) for a, b in zip(query, face, strict=True)) for _, face in gallery]
    own = [who == person for who, _ in gallery]
    if not any(own):
        return None
    best = max(score for score, his in zip(scores, own, strict=True) if his)
    above = sum(score > best + TIE for score in scores)
    tied = [his for score, his in zip(scores, own, strict=True) if abs(score - best) <= TIE]
    places = min(max(k - above, 0), len(tied))
    ways = list(combinations(tied, places))
    lucky = 1.0
    for j in range(min(k, len(own))):
        lucky *= max(len(own) - sum(own) - j, 0) / (len(own) - j)
    return sum(any(way) for way in ways) / len(ways), 1 - lucky


def rate_by_looping(
    queries: Sequence[tuple[str, np.ndarray, int]], gallery: Sequence[tuple[str, np.ndarray]], k: int
) -> tuple[float, float, int, int]:
    """Risk, chance, queries and those left out, of queries (person, feature, the gallery face left out or -1)."""
    found = [
        hit_by_looping(face, person, [each for at, each in enumerate(gallery) if at != without], k)
        for person, face, without in queries
    ]
    counted = [each for each in found if each is not None]
    risk, chance = (float(np.mean([each[i] for each in counted])) for i in (0, 1))
    return risk, chance, len(counted), len(found) - len(counted)


def rate(
    risk: float,
    low: float,
    high: float,
    *,
    attack="real_to_released",
    photo="other",
    attacker="a",
    k=2,
    identities=100,
    whole=True,
    model=None,
) -> Finding:
    """A finding with these figures, at a chance of 1 %."""
    one = Risk(k, risk, (low, high), 0.01, 500, 0, identities, risk * identities, 400.0)
    return Finding(attack, photo, attacker, k, identities, whole, (one,), model)


def told(members, others, *, attacker="a", photo="other") -> MembershipFinding:
    return MembershipFinding(attacker, photo, False, membership(members, others, resamples=50))
