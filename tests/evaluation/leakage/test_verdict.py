"""Verdicts look at upper ends, take the strongest attack, and fail closed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.audits import rate, told

from facemae_cli.evaluation.leakage.duplicates import Duplicates
from facemae_cli.evaluation.leakage.groups import GroupRate
from facemae_cli.evaluation.leakage.matching import Names
from facemae_cli.evaluation.leakage.name_check import NameCheck
from facemae_cli.evaluation.leakage.results import Attacker, strongest
from facemae_cli.evaluation.leakage.verdict import NOTHING_SHOWS, Evidence, Limits, Verdict, unconfirmed
from facemae_cli.evaluation.leakage.verdict import judge as judge_evidence


def judge(
    findings, memberships, attackers, *, max_leakage=None, max_same=None, max_tpr=None, photo="other", **evidence
) -> Verdict:
    limits = Limits(max_leakage, max_same, max_tpr, photo)
    return judge_evidence(Evidence(findings, memberships, attackers, **evidence), limits)


GOOD = Attacker("a", "00", "given", "on cpu", ())
BARRED = Attacker("b", "11", "given", "on cpu", ("22",), barred=("shares an ancestor",))


@pytest.mark.parametrize(
    ("risk", "low", "high", "status"),
    [(0.2, 0.1, 0.3, "passed"), (0.2, 0.1, 0.31, "undecided"), (0.31, 0.25, 0.4, "failed"), (0.31, 0.1, 0.9, "failed")],
)
def test_the_upper_end_decides(risk: float, low: float, high: float, status: str) -> None:
    verdict = judge([rate(risk, low, high)], [], [GOOD], max_leakage=0.3)
    assert (verdict.status, verdict.gates[0].status) == (status, status)
    assert (verdict.gates[0].value, verdict.gates[0].upper) == (risk, high)
    assert str(verdict.gates[0]).startswith(
        f"--max-leakage: {100 * risk:.1f} % found by other photos "
        f"({100 * low:.1f} to {100 * high:.1f} %), limit 30 %: {status}"
    )


def test_without_a_gate_there_is_no_verdict_or_a_refused_one() -> None:
    assert judge([rate(0.2, 0.1, 0.3)], [], [GOOD]).status == "none"
    refused = judge([rate(0.2, 0.1, 0.3)], [], [BARRED])
    assert (refused.status, refused.gates, refused.reasons) == ("refused", (), ("b shares an ancestor",))


@pytest.mark.parametrize(
    ("found", "status"), [(Duplicates(), "passed"), (Duplicates(released_near=2), "failed"), (None, "refused")]
)
def test_a_limit_of_copies_alone_is_a_gate(found: Duplicates | None, status: str) -> None:
    verdict = judge_evidence(Evidence([rate(0.2, 0.1, 0.3)], [], [GOOD], duplicates=found), Limits(copies=0))
    assert (verdict.status, [gate.option for gate in verdict.gates]) == (status, ["--max-copies"])
    more = judge_evidence(Evidence([rate(0.2, 0.1, 0.3)], [], [GOOD], duplicates=found), Limits(copies=2))
    assert more.status == ("refused" if found is None else "passed")


def test_the_strongest_attack_with_other_photos_decides_at_the_largest_k_and_all_people() -> None:
    findings = [
        rate(0.1, 0.05, 0.15),
        rate(0.2, 0.1, 0.25, attacker="b"),
        rate(0.05, 0.0, 0.1, k=1),
        rate(0.9, 0.8, 1.0, photo="same"),
        rate(0.9, 0.8, 1.0, identities=10, whole=False),
        rate(0.9, 0.8, 1.0, attack="real_to_real"),
    ]
    assert strongest(findings, "real_to_released", "other") == findings[1]
    assert judge(findings, [], [GOOD], max_leakage=0.25).status == "passed"
    assert "b at K = 2" in judge(findings, [], [GOOD], max_leakage=0.24).gates[0].reason
    imitated = rate(0.4, 0.3, 0.5, attack="imitated_to_released", model="mae")
    gate = judge([*findings, imitated], [], [GOOD], max_leakage=0.25).gates[0]
    assert gate.status == "failed"
    assert "imitating by mae" in gate.reason


def test_without_the_whole_the_largest_draw_is_the_headline() -> None:
    findings = [rate(0.6, 0.5, 0.7, identities=10, whole=False), rate(0.2, 0.1, 0.3, identities=50, whole=False)]
    assert strongest(findings, "real_to_released", "other") == findings[1]


def test_no_verdict_rests_on_barred_attackers_alone_but_they_count_beside_others() -> None:
    mine, theirs = rate(0.1, 0.05, 0.2), rate(0.5, 0.4, 0.6, attacker="b")
    assert judge([theirs], [], [BARRED], max_leakage=0.9).status == "refused"
    assert judge([mine, theirs], [], [GOOD, BARRED], max_leakage=0.9).status == "passed"
    assert judge([mine, theirs], [], [GOOD, BARRED], max_leakage=0.45).status == "failed"


def test_what_was_not_measured_has_not_passed() -> None:
    same = rate(0.1, 0.05, 0.2, photo="same")
    verdict = judge([same], [], [GOOD], max_leakage=0.9)
    assert verdict.status == "refused"
    assert "could not be measured" in verdict.reasons[0]
    assert judge([rate(0.1, 0.05, 0.2)], [], [GOOD], max_tpr=0.5).status == "undecided"
    few = told([0.9] * 10, [0.1] * 99)
    assert judge([rate(0.1, 0.05, 0.2)], [few], [GOOD], max_tpr=1.0).status == "undecided"


def test_membership_is_gated_at_one_percent_by_other_photos() -> None:
    finding = rate(0.1, 0.05, 0.2)
    caught = told([0.9] * 60 + [0.05] * 40, [0.1] * 200)
    assert judge([finding], [caught], [GOOD], max_tpr=0.5).status == "failed"
    gate = judge([finding], [caught], [GOOD], max_tpr=0.95).gates[0]
    assert (gate.status, gate.value) == ("passed", pytest.approx(0.6))
    assert 0.6 < (gate.upper or 0) < 0.95
    assert judge([finding], [caught], [GOOD], max_tpr=0.61).status == "undecided"
    assert judge([finding], [told([0.9] * 60, [0.1] * 200, photo="same")], [GOOD], max_tpr=0.9).status == "undecided"


def test_the_worst_gate_is_the_verdict() -> None:
    finding, caught = rate(0.1, 0.05, 0.2), told([0.9] * 60 + [0.05] * 40, [0.1] * 200)
    verdict = judge([finding], [caught], [GOOD], max_leakage=0.3, max_tpr=0.3)
    assert [gate.status for gate in verdict.gates] == ["passed", "failed"]
    assert verdict.status == "failed"
    assert verdict.as_json()["gates"][1]["option"] == "--max-tpr"


def test_a_strong_attacker_is_not_dropped_for_seeing_a_face_fewer() -> None:
    weak, strong = rate(0.05, 0.03, 0.08, identities=300), rate(0.97, 0.95, 0.98, attacker="b", identities=299)
    verdict = judge([weak, strong], [], [GOOD], max_leakage=0.3)
    assert verdict.status == "failed"
    assert "by b at K = 2" in verdict.gates[0].reason
    assert strongest([weak, strong], "real_to_released", "other") == strong


def test_copies_fail_a_gate_and_without_one_there_is_no_verdict() -> None:
    finding, copies = rate(0.01, 0.0, 0.02), Duplicates(released=1, released_near=2)
    verdict = judge([finding], [], [GOOD], max_leakage=0.5, duplicates=copies)
    assert [(gate.option, gate.status) for gate in verdict.gates] == [
        ("--max-leakage", "passed"),
        ("--max-copies", "failed"),
    ]
    assert verdict.status == "failed"
    assert verdict.reasons == ("3 released faces are real ones, at most 0 may be: failed",)
    allowed = Limits(leakage=0.5, copies=3)
    assert judge_evidence(Evidence([finding], [], [GOOD], duplicates=copies), allowed).status == "passed"
    assert judge([finding], [], [GOOD], duplicates=copies).status == "refused"
    assert judge([finding], [], [GOOD], max_leakage=0.5, duplicates=Duplicates(original=5)).status == "passed"


@pytest.mark.parametrize(
    ("alone", "released", "status"), [(0, 50, "passed"), (50, 0, "passed"), (1, 1, "passed"), (2, 50, "refused")]
)
def test_people_who_may_be_there_under_other_names_refuse_it(alone: int, released: int, status: str) -> None:
    names = Names("names", 100, alone, released, 0, 300, 300, 0, False)
    assert judge([rate(0.01, 0.0, 0.02)], [], [GOOD], max_leakage=0.5, names=names).status == status


def test_names_that_are_shuffled_refuse_it() -> None:
    for check, status in (
        (NameCheck(100, 50, 6), "refused"),
        (NameCheck(100, 50, 5), "passed"),
        (NameCheck(9, 9, 9), "passed"),
        (NameCheck(1000, 50, 50), "passed"),
    ):
        assert judge([rate(0.01, 0.0, 0.02)], [], [GOOD], max_leakage=0.5, name_check=check).status == status


def test_where_every_guess_is_right_nothing_can_be_told() -> None:
    one = replace(rate(1.0, 0.9, 1.0, identities=1), trials=(replace(rate(1.0, 0.9, 1.0).trials[0], chance=1.0),))
    verdict = judge([one], [], [GOOD], max_leakage=1.0)
    assert verdict.status == "refused"
    assert "among 1 people every guess" in verdict.reasons[0]


def test_the_very_photo_has_gates_of_its_own_and_what_has_none_is_said() -> None:
    findings = [rate(0.1, 0.05, 0.2), rate(0.94, 0.9, 0.97, photo="same")]
    caught = told([0.9] * 60 + [0.05] * 40, [0.1] * 200, photo="same")
    verdict = judge(findings, [caught], [GOOD], max_leakage=0.5)
    assert verdict.status == "passed"
    assert verdict.not_gated == (
        "94.0 % found by the very photo (--max-leakage-same sets a limit)",
        "60.0 % of members recognised at a 1 % false-positive rate by the very photo (--max-tpr with --photo same "
        "sets a limit)",
    )
    assert judge(findings, [caught], [GOOD], max_same=0.5).status == "failed"
    assert judge(findings, [caught], [GOOD], max_same=0.95).status == "undecided"
    assert judge(findings, [caught], [GOOD], max_tpr=0.5).status == "undecided"
    assert judge(findings, [caught], [GOOD], max_tpr=0.5, photo="same").status == "failed"


def test_the_worst_group_is_said() -> None:
    groups = [GroupRate("hair", "dark", 40, 90, 0.2, (0.1, 0.3)), GroupRate("hair", "light", 30, 60, 0.4, (0.3, 0.5))]
    verdict = judge([rate(0.1, 0.05, 0.2)], [], [GOOD], max_leakage=0.5, groups=groups)
    assert verdict.not_gated == ("40.0 % found in the worst group, hair light: a limit is of all people",)


def test_bare_numbers_that_nothing_confirms_are_refused() -> None:
    def names(numbered: bool) -> Names:
        return Names("names", 100, 0, 0, 0, 300, 300, 0, numbered)

    found = [rate(0.02, 0.005, 0.035), rate(0.02, 0.005, 0.035, photo="same")]
    assert judge(found, [], [GOOD], max_leakage=0.3, names=names(False)).status == "passed"
    refused = judge(found, [], [GOOD], max_leakage=0.3, names=names(True))
    assert refused.status == "refused"
    assert refused.reasons[0].startswith(f"people are joined by bare numbers, and {NOTHING_SHOWS}: no attacker finds")
    known = [found[0], rate(0.05, 0.035, 0.065, photo="same")]
    assert judge(known, [], [GOOD], max_leakage=0.3, names=names(True)).status == "passed"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (Names(None, 0, 20, 20, 0, 0, 0, 0, False), f"nobody is on both sides by name, and {NOTHING_SHOWS}"),
        (Names("names", 2, 18, 18, 0, 6, 6, 0, False), "90.0 % of the people may be in the release under other names"),
        (Names("names", 20, 0, 0, 0, 60, 60, 0, True), "people are joined by bare numbers, and nothing shows"),
    ],
)
def test_no_copies_of_other_peoples_photos_pass_no_gate_and_copies_fail_it(names: Names, said: str) -> None:
    found = [rate(0.02, 0.005, 0.035), rate(0.02, 0.005, 0.035, photo="same")] if names.people else []
    limits = Limits(copies=0)
    verdict = judge_evidence(Evidence(found, [], [GOOD], names, Duplicates()), limits)
    (gate,) = verdict.gates
    assert (verdict.status, gate.status, gate.value) == ("refused", "refused", None)
    assert gate.reason.startswith(said)
    assert str(gate).startswith(f"--max-copies: limit 0: refused: {said}")
    both = judge_evidence(Evidence(found, [], [GOOD], names, Duplicates()), Limits(leakage=0.5, copies=0))
    assert [each.status for each in both.gates] == ["refused", "refused"]
    assert both.reasons == (gate.reason,)
    copied = judge_evidence(Evidence(found, [], [GOOD], names, Duplicates(released_near=1)), limits)
    assert copied.status == "failed"


def test_what_keeps_a_rate_from_a_verdict_leaves_copies_of_these_originals_theirs() -> None:
    evidence = Evidence([rate(0.2, 0.1, 0.3)], [], [BARRED], Names("key", 9, 0, 0, 0, 9, 9, 0, False), Duplicates())
    assert judge_evidence(evidence, Limits(copies=0)).status == "passed"


def test_few_people_found_are_told_from_nobody_found() -> None:
    def very(risk: float, low: float, high: float, chance: float, people: int) -> str | None:
        one = rate(risk, low, high, photo="same", identities=people)
        return unconfirmed([replace(one, trials=(replace(one.trials[0], chance=chance),))])

    few = very(1.0, 0.34, 1.0, 0.576, 2)
    assert few is not None
    assert few.endswith("2 people are too few to tell 100.0 % found by the very photo from chance, 57.6 %")
    assert str(very(0.5, 0.1, 0.9, 0.576, 2)).endswith(
        "no attacker finds even the very photo clearly more often than chance"
    )
    assert str(very(0.02, 0.005, 0.035, 0.01, 100)).endswith("clearly more often than chance")
    assert very(0.9, 0.8, 1.0, 0.02, 100) is None
    assert str(unconfirmed([rate(0.9, 0.8, 1.0)])).endswith("no very photo could be looked for")
