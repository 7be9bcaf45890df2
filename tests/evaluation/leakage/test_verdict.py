"""Verdicts look at upper ends, take the strongest attack, and fail closed."""

from __future__ import annotations

import pytest
from helpers.audits import rate, told

from facemae_cli.evaluation.leakage.results import Attacker, strongest
from facemae_cli.evaluation.leakage.verdict import judge

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
    assert str(verdict.gates[0]).startswith(f"--max-leakage 0.3: {status}: the risk is ")


def test_without_a_gate_there_is_no_verdict_or_a_refused_one() -> None:
    assert judge([rate(0.2, 0.1, 0.3)], [], [GOOD]).status == "none"
    refused = judge([rate(0.2, 0.1, 0.3)], [], [BARRED])
    assert (refused.status, refused.gates, refused.reasons) == ("refused", (), ("b shares an ancestor",))


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
