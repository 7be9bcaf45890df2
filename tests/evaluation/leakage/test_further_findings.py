"""What is found beside the rates: the pieces put together over one audit's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.audits import faces_of, named, people_and_photos, rate_by_looping, seen

from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.further_findings import FurtherPlan, find_further, plan_further, released_codes
from facemae_cli.evaluation.leakage.identification import FeatureSets, Measured, Plan, measure
from facemae_cli.evaluation.leakage.matching import Matching, match_names
from facemae_cli.evaluation.leakage.membership_attack import half
from facemae_cli.evaluation.leakage.summary import further_rows
from facemae_cli.inference.embed import Embeddings

PEOPLE, PHOTOS = 30, 3
NAMES = people_and_photos(PEOPLE, PHOTOS)


def audited(noise: float = 0.5) -> tuple[FeatureSets, Matching]:
    """One attacker's view of a release in another order, one face of either side of which has no feature."""
    original = named(*NAMES)
    order = np.random.default_rng(9).permutation(len(NAMES))
    matching = match_names(original, named(*(NAMES[at] for at in order)), None)
    faces = faces_of(np.arange(len(NAMES)) // PHOTOS, 10, 0.6, 1)
    made = faces + noise * np.random.default_rng(2).normal(size=faces.shape)
    real, released = seen(faces), seen(made[order])
    real.valid[5] = released.valid[7] = False
    return FeatureSets("a", real, released), matching


def find(wanted: FurtherPlan, sets: FeatureSets, matching: Matching, non_members: np.ndarray | None = None):
    plan = Plan((2,), resamples=20)
    searches: dict[str, Measured] = {"a": measure(sets, matching, plan)}
    return find_further(wanted, {"a": sets}, searches, "a", ["a"], ["a"], matching, non_members, plan)


def table(folder: Path, rows: list[str]) -> Path:
    path = folder / "groups.csv"
    path.write_text("\n".join(["name,sex", *rows]) + "\n")
    return path


def test_everything_of_one_audit(tmp_path: Path) -> None:
    sets, matching = audited()
    csv = table(tmp_path, [f"p{person},{'fm'[person % 2]}" for person in range(PEOPLE)])
    wanted = plan_further(named(*NAMES), matching, "10,20", csv, csv)
    found = find(wanted, sets, matching)
    assert [each.known for each in found.known_members] == [10, 20]
    assert [(each.column, each.value, each.people) for each in found.groups] == [("sex", "f", 15), ("sex", "m", 15)]
    headline = measure(sets, matching, Plan((2,))).findings[0]
    assert (headline.attack, headline.photo) == ("real_to_released", "other")
    total = sum((each.risk or 0) * each.queries for each in found.groups)
    assert total / headline.queries == pytest.approx(headline.risk, abs=1e-9)
    assert [(each.photo, each.given) for each in found.controls] == [("other", False), ("same", False)]
    assert [each.photo for each in found.open_sets] == ["other", "same"]
    assert found.open_sets[0].identities == 15
    assert found.linkability is not None
    assert [each.column for each in found.inferences] == ["sex"]
    assert found.inferences[0].photos == 89
    assert found.unmeasured == ()
    labels = [label for label, _ in further_rows(found)]
    assert labels == ["known members"] * 2 + ["control"] * 2 + ["open set"] * 2 + ["linkability", "inference"]
    value = found.as_json()
    assert {key: len(each) for key, each in value.items() if isinstance(each, list)} == {
        "known_members": 2, "controls": 2, "groups": 2, "open_set": 2, "inference": 1,
    }  # fmt: skip


def test_rates_of_the_halves_are_those_of_plain_loops() -> None:
    """The half left out of the release asks from without; faces without a feature are nowhere."""
    sets, matching = audited()
    found = find(FurtherPlan(), sets, matching).controls[0]
    left_out = half(matching.both, 0)
    rows = [
        row
        for row in range(len(matching.released))
        if sets.released.valid[row] and matching.released[row] not in left_out
    ]
    gallery = [(int(matching.released[row]), sets.released.features[row]) for row in rows]
    queries = []
    for at in range(len(matching.real)):
        if sets.real.valid[at] and matching.real[at] not in left_out:
            own = matching.same_photo[at]
            face = int(matching.real[at]), sets.real.features[at]
            queries.append((*face, rows.index(own) if own in rows else -1))
    risk, chance, asked, _ = rate_by_looping(queries, gallery, 2)
    assert (found.attack.risk, found.attack.chance) == (pytest.approx(risk, abs=1e-9), pytest.approx(chance, abs=1e-9))
    assert found.attack.queries == asked
    assert found.control.queries + found.control.left_out == (np.isin(matching.real, left_out) & sets.real.valid).sum()


def test_people_given_as_not_in_the_release_are_the_control() -> None:
    sets, matching = audited()
    outside = np.repeat(np.arange(7), 2)
    sets = FeatureSets("a", sets.real, sets.released, non_members=seen(faces_of(outside, 10, 0.6, 77)))
    found = find(FurtherPlan(), sets, matching, outside)
    assert all(each.given for each in found.controls)
    assert found.controls[0].control.people == 7
    assert (found.open_sets[0].identities, found.open_sets[0].others) == (30, 14)


def test_what_names_do_not_allow_is_told() -> None:
    original, released = named(*NAMES), named(*(f"{name[:-4]}x.jpg" for name in NAMES))
    matching = match_names(original, released, None)
    sets, _ = audited()
    found = find(FurtherPlan((10,)), sets, matching)
    assert (found.controls, found.open_sets, found.known_members) == ((), (), ())
    assert found.unmeasured[0].startswith("known members 10, a: there are 0 photos to ask with")
    assert found.linkability is not None


def test_attributes_of_released_faces_are_the_very_photo_s_or_the_person_s_only_one() -> None:
    original = named("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg")
    matching = match_names(original, named("b/2.jpg", "a/9.jpg", "b/7.jpg", "c/1.jpg", "d/1.jpg"), None)
    assert released_codes(np.array([4, 4, 0, 1, -1]), matching).tolist() == [1, 4, -1, -1, -1]


def test_files_and_numbers_are_checked_first(tmp_path: Path) -> None:
    _, matching = audited()
    with pytest.raises(UsageError, match="--known-members '26': give numbers from 5 to 25"):
        plan_further(named(*NAMES), matching, "26", None, None)
    csv = table(tmp_path, ["nobody,f"])
    with pytest.raises(InputError, match="none of its 1 rows, such as 'nobody', names a person"):
        plan_further(named(*NAMES), matching, None, csv, None)
    assert plan_further(named(*NAMES), matching, None, None, None) == FurtherPlan()
    csv = table(tmp_path, ["nobody,f", "p3,m"])
    lines = plan_further(named(*NAMES), matching, None, csv, None).lines()
    assert lines == [
        "--groups: 1 of 2 rows name nobody in the dataset",
        "--groups: 87 of 90 faces have no row, and are in no group",
    ]


def test_nothing_visible_is_told_and_not_raised() -> None:
    sets, matching = audited()
    blind = Embeddings(sets.released.features, np.zeros(len(sets.released.valid), np.bool_), [])
    found = find(FurtherPlan((10,)), FeatureSets("a", sets.real, blind), matching)
    assert found.linkability is None
    assert len(found.unmeasured) == 6
