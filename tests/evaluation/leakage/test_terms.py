"""The auditor's terms: each figure under the name that a standard gives it, and nothing claimed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers.auditcases import EVIL, SECRET, audited
from helpers.audits import faces_of

from facemae_cli.data.attributes import Column
from facemae_cli.evaluation.leakage.control import attack_control
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.evaluation.leakage.groups import by_group
from facemae_cli.evaluation.leakage.known_members import Sides, attack_knowing
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.linkability import infer, link_released
from facemae_cli.evaluation.leakage.open_set import identify
from facemae_cli.evaluation.leakage.page import audit_page
from facemae_cli.evaluation.leakage.terms import iso_19795, terms_sections, wp29
from facemae_cli.inference.embed import normalised
from facemae_cli.reports.html import Facts, Table
from facemae_cli.reports.text import percent, rate


def further() -> FurtherFindings:
    """Something of everything."""
    whose = np.repeat(np.arange(60), 3)
    faces = normalised(faces_of(whose, 8, 0.5, 0).astype(np.float32))[0]
    inside, same = whose < 40, np.arange(120)
    real, released, people = faces[inside], faces[inside][::-1], whose[inside]
    made = real, people, same[::-1].copy(), np.ascontiguousarray(released), people[::-1].copy()
    outside = faces[~inside]
    sides = Sides(real, made[3], people, made[4], made[2])
    sex = Column(f"sex{EVIL}", ("f", "m"), people % 2)
    return FurtherFindings(
        known_members=(attack_knowing(sides, 10, 2, attacker="a", resamples=9),),
        controls=(attack_control(sides, outside, whose[~inside], 2, attacker="a", photo="other", given=True),),
        groups=tuple(by_group(np.where(people < 10, 1.0, 0.0), people, [sex, Column("few", ("x",), people // 4)])),
        open_sets=(identify(sides, outside, 2, attacker="a", photo="other", fpirs=(0.1, 0.001)),),
        linkability=link_released(made[3], made[4], 2, attacker="a"),
        inferences=(infer(made[3], made[4], replace(sex, codes=made[4] % 2), attacker="a"),),
    )


def result(**others: object) -> LeakageResult:
    return audited(further=further(), **others)


def test_the_three_tests_are_mapped_to_what_was_measured() -> None:
    tests = dict(wp29(result()))
    assert list(tests) == ["singling out", "linkability", "inference"]
    assert tests["singling out"][0].startswith("by the very photo, the person is found by ")
    assert ["AUC" in line for line in tests["singling out"]] == [False, True, True]
    assert "of released faces find another of their person" in tests["linkability"][1]
    assert "is the base rate" in tests["inference"][0]
    bare = dict(wp29(LeakageResult(*(audited().original,) * 2)))
    assert bare == {
        "singling out": ["not measured"],
        "linkability": ["not measured"],
        "inference": ["not measured: no attributes were given"],
    }


def test_error_rates_are_misses() -> None:
    whole = result()
    lines = iso_19795(whole)
    found = [
        each
        for each in whole.findings
        if (each.attack, each.photo, each.k, each.whole) == ("real_to_released", "other", 1, True)
    ]
    assert lines[0].startswith(f"FNIR(3059, 1, 0) {percent(1 - found[0].risk)} (")
    assert lines[0].endswith("), other photos, by mobilefacenet")
    opened = whole.further.open_sets[0]
    assert lines[2].startswith(f"FNIR(40, 2, 0) {percent(opened.fnir)} (")
    assert f"FNIR {percent(opened.fnir_at_fpir[0.1])} at FPIR 10 %" in lines[2]
    assert "0.1 %" not in lines[2]


def test_sections_name_the_headings_and_one_risk_a_recipient() -> None:
    sections = {section.heading: section.blocks for section in terms_sections(result())}
    assert list(sections) == ["By recipient", "In the terms of standards", "By group", "What is due to the population"]
    [recipients] = sections["By recipient"]
    assert isinstance(recipients, Table)
    assert len(recipients.rows) == 5
    assert len({row[0] for row in recipients.rows}) == 5
    facts, claim = sections["In the terms of standards"]
    assert isinstance(facts, Facts)
    headings = [name for name, _ in facts.rows]
    assert headings == ["context", "threats", "data", "adversarial testing", "mitigation", "re-evaluation"]
    assert all(value for _, value in facts.rows)
    assert "No conformity" in str(claim)


def test_the_control_stands_beside_the_risk() -> None:
    whole = result()
    [words, table] = next(
        each.blocks for each in terms_sections(whole) if each.heading == "What is due to the population"
    )
    assert isinstance(table, Table)
    [found] = whole.further.controls
    rates = [rate(each.risk, each.interval) for each in (found.attack, found.control)]
    assert table.rows == [["other photos", *rates, rate(found.due_to_release, found.interval)]]
    assert "people who are not in it attacked it too" in str(words)


def test_the_page_says_them_and_escapes_them() -> None:
    html = audit_page(result())
    assert "FPIR" in html
    assert "the worst of 2 groups is" in html
    assert "too small to tell" in html
    assert EVIL not in html
    assert SECRET not in html
    assert audit_page(result()) == html
    assert "What is due to the population" not in audit_page(audited())
