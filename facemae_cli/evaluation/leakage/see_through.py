"""Attacks that see through a transform of whole faces: attackers do to their photos what was done to the release.

Which transforms are worth it is tried with a few photos; who finds people in new ways by one then asks with all photos
in all of these ways, each photo in the way that looks most like a released face. A transform that finds other people,
and loses as many, is worth asking by, but does not show that the release was changed so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.transforms import TRANSFORMS
from facemae_cli.evaluation.retrieval import top_k
from facemae_cli.inference.embed import Embeddings

PROBED = 64  # photos
K = 2
NEW = 0.05  # of the photos probed, found under a transform alone, beyond what luck would find
DEVIATIONS = 3.0  # of luck, beyond which a share of new finds, or of more finds than losses, is not luck

See = Callable[
    [str | None, NDArray[np.int64]], Embeddings
]  # photos as they are (None), or under a transform, by number


@dataclass(frozen=True)
class Probe:
    """Of `photos` probed, the shares found as they are, only under each transform, and not under it though as they are
    (`lost_under`); `luck`: what chance finds."""

    photos: int
    found: float
    only_under: Mapping[str, float]
    luck: float
    lost_under: Mapping[str, float] = field(default_factory=dict)

    @property
    def worth_it(self) -> list[str]:
        """The transforms under which people are found who are not found as they are."""
        expected = self.luck * (1 - self.found)
        limit = expected + NEW + DEVIATIONS * np.sqrt(expected / max(self.photos, 1))
        return [name for name, share in self.only_under.items() if share > limit]

    @property
    def finds_more(self) -> list[str]:
        """Those of these under which more people are found than are lost, beyond luck: by McNemar's standard error of
        the difference."""
        return [name for name in self.worth_it if self._net(name) > DEVIATIONS * self._error(name)]

    def _net(self, name: str) -> float:
        return self.only_under[name] - self.lost_under.get(name, 0.0)

    def _error(self, name: str) -> float:
        changed = self.only_under[name] + self.lost_under.get(name, 0.0)
        return float(np.sqrt(max(changed - self._net(name) ** 2, 0.0) / max(self.photos, 1)))


def probe(see: See, released: Embeddings, matching: Matching, seed: int, device: str) -> Probe:
    """Ask with a few photos whose person is in the release, as they are and under each transform; `device` searches."""
    faces = np.flatnonzero(released.valid)
    known = np.flatnonzero(np.isin(matching.real, matching.shown[faces]))
    if not (len(faces) and len(known)):
        return Probe(0, 0.0, {}, 0.0)
    rows = np.sort(np.random.default_rng(seed).permutation(known)[:PROBED])
    people = matching.shown[faces]

    def hits(seen: Embeddings) -> NDArray[np.bool_]:
        found = np.zeros(len(rows), np.bool_)
        asks = np.flatnonzero(seen.valid)
        if len(asks):
            _, nearest = top_k(seen.features[asks], released.features[faces], min(K, len(faces)), device=device)
            found[asks] = (people[nearest] == matching.real[rows[asks], None, None]).any(axis=(1, 2))
        return found

    plain = hits(see(None, rows))
    under = {name: hits(see(name, rows)) for name in TRANSFORMS}
    only = {name: float((found & ~plain).mean()) for name, found in under.items()}
    lost = {name: float((plain & ~found).mean()) for name, found in under.items()}
    count = np.bincount(people[people >= 0], minlength=int(matching.real.max()) + 1)[matching.real[rows]]
    luck = float(np.minimum(K * count / len(faces), 1).mean())
    return Probe(len(rows), float(plain.mean()), only, luck, lost)


def best_way(ways: Sequence[Embeddings], released: Embeddings, device: str) -> Embeddings:
    """Each of n faces in the way, of several, whose most similar released face is most similar; `device` searches."""
    best, made = np.full(len(ways[0].valid), -np.inf), ways[0].features.copy()
    gallery = released.features[released.valid]
    for way in ways:
        asks = np.flatnonzero(way.valid)
        if not (len(asks) and len(gallery)):
            continue
        scores = np.full(len(best), -np.inf)
        scores[asks] = top_k(way.features[asks], gallery, 1, device=device)[0][:, 0]
        better = scores > best
        made[better], best[better] = way.features[better], scores[better]
    return Embeddings(made, np.logical_or.reduce([way.valid for way in ways]), ways[0].refused)
