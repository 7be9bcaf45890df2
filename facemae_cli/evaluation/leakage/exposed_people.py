"""The people a release exposes most: whose released faces are nearest to a real one of theirs, worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facemae_cli.data.faces import FaceSource
from facemae_cli.errors import FaceError, InputError
from facemae_cli.evaluation.leakage.duplicates import Pairs
from facemae_cli.evaluation.leakage.identification import FeatureSets, attacks
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.ranks import GenuineMatches, find_genuine_matches
from facemae_cli.evaluation.leakage.results import Exposed, Triplet
from facemae_cli.evaluation.leakage.risk import hits
from facemae_cli.evaluation.metrics import Floats

LISTED = 20


@dataclass(frozen=True)
class Nearest:
    """For each of n originals its nearest face of the same person: `across` the datasets, and `within` the originals;
    rows in these are those of the whole datasets."""

    across: GenuineMatches
    within: GenuineMatches

    @classmethod
    def of(cls, sets: FeatureSets, matching: Matching) -> Nearest:
        """By one attacker's features. Faces without a feature are nearest to nobody."""
        valid, there = (np.flatnonzero(each.valid) for each in (sets.real, sets.released))
        real, people = sets.real.features[valid], matching.real[valid]
        across = find_genuine_matches(real, sets.released.features[there], people, matching.released[there])
        within = find_genuine_matches(real, real, people, people, exclude=np.arange(len(valid)))
        return cls(_spread(across, valid, there, len(matching.real)), _spread(within, valid, valid, len(matching.real)))

    def pairs(self, matching: Matching) -> Pairs:
        """What to look at for near copies: the nearest of each original, and the released face of the very photo."""
        across = {
            pair for rows in (self.across.row, matching.same_photo) for pair in enumerate(rows.tolist()) if pair[1] >= 0
        }
        return Pairs(sorted(across), [pair for pair in enumerate(self.within.row.tolist()) if pair[1] >= 0])


def _spread(genuine: GenuineMatches, rows: np.ndarray, faces: np.ndarray, count: int) -> GenuineMatches:
    """GenuineMatches of some queries among some faces, as those of all `count` queries among all faces."""
    spread = GenuineMatches(np.zeros(count, np.int64), np.full(count, -np.inf), np.full(count, -1, np.int64))
    spread.count[rows], spread.best[rows] = genuine.count, genuine.best
    if len(faces):
        spread.row[rows] = np.where(genuine.row >= 0, faces[genuine.row], -1)
    return spread


def exposed(
    sets: FeatureSets, matching: Matching, nearest: Nearest, released: FaceSource, k: int, device: str = "cpu"
) -> list[Exposed]:
    """The LISTED people whose real photo and released face are most alike, worst first."""
    photos, found = _found(sets, matching, k, device)
    order = np.lexsort((np.arange(len(matching.real)), -nearest.across.best))
    listed: dict[int, Exposed] = {}
    for at in order.tolist():
        person, row = int(matching.real[at]), int(nearest.across.row[at])
        if row < 0 or len(listed) == LISTED:
            break
        if person not in listed:
            listed[person] = Exposed(
                identity=matching.labels[person],
                released_photo=released.name(row).photo,
                similarity=float(nearest.across.best[at]),
                same_photo=bool(matching.same_photo[at] == row),
                photos=int(photos[person]),
                found=float(found[person]),
                attacker=sets.attacker,
                real=at,
                released=row,
            )
    return list(listed.values())


def _found(sets: FeatureSets, matching: Matching, k: int, device: str) -> tuple[Floats, Floats]:
    """By person: photos that asked with other photos of him in the release, and how many of these found him."""
    count = len(matching.labels)
    for attack in attacks(sets, matching):
        if (attack.kind, attack.photo) == ("real_to_released", "other"):
            try:
                ranks, people, _ = attack.rank_queries(None, k, device)
            except InputError:
                break
            there = ranks.genuine > 0
            shares = np.ones(len(people)), hits(ranks, k)
            asked, found = (np.bincount(people[there], each[there], count).astype(np.float64) for each in shares)
            return asked, found
    return np.zeros(count), np.zeros(count)


def triplets(people: list[Exposed], matching: Matching, original: FaceSource, released: FaceSource) -> list[Triplet]:
    """The faces of exposed people; those of a face that cannot be read are left out."""
    made = []
    for person in people:
        own = int(matching.same_photo[person.real])
        try:
            images = original.read(person.real), released.read(own) if own >= 0 else None
            nearest = released.read(person.released)
        except FaceError:
            continue
        made.append(Triplet(person.identity, *images, nearest, person.similarity))
    return made
