"""Attackers who know some members, as one, against sums of z-scores in plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, hit_by_looping, named, people_and_photos, seen

from facemae_cli.evaluation.leakage.further_findings import FurtherPlan, find_further
from facemae_cli.evaluation.leakage.identification import FeatureSets, Measured, Plan, measure
from facemae_cli.evaluation.leakage.known_members import METHODS, Sides, attack_knowing, known_and_rest, map_faces
from facemae_cli.evaluation.leakage.known_together import OWN, Knowing, attack_together
from facemae_cli.evaluation.leakage.matching import match_names

PEOPLE, PHOTOS, KNOWN, SEED = 24, 3, 10, 5
WHOSE = np.repeat(np.arange(PEOPLE), PHOTOS)
NAMES = people_and_photos(PEOPLE, PHOTOS)


def features(dim: int, seed: int, noise: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Real faces, and released ones in a turned and shifted space."""
    random = np.random.default_rng(seed)
    real = faces_of(WHOSE, dim, 0.3, seed)
    turn, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    return real, (real + noise * random.normal(size=real.shape)) @ turn + random.normal(size=dim)


def sides(dim: int, seed: int) -> Sides:
    real, made = (seen(side).features for side in features(dim, seed))
    return Sides(real, made, WHOSE, WHOSE, np.arange(len(WHOSE)))


def z_scores(real: np.ndarray, made: np.ndarray) -> np.ndarray:
    rows = []
    for query in real.astype(float):
        scores = np.array([sum(a * b for a, b in zip(query, face, strict=True)) for face in made.astype(float)])
        rows.append((scores - scores.mean()) / scores.std())
    return np.array(rows)


@pytest.mark.parametrize("photo", ["other", "same"])
def test_the_rate_is_that_of_added_z_scores_in_plain_loops(photo) -> None:
    both = [sides(4, 0), sides(6, 1)]
    knowing = [
        Knowing(each, attack_knowing(each, KNOWN, 2, attacker=str(at), photo=photo, seed=SEED), weight)
        for at, (each, weight) in enumerate(zip(both, (1.0, 0.5), strict=True))
    ]
    found = attack_together(knowing, seed=SEED, resamples=20)
    members, rest = known_and_rest(both[0], KNOWN, SEED)
    total, plain = np.zeros((len(WHOSE), len(WHOSE))), np.zeros((len(WHOSE), len(WHOSE)))
    for each in knowing:
        maps = METHODS[each.found.method](each.sides, np.sort(members))
        total += each.weight * each.found.held_out[each.found.method] * z_scores(*map_faces(each.sides, maps))
        plain += each.weight * z_scores(each.sides.real, each.sides.released)
    for scores, got in ((total, found.risk), (plain, found.unlearnt.risk)):
        hits = []
        for query in np.flatnonzero(np.isin(WHOSE, rest)):
            out = query if photo == "other" else -1
            gallery = [
                (str(WHOSE[face]), np.array([scores[query, face]]))
                for face in np.flatnonzero(np.isin(WHOSE, rest))
                if face != out
            ]
            hits.append(hit_by_looping(np.ones(1), str(WHOSE[query]), gallery, 2)[0])  # type: ignore[index]
        assert got == pytest.approx(np.mean(hits), abs=1e-9)
    assert (found.attacker, found.method, found.known) == ("ensemble", OWN, KNOWN)
    assert found.risk > found.unlearnt.risk


def test_an_audit_tells_the_strongest_of_each_alone_and_of_all_as_one() -> None:
    by = {name: FeatureSets(name, *map(seen, features(dim, seed))) for name, dim, seed in (("a", 4, 0), ("b", 6, 1))}
    by["b"].released.valid[7] = False  # a face that one of them does not see
    matching, plan = match_names(named(*NAMES), named(*NAMES), None), Plan((2,), resamples=20, seed=SEED)
    searches: dict[str, Measured] = {name: measure(each, matching, plan) for name, each in by.items()}
    asked = FurtherPlan(known_members=(KNOWN,))
    both = find_further(asked, by, searches, "a", ["a", "b"], ["a", "b"], matching, None, plan)
    alone = find_further(asked, by, searches, "a", ["a", "b"], [], matching, None, plan)
    assert both.unmeasured == alone.unmeasured == ()
    assert both.known_members[0].attacker == "ensemble"
    assert both.known_members[0].risk >= alone.known_members[0].risk
    assert alone.known_members[0].attacker in ("a", "b")
