"""The people a release exposes most: whose released faces are nearest to a real one of theirs, worst first."""

from __future__ import annotations

import numpy as np

from facemae_cli.data.faces import FaceSource
from facemae_cli.errors import FaceError
from facemae_cli.evaluation.leakage.identification import FeatureSets, Ranked
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.ranks import GenuineMatches, find_genuine_matches
from facemae_cli.evaluation.leakage.results import Exposed, Triplet
from facemae_cli.evaluation.leakage.risk import hits
from facemae_cli.evaluation.metrics import Floats

LISTED = 20


def nearest_of_own(sets: FeatureSets, matching: Matching) -> GenuineMatches:
    """For each of n originals its nearest released face of the same person, in rows of the whole datasets.

    Faces without a feature are nearest to nobody.
    """
    rows, faces = (np.flatnonzero(each.valid) for each in (sets.real, sets.released))
    found = find_genuine_matches(
        sets.real.features[rows], sets.released.features[faces], matching.real[rows], matching.released[faces]
    )
    count = len(matching.real)
    spread = GenuineMatches(np.zeros(count, np.int64), np.full(count, -np.inf), np.full(count, -1, np.int64))
    spread.count[rows], spread.best[rows] = found.count, found.best
    if len(faces):
        spread.row[rows] = np.where(found.row >= 0, faces[found.row], -1)
    return spread


def exposed(
    sets: FeatureSets, matching: Matching, released: FaceSource, ranked: Ranked | None, k: int
) -> list[Exposed]:
    """The LISTED people whose real photo and released face are most alike, worst first.

    `ranked`: how the same attacker's search by other photos among everyone went, where there was one.
    """
    nearest = nearest_of_own(sets, matching)
    photos, found = _found(ranked, len(matching.labels), k)
    order = np.lexsort((np.arange(len(matching.real)), -nearest.best))
    listed: dict[int, Exposed] = {}
    for at in order.tolist():
        person, row = int(matching.real[at]), int(nearest.row[at])
        if row < 0 or len(listed) == LISTED:
            break
        if person not in listed:
            listed[person] = Exposed(
                identity=matching.labels[person],
                released_photo=released.name(row).photo,
                similarity=float(nearest.best[at]),
                same_photo=bool(matching.same_photo[at] == row),
                photos=int(photos[person]),
                found=float(found[person]),
                attacker=sets.attacker,
                real=at,
                released=row,
            )
    return list(listed.values())


def _found(ranked: Ranked | None, count: int, k: int) -> tuple[Floats, Floats]:
    """By person: photos that asked with others of the person in the release, and how many of these found the person."""
    if ranked is None:
        return np.zeros(count), np.zeros(count)
    there = ranked.ranks.genuine > 0
    shares = np.ones(len(there)), hits(ranked.ranks, k)
    asked, found = (np.bincount(ranked.people[there], each[there], count).astype(np.float64) for each in shares)
    return asked, found


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
