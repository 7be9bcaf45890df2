"""An attacker's rates against plain loops: ties, people of one photo, people on one side, faces without a feature."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.audits import faces_of, named, rate_by_looping, seen
from helpers.ranks import run_ranks

from facemae_cli.evaluation import retrieval
from facemae_cli.evaluation.leakage.further_findings import FurtherPlan, find_further
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.matching import match_names
from facemae_cli.evaluation.leakage.membership_attack import membership_attack

SMALL = {"resamples": 20}


class Case:
    """People of 1 to 4 photos; some people, and some photos, are on one side only; some faces have no feature."""

    def __init__(self, seed: int, tied: bool = False) -> None:
        random = np.random.default_rng(seed)
        people = np.repeat(np.arange(12), random.integers(1, 5, 12))
        faces = [f"p{person}/{at}.jpg" for at, person in enumerate(people)]
        real = [at for at in range(len(faces)) if people[at] != 3]
        released = [at for at in random.permutation(len(faces)).tolist() if people[at] not in (5, 6) and at % 9]
        self.original, self.released = (named(*(faces[at] for at in side)) for side in (real, released))
        rows = faces_of(people, 4, 0.6, seed)
        made = rows + random.normal(0, 0.5, rows.shape)
        if tied:
            rows, made = np.sign(rows), np.sign(made)
        self.real, self.made, self.reconstructed = rows[real], made[released], (rows + made)[real]
        self.real[4] = self.made[2] = 0
        self.matching = match_names(self.original, self.released, None)
        self.sets = FeatureSets("a", seen(self.real), seen(self.made), {"mae": seen(self.reconstructed)})

    def by_looping(self, attack: str, photo: str, k: int, chosen: set[str] | None = None) -> tuple[float, ...]:
        """Risk, chance, queries, and those left out."""
        names = [self.original.name(at) for at in range(len(self.original))]
        called = [self.released.name(at) for at in range(len(self.released))]
        sets = self.sets
        source = sets.imitated["mae"] if attack == "imitated_to_released" else sets.real
        target, theirs = (sets.real, names) if attack == "real_to_real" else (sets.released, called)
        there = [at for at, name in enumerate(theirs) if target.valid[at] and (not chosen or name.identity in chosen)]
        queries = []
        for at, name in enumerate(names):
            same_photo = there.index(theirs.index(name)) if name in theirs and theirs.index(name) in there else -1
            if not source.valid[at] or (chosen and name.identity not in chosen):
                continue
            if photo == "same" and name not in theirs:
                continue
            queries.append((str(name.identity), source.features[at], same_photo if photo == "other" else -1))
        return rate_by_looping(queries, [(str(theirs[at].identity), target.features[at]) for at in there], k)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_rate_is_that_of_plain_loops(seed: int, tied: bool) -> None:
    case = Case(seed, tied)
    measured = measure(case.sets, case.matching, Plan(ks=(1, 2, 60), **SMALL))
    findings, missing = measured.findings, measured.missing
    assert missing == []
    assert [(each.attack, each.photo) for each in findings[::3]] == [
        ("real_to_released", "other"), ("real_to_released", "same"), ("real_to_real", "other"),
        ("imitated_to_released", "other"), ("imitated_to_released", "same"),
    ]  # fmt: skip
    for found in findings:
        risk, chance, queries, left_out = case.by_looping(found.attack, found.photo, found.k)
        assert (found.risk, found.chance) == pytest.approx((risk, chance), abs=1e-12)
        assert (found.queries, found.trials[0].left_out) == (queries, left_out)
        assert found.interval[0] <= found.risk <= found.interval[1]
        assert found.as_json()["relative"] == (None if chance == 1 else pytest.approx((risk - chance) / (1 - chance)))
        real = found.attack == "real_to_real"
        gallery = case.matching.real[case.sets.real.valid] if real else case.matching.released[case.sets.released.valid]
        assert found.identities == len(np.unique(gallery))


def test_draws_of_people_restrict_both_sides() -> None:
    case = Case(3)
    plan = Plan(ks=(2,), identities=(None, 4), trials=3, seed=7, **SMALL)
    findings = measure(case.sets, case.matching, plan).findings
    reconstructed = [
        {case.matching.labels[person] for person in people} for people in plan.samples(case.matching.both, 4)
    ]
    assert len(reconstructed) == 3
    assert len({frozenset(each) for each in reconstructed}) > 1
    for found in findings:
        assert found.whole is (found.identities != 4)
        if not found.whole:
            expected = [case.by_looping(found.attack, found.photo, 2, chosen)[0] for chosen in reconstructed]
            assert [trial.risk for trial in found.trials] == pytest.approx(expected, abs=1e-12)
            assert found.risk == pytest.approx(np.mean(expected))
    assert measure(case.sets, case.matching, plan).findings == findings


def test_attacks_are_compared_to_the_strength_of_the_attacker() -> None:
    case = Case(4)
    findings = measure(case.sets, case.matching, Plan(ks=(2,), **SMALL)).findings
    by = {(each.attack, each.photo): each for each in findings}
    assert by["real_to_real", "other"].compared is None
    compared = by["real_to_released", "same"].compared
    assert compared is not None
    assert compared.people == len(case.matching.both) - sum(
        not any(
            case.sets.real.valid[(case.matching.real == person)]
            & (case.matching.same_photo[case.matching.real == person] >= 0)
        )
        or (case.matching.real == person).sum() < 2
        for person in case.matching.both
    )


def test_constant_features_give_chance() -> None:
    case = Case(5)
    same = FeatureSets("a", seen(np.ones((len(case.real), 3))), seen(np.ones((len(case.made), 3))))
    findings = measure(same, case.matching, Plan(ks=(1, 2, 5), **SMALL)).findings
    for found in findings:
        assert found.risk == pytest.approx(found.chance)
        assert found.risk < 1


def test_what_cannot_be_measured_is_told_and_the_rest_is_measured() -> None:
    real, released = named("a/1", "a/2", "b/1", "b/2"), named("c/1", "d/2")
    rows = np.eye(4)
    matching = match_names(real, released, None)
    measured = measure(FeatureSets("a", seen(rows), seen(rows[:2])), matching, Plan(**SMALL))
    findings, missing = measured.findings, measured.missing
    assert [each.attack for each in findings] == ["real_to_real"]
    assert len(missing) == 1
    assert missing[0].startswith("real_to_released, same photos, a, all people: none of 4 query photos")


def test_where_photos_do_not_join_the_very_photo_is_any_released_one() -> None:
    real, released = named("a/1", "a/2", "b/1", "b/2"), named("a/x", "b/y")
    rows = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]])
    sets = FeatureSets("a", seen(rows), seen(rows[[0, 2]]))
    findings = measure(sets, match_names(real, released, None), Plan(ks=(1,), **SMALL)).findings
    assert [(each.attack, each.photo, each.risk, each.queries) for each in findings] == [
        ("real_to_released", "same", 1.0, 4),
        ("real_to_real", "other", 1.0, 4),
    ]


def test_ranks_share_the_queries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "choose_backend", lambda device: "torch")  # FAISS's threads do not outlive a fork
    case, plan = Case(6), Plan(ks=(1, 2), identities=(4, None), trials=2, **SMALL)

    def work(rank: int) -> tuple[object, object, object, dict[str, object]]:
        members, _ = membership_attack(case.sets, case.matching, None, resamples=20)
        measured = measure(case.sets, case.matching, plan)
        by = {"a": case.sets}, {"a": measured}
        further = find_further(FurtherPlan(known_members=(5,)), *by, "a", ["a"], ["a"], case.matching, None, plan)
        return measured.findings, measured.missing, [each.as_json() for each in members], further.as_json()

    alone = work(0)
    assert all(alone[3][key] for key in ("known_members", "controls", "open_set", "linkability"))
    assert run_ranks(3, tmp_path, work) == [alone] * 3
