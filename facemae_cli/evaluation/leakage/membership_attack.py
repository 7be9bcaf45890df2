"""Who is in the release at all: one attacker's membership figures (design section 5, point 5), on features alone.

People who are not in it are given, or made by leaving the released faces of half of the people out of the gallery.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.identification import Attack, FeatureSets, attacks
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.membership import membership, strongest
from facemae_cli.evaluation.leakage.ranks import find_genuine_matches
from facemae_cli.evaluation.leakage.results import MembershipFinding
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.evaluation.retrieval import QUERIES, Features, top_k
from facemae_cli.inference.embed import Embeddings
from facemae_cli.runtime import distributed
from facemae_cli.runtime.progress import SILENT, Progress

LEAVING_OUT = 1  # tells its draw from the other draws of one seed


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

    `non_member_people`: the people of the non-members' faces, by number; None leaves half of the people out of it.
    """
    findings, missing = [], []
    for attack in attacks(sets, matching):
        if attack.kind == "real_to_released":
            try:
                found = _tell(attack, sets, matching, non_member_people, seed, device, progress)
                told = membership(*found, seed=seed, resamples=resamples)
                findings.append(MembershipFinding(sets.attacker, attack.photo, non_member_people is not None, told))
            except InputError as error:
                missing.append(f"membership, {attack.photo} photos, {sets.attacker}: {error}")
    return findings, missing


def _tell(
    attack: Attack,
    sets: FeatureSets,
    matching: Matching,
    non_member_people: People | None,
    seed: int,
    device: str,
    progress: Progress,
) -> tuple[Floats, Floats]:
    """The scores of people who are in the gallery, and of people who are not."""
    left_out = np.empty(0, np.int64) if non_member_people is not None else half(matching.both, seed)
    gallery = np.flatnonzero(sets.released.valid & ~np.isin(matching.released, left_out))
    search = _Search(sets.released.features, gallery, device, progress)
    asks, out = _could_be_found(attack, sets, matching), np.isin(matching.real, left_out)
    inside = search.scores(sets.real, asks & ~out, matching.real, attack.exclude)
    if non_member_people is None:
        return inside, search.scores(sets.real, asks & out, matching.real, attack.exclude)
    assert sets.non_members is not None
    nothing = np.full(len(non_member_people), -1, np.int64)
    return inside, search.scores(sets.non_members, nothing < 0, non_member_people, nothing)


def _could_be_found(attack: Attack, sets: FeatureSets, matching: Matching) -> NDArray[np.bool_]:
    """(n,) whether an original asks and its person has another face in the release: only such people are compared, in
    the gallery or left out of it."""
    rows, faces = np.flatnonzero(attack.asks & sets.real.valid), np.flatnonzero(sets.released.valid)
    place = _places(faces, len(sets.released.valid))
    genuine = find_genuine_matches(
        sets.real.features[rows],
        sets.released.features[faces],
        matching.real[rows],
        matching.released[faces],
        exclude=place[attack.exclude[rows]],
    )
    found = np.zeros(len(matching.real), np.bool_)
    found[rows] = genuine.count > 0
    return found


def _places(faces: NDArray[np.int64], count: int) -> People:
    """Where each of `count` faces stands among the chosen `faces`, -1 where it does not; and -1 for face -1."""
    place = np.full(count + 1, -1, np.int64)
    place[faces] = np.arange(len(faces))
    return place


def half(people: People, seed: int) -> People:
    """Half of the people, less one where they are odd, ascending, drawn by the seed."""
    sampled = np.random.default_rng([seed, LEAVING_OUT]).permutation(people)
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
        rows = np.flatnonzero(asks & seen.valid)
        if not (len(rows) and len(self.gallery)):
            raise InputError(f"there are {len(rows)} photos to ask with and {len(self.gallery)} faces to search")
        low, high = distributed.share(len(rows))
        part = rows[low:high]
        scores, _ = top_k(
            seen.features[part],
            self.features[self.gallery],
            1,
            exclude=_places(self.gallery, len(self.features))[exclude[part]],
            device=self.device,
            progress=self.progress if len(rows) > QUERIES else SILENT,
        )
        return strongest(np.concatenate(distributed.gather_objects(scores[:, 0])), people[rows])[1]
