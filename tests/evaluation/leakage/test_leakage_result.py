"""An audit as a person and a machine read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from helpers.audits import rate, told

from facemae_cli.evaluation.leakage.duplicates import Copy, Duplicates
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.results import Attacker, Exposed
from facemae_cli.evaluation.leakage.verdict import Evidence, Limits, judge


def audit() -> LeakageResult:
    return LeakageResult(
        Path("raw"),
        Path("released"),
        findings=[
            rate(0.2, 0.1, 0.3),
            rate(0.3, 0.2, 0.4, attacker="b"),
            rate(0.9, 0.8, 1.0, photo="same"),
            rate(0.4, 0.3, 0.5, attack="imitated_to_released", model="mae"),
        ],
        memberships=[told([0.9] * 60 + [0.05] * 40, [0.1] * 200, attacker="b")],
        attackers=[Attacker("b", "ab" * 32, "given", "on cpu", ())],
        exposed=[Exposed("q", "x.jpg", 0.75, False, 4, 2.5, "b", 7, 9)],
        duplicates=Duplicates(released=1, copies=[Copy("q", "x.jpg", "bytes")]),
        unmeasured=["something"],
    )


def test_the_headline_is_the_strongest_attacker_s() -> None:
    headline = audit().headline
    assert headline is not None
    assert (headline.attacker, headline.risk) == ("b", 0.3)
    assert LeakageResult(Path("raw"), Path("released")).headline is None


def test_failed_gates_are_lines() -> None:
    result = audit()
    evidence = Evidence(result.findings, result.memberships, result.attackers)
    result = replace(result, verdict=judge(evidence, Limits(leakage=0.3, tpr=0.95)))
    assert len(result.failed_gates) == 1
    assert result.failed_gates[0].startswith(
        "--max-leakage: 40.0 % found by other photos (30.0 to 50.0 %), limit 30 %: failed; by a at K = 2"
    )


def test_the_json_holds_no_paths_of_faces_and_everything_else() -> None:
    value = json.loads(json.dumps(audit().as_json()))
    assert value["headline"]["attacker"] == "b"
    assert value["headline_same"]["risk"] == 0.9
    keys = list(value)
    assert keys.index("verdict") < keys.index("headline") == keys.index("headline_same") - 1
    assert value["membership"]["tpr_at_fpr"]["0.01"] == 0.6
    assert value["exposed"][0]["identity"] == "q"
    assert "real" not in value["exposed"][0]
    assert value["duplicates"]["copies"] == [{"identity": "q", "released_photo": "x.jpg", "kind": "bytes"}]
