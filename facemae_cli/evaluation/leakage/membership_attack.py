"""Who is in the release at all: one attacker's membership figures, on features alone.

People who are not in it are given, or made by leaving the released faces of half of the people out of the gallery.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.identification import Attack, FeatureSets, attacks
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.membership import averaged, highest_scores, membership
from facemae_cli.evaluation.leakage.ranks import find_genuine_matches, nearest_over_ranks
from facemae_cli.evaluation.leakage.results import MembershipFinding
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.evaluation.retrieval import QUERIES, Features, places
from facemae_cli.inference.embed import Embeddings
from facemae_cli.runtime.progress import SILENT, Progress

LEAVING_OUT = 1  # tells its samples from the others of one seed
SPLITS = 8  # halves of the people: of 300 halves one's AUC was 0.566 where their mean was 0.616
DEPTH = 24  # nearest faces that all halves share


def membership_attack(
    sets: FeatureSets,
    matching: Matching,
    non_member_people: People | None,
    *,
    seed: int = 0,
    resamples: int = 2000,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> tuple[list[MembershipFinding], list[str]]:
    """Membership by `other` and by the `same` photos, and a line for what could not be measured.

    `non_member_people`: the people of the non-members' faces, by number; None leaves half of the people out of it, and
    gives means over SPLITS halves.
    """
    findings, missing = [], []
    for attack in attacks(sets, matching):
        if attack.kind == "real_to_released":
            try:
                if non_member_people is not None:
                    found = _given(attack, sets, matching, non_member_people, device, progress)
                    measured = membership(*found, seed=seed, resamples=resamples)
                else:
                    halves = _halved(attack, sets, matching, seed, device, progress)
                    each = -(-resamples // SPLITS)
                    measured = averaged([membership(*found, seed=seed, resamples=each) for found in halves])
                findings.append(MembershipFinding(sets.attacker, attack.photo, non_member_people is not None, measured))
            except InputError as error:
                missing.append(f"membership, {attack.photo} photos, {sets.attacker}: {error}")
    return findings, missing


def _given(
    attack: Attack, sets: FeatureSets, matching: Matching, people: People, device: str, progress: Progress
) -> tuple[Floats, Floats]:
    """The scores of people who are in the release, and of the non-members, whose faces are of these `people`."""
    assert sets.non_members is not None
    search = _Search(sets.released.features, np.flatnonzero(sets.released.valid), device, progress)
    inside = search.scores(sets.real, _could_be_found(attack, sets, matching), matching.real, attack.exclude)
    nothing = np.full(len(people), -1, np.int64)
    return inside, search.scores(sets.non_members, nothing < 0, people, nothing)


def _halved(
    attack: Attack, sets: FeatureSets, matching: Matching, seed: int, device: str, progress: Progress
) -> Iterator[tuple[Floats, Floats]]:
    """The scores of people who are in the gallery, and of the half who are left out of it, for each of SPLITS halves.

    One search of the whole release serves all: the best face of a gallery without half of the people is, but for one
    photo in 2^DEPTH, among the DEPTH best of all; the others are searched again.
    """
    faces = np.flatnonzero(sets.released.valid)
    asks = _could_be_found(attack, sets, matching)
    search = _Search(sets.released.features, faces, device, progress)
    rows, scores, found = search.nearest(sets.real, asks, attack.exclude, DEPTH)
    people, whose = matching.real[rows], matching.shown[faces[found]]
    for split in range(SPLITS):
        left_out = half(matching.both, seed, split)
        best = np.where((found >= 0) & ~np.isin(whose, left_out).any(axis=2), scores, -np.inf).max(
            axis=1, initial=-np.inf
        )
        again = np.flatnonzero(np.isneginf(best)) if len(faces) > DEPTH else np.empty(0, np.int64)
        gallery = faces[~np.isin(matching.shown[faces], left_out).any(axis=1)]
        if len(again) and len(gallery):
            some = np.zeros(len(matching.real), np.bool_)
            some[rows[again]] = True
            rest = _Search(sets.released.features, gallery, device, progress)
            best[again] = rest.nearest(sets.real, some, attack.exclude, 1)[1][:, 0]
        out, known = np.isin(people, left_out), ~np.isneginf(best)
        inside, outside = (highest_scores(best[known & side], people[known & side])[1] for side in (~out, out))
        yield inside, outside


def _could_be_found(attack: Attack, sets: FeatureSets, matching: Matching) -> NDArray[np.bool_]:
    """(n,) whether an original asks and its person has another face in the release: only such people are compared, in
    the gallery or left out of it."""
    rows, faces = np.flatnonzero(attack.asks & sets.real.valid), np.flatnonzero(sets.released.valid)
    place = places(faces, len(sets.released.valid))
    genuine = find_genuine_matches(
        sets.real.features[rows],
        sets.released.features[faces],
        matching.real[rows],
        matching.shown[faces],
        exclude=place[attack.exclude[rows]],
    )
    found = np.zeros(len(matching.real), np.bool_)
    found[rows] = genuine.count > 0
    return found


def half(people: People, seed: int, split: int = 0) -> People:
    """Half of the people, less one where they are odd, ascending, another for each seed and split."""
    sampled = np.random.default_rng([seed, LEAVING_OUT, *([split] if split else [])]).permutation(people)
    return np.sort(sampled[: len(people) // 2])


@dataclass(frozen=True)
class _Search:
    """The rows `gallery` of released `features`, to be searched on `device`."""

    features: Features
    gallery: NDArray[np.int64]
    device: str
    progress: Progress

    def scores(self, seen: Embeddings, asks: NDArray[np.bool_], people: People, exclude: People) -> Floats:
        """Each asking person's highest similarity to a gallery face; `exclude` as in `Attack`."""
        rows, scores, _ = self.nearest(seen, asks, exclude, 1)
        return highest_scores(scores[:, 0], people[rows])[1]

    def nearest(
        self, seen: Embeddings, asks: NDArray[np.bool_], exclude: People, depth: int
    ) -> tuple[People, Floats, People]:
        """Which faces ask, (n,), and the scores and places in the gallery, (n, depth), of the nearest, -1 for none."""
        rows = np.flatnonzero(asks & seen.valid)
        if not (len(rows) and len(self.gallery)):
            raise InputError(f"there are {len(rows)} photos to ask with and {len(self.gallery)} faces to search")
        scores, found = nearest_over_ranks(
            seen.features[rows],
            self.features[self.gallery],
            depth,
            exclude=places(self.gallery, len(self.features))[exclude[rows]],
            device=self.device,
            progress=self.progress if len(rows) > QUERIES else SILENT,
        )
        return rows, scores, found
