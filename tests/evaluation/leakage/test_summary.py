"""An audit on a terminal: both cases beside the verdict, and a table that fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.audits import rate, told

from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.results import Attacker, Exposed
from facemae_cli.evaluation.leakage.risk import Risk
from facemae_cli.evaluation.leakage.summary import count, person_in_words
from facemae_cli.reports.text import tables


def audit() -> LeakageResult:
    return LeakageResult(
        Path("raw"),
        Path("released"),
        findings=[
            rate(0.2, 0.1, 0.3, attacker="a+transforms"),
            rate(0.2, 0.1, 0.3),
            rate(0.3, 0.2, 0.4, attacker="b"),
            rate(0.9, 0.8, 1.0, photo="same"),
            rate(0.4, 0.3, 0.5, attack="imitated_to_released", model="mae"),
        ],
        memberships=[
            told([0.9] * 60 + [0.05] * 40, [0.1] * 200, attacker="b"),
            told([0.9] * 30 + [0.05] * 70, [0.1] * 200, attacker="a"),
        ],
        attackers=[Attacker(name, "ab" * 32, "given", "on cpu", ()) for name in ("b", "b+transforms")],
        exposed=[Exposed("q", "x.jpg", 0.75, False, 4, 2.5, "b", 7, 9)],
        unmeasured=["something"],
    )


def test_a_row_an_attacker_and_a_column_an_attack() -> None:
    assert audit().measured() == [
        ["K = 2, 100 people", "other photos", "the very photo", "imitated, other"],
        ["b", "30.0 % (20.0 to 40.0)", "–", "–"],
        ["a", "20.0 % (10.0 to 30.0)", "90.0 % (80.0 to 100.0)", "40.0 % (30.0 to 50.0)"],
        ["  +transforms", "20.0 % (10.0 to 30.0)", "–", "–"],
        ["chance", "1.0 %", "1.0 %", "1.0 %"],
        ["photos that asked", "500", "500", "500"],
    ]
    assert LeakageResult(Path("raw"), Path("released")).measured() == []


def test_several_models_imitate_under_their_names() -> None:
    more = [rate(0.1, 0.0, 0.2, attack="imitated_to_released", model=name) for name in ("mae", "vit")]
    assert replace(audit(), findings=more).measured()[0][1:] == ["as mae, other", "as vit, other"]


def test_the_strongest_attacker_s_other_sizes_stand_last() -> None:
    fewer = rate(0.2, 0.1, 0.3, identities=10, whole=False, attacker="b")
    both = replace(fewer, trials=(*fewer.trials, Risk(2, 0.4, (0.3, 0.7), 0.03, 502, 0, 10, 4, 400.0)))
    one = rate(0.15, 0.1, 0.2, attacker="b", k=1)
    rows = replace(audit(), findings=[*audit().findings, both, one]).measured()
    assert [row[:2] for row in rows[1:3]] == [["b", "30.0 % (20.0 to 40.0)"], ["a", "20.0 % (10.0 to 30.0)"]]
    assert [row[:2] for row in rows[-3:]] == [
        ["b at", ""],
        ["  K = 1, 100 people", "15.0 % (10.0 to 20.0)"],
        ["  K = 2, 10 x 2 people", "30.0 % (20.0 to 50.0)"],
    ]


def test_attackers_of_different_people_say_among_how_many() -> None:
    alone = rate(0.5, 0.4, 0.6, attacker="c", identities=99)
    heads, first, *rows = replace(audit(), findings=[*audit().findings, alone]).measured()
    assert (heads[0], first[0]) == ("attacker", "c, K = 2, 99 people")
    assert "b, K = 2, 100 people" in [row[0] for row in rows]


@pytest.mark.parametrize(("width", "parts"), [(60, 5), (80, 3), (140, 2), (150, 1)])
def test_the_table_fits_a_terminal(width: int, parts: int) -> None:
    names = ("thumbnail-correlation", "thumbnail-correlation+transforms")
    found = [
        rate(1.0, 0.912, 1.0, attacker=name, photo=photo, attack=attack, model=model)
        for name in names
        for attack, model in (("real_to_released", None), ("real_to_real", None), ("imitated_to_released", "mae"))
        for photo in ("other", "same")
        if (attack, photo) != ("real_to_real", "same")
    ]
    shown = tables(replace(audit(), findings=found).measured(), width).splitlines()
    assert max(map(len, shown)) <= width
    assert sum(line.startswith("K = 2") for line in shown) == parts


def test_the_rows_say_the_verdict_and_both_cases_first() -> None:
    result = audit()
    labels = [label for label, _ in result.summary()]
    assert labels[:4] == ["verdict", "set limits", "other photos", "the very photo"]
    rows = dict(result.summary())
    assert rows["verdict"] == "none: no limit was set"
    assert rows["set limits"] == "facemae leakage ... --max-leakage 0.2 --max-leakage-same 0.2"
    assert rows["the very photo"] == ("90.0 % (80.0 to 100.0) find their person, chance 1.0 %; K = 2, 100 people, by a")
    assert rows["exposed"] == (
        "q: x.jpg has similarity 0.750 to another photo; about 2 of 4 photos find the person by other faces"
    )
    assert rows["not measured"] == "something"
    assert labels.count("attacker") == 1


def test_the_best_of_several_memberships_is_shown() -> None:
    shown = [value for label, value in audit().summary() if label == "membership"]
    assert len(shown) == 1
    assert "TPR 60.0 % (" in shown[0]
    assert "at FPR 1 %, 100 people in it, 200 not, by b" in shown[0].replace(", TPR –", "")


def test_expectations_are_no_counts() -> None:
    """Ties give shares of photos: 0.599 of a photo does not find anybody."""
    whole = [count(found) for found in (0, 40.01, 2691.5, 99.96)]
    assert whole == ["0", "40", "2692", "100"]
    assert [count(found) for found in (0.3, 0.599, 17.34)] == ["fewer than 1", "about 1", "about 17"]
    person = Exposed("a", "1.jpg", 0.9, False, 4, 0.599, "x", 0, 0)
    assert person_in_words(person).endswith("; about 1 of 4 photos find the person by other faces")
