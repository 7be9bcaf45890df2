from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.auditcases import EVIL, FACE, RATES, SECRET, attacker, audited, findings, told

from facemae_cli import __version__
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.page import audit_page
from facemae_cli.evaluation.leakage.results import Adapted, Exposed, Triplet
from facemae_cli.evaluation.leakage.verdict import Gate, Verdict
from facemae_cli.reports.text import percent, percent_interval


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S)))


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


@pytest.fixture(scope="module")
def html() -> str:
    return audit_page(audited())


def test_the_verdict_and_the_figures_come_first_in_words(html: str) -> None:
    opening = text(html.split("<section>")[0]).replace("&#39;", "'")
    said = [
        "Release 2222222222222222…, attacked by mobilefacenet",
        "12.0 % found by other photos, limit 50 %: passed",
        "--max-leakage : the risk is at most 0.132, by mobilefacenet",
        "8.9 % of other photos find their person: photos that were not released 95 % interval 8.0 to 9.8 %; chance",
        "273 of 3059 people are found by at least one photo K = 2, among 3059 people, 15295",
        "15295 photos, by mobilefacenet limit 50 %: passed; a stronger attack finds 12.0 %",
        "24.7 % of the very photos find their person: photos that released faces were made of 95 % interval 22.2 to",
        "no limit was set",
        "compares it with all released faces: for 8.9 % of such photos one of the 2 most similar released faces is the "
        "person's. The very photo that a released face was made of finds the person in 24.7 %. Guessing would find",
        "By other photos the release gives away 8.4 % of that (95 % interval 5.0 to 11.0 %).",
        "More is found by an attacker who first imitates the release with facemae-v1: 14.4 % of photos",
        "by imitating the release other photos, with facemae-v1: 14.4 % of photos",
        "1500 people in it, 1500 not, by mobilefacenet the very photo: AUC",
        "released faces that are real: 1 byte for byte, 1 nearly",
        "3059 in both datasets by the key; the released faces of 15290 of 15295 photos are known",
        "Not measured: imitated_to_released, other photos, r18, 100 people: there are 0 photos to ask with.",
        "Note: whether mobilefacenet is independent of the release cannot be told: it has no facemae.json.",
        "Note: 1 face was refused and left out: 1 truncated.",
    ]
    places = [opening.find(words) for words in said]
    assert -1 not in places
    assert places == sorted(places)


def test_everything_else_has_its_section(html: str) -> None:
    assert headings(html) == [
        "What each attacker found",
        "The curves",
        "In the release or not",
        "People most exposed",
        "Copies",
        "By recipient",
        "In the terms of standards",
        "Who attacked",
        "How it was measured",
        "To repeat it",
        "What it cannot say",
        "All rates",
    ]
    said = text(html)
    for words in ("sha256 of released " + "22" * 32, "masks of imitations random, ratio 0.75", "started from seed 7"):
        assert words in said
    assert "mobilefacenet weights of sha256 " + "ab" * 32 in said
    assert f"Made by facemae {__version__}." in said


def rows_of(table: str) -> list[list[str]]:
    rows = re.findall(r"<tr.*?</tr>", table, flags=re.S)
    return [[text(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_a_row_an_attacker_shows_both_cases_first(html: str) -> None:
    heads, row = rows_of(re.findall(r"<table>.*?</table>", html, flags=re.S)[0])
    asked = ["other photos", "the very photo", "imitated, other photos", "imitated, the very photo", "real → real"]
    assert heads == ["attacker", *asked]
    assert row[:3] == ["mobilefacenet", "8.9 % (8.0 to 9.8)", "24.7 % (22.2 to 27.1)"]


def test_the_last_table_holds_what_was_measured_of_everyone(html: str) -> None:
    table = re.findall(r"<table>.*?</table>", html, flags=re.S)[-1]
    assert "<caption>By attacker; people: 3059; photos asking: 15295</caption>" in table
    heads, name, *rows = rows_of(table)
    assert (len(rows), name) == (len(RATES) * 2, ["mobilefacenet"])
    assert heads == [
        "who asks → whom",
        "K",
        "people found",
        "risk, 95 % interval",
        "chance",
        "above chance",
        "of real → real",
    ]
    assert [row[0] for row in rows[::2]] == [
        "real → real",
        "real → released, other photos",
        "real → released, the very photo",
        "imitated by facemae-v1 → released, other photos",
        "imitated by facemae-v1 → released, the very photo",
    ]
    figures = ["2", "273 of 3059", "8.9 % (8.0 to 9.8)", "0.065 %", "8.8 %", "8.4 %"]
    assert rows[3] == ["real → released, other photos", *figures]


def test_photos_that_could_not_ask_are_told() -> None:
    found = findings("a", sizes=())
    left_out = [replace(each, trials=tuple(replace(trial, left_out=5) for trial in each.trials)) for each in found]
    assert "15295 of 15300" in text(audit_page(audited(findings=left_out)))


def test_curves_are_of_the_strongest_attacker_with_what_was_swept() -> None:
    both = [*findings("weak", 0.5), *findings("strong")]
    page = audit_page(audited(findings=both, attackers=[attacker("weak"), attacker("strong")]))
    said = text(page)
    assert "Risk at K = 2 over the number of people, by strong." in said
    assert "Risk over K among all people, by strong." in said
    assert "attacked by 2 attackers" in said
    assert rows_of(page)[1][0] == "strong"
    assert page.count("<figure>") == 3
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 3


def test_the_sweep_is_a_table_too(html: str) -> None:
    table = re.findall(r"<table>.*?</table>", html, flags=re.S)[1]
    assert "of fewer than all people the mean of 5 samples" in table
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["100", "1000", "all"]
    others = [row[2] for row in rows_of(table)[1:]]
    assert others == ["9.8 % (8.8 to 10.7)", "9.0 % (8.1 to 9.9)", "8.9 % (8.0 to 9.8)"]


def test_a_limit_and_chance_are_drawn(html: str) -> None:
    plots = re.findall(r"<figure>.*?</figure>", html, flags=re.S)
    for plot in plots[:2]:
        assert "limit 50 %" in plot
        assert re.findall(r"</svg>\s*([^<]*?)\s*</li>", plot)[-1] == "chance"
    assert "guessing" in plots[2]


def test_the_roc_says_its_figures(html: str) -> None:
    how = told("mobilefacenet").membership
    tprs = [how.tpr_at_fpr[fpr] for fpr in (0.01, 0.001)]
    caption = f"AUC {how.auc:.3f}, TPR {percent(tprs[0])} at FPR 1 %, TPR {percent(tprs[1])} at FPR 0.1 %"
    assert f"By other photos, mobilefacenet: {caption}" in text(html)
    low, high = how.tpr_intervals[0.01] or (0, 0)
    assert f"{percent(tprs[0])} ({percent_interval((low, high)).removesuffix(' %')})" in text(html)


def test_without_a_sweep_there_is_no_curve() -> None:
    page = audit_page(audited(findings=findings("mobilefacenet", ks=(2,), sizes=())))
    assert "The curves" not in headings(page)
    assert page.count("<figure>") == 1


def test_no_membership_and_no_imitation_are_said_to_be_missing() -> None:
    found = [each for each in findings("mobilefacenet") if each.attack != "imitated_to_released"]
    page = audit_page(audited(findings=found, memberships=[], unmeasured=[]))
    assert "In the release or not" not in headings(page)
    said = text(page)
    assert "Not measured: whether a person is in the release at all." in said
    assert "Not measured: imitations of the release: none were asked for." in said
    assert "More is found" not in said


def test_membership_with_too_few_people_says_why() -> None:
    page = audit_page(audited(memberships=[told("a", people=150), told("a", "same", people=150)]))
    said = text(page)
    assert "Not measured: TPR at FPR 0.1 % needs 1000 people not in it; there are 150." in said
    assert "other photos: TPR at FPR 1 %" in said
    assert "TPR at FPR 0.1 %, " not in said
    some = text(audit_page(audited(memberships=[told("a", people=150), told("b")])))
    assert "people not in it; there are 150 (a with other photos)." in some


@pytest.mark.filterwarnings("error")
def test_an_audit_that_found_nothing_is_a_page_too() -> None:
    refused = Verdict("refused", ("the risk from other photos of a person could not be measured",))
    page = audit_page(LeakageResult(Path("raw"), Path("released"), verdict=refused, unmeasured=["nothing joins."]))
    said = text(page)
    assert "No verdict can be given: refused the risk from other photos of a person could not be measured" in said
    assert "Not measured: nothing joins." in said
    assert "attacked by nobody" in said
    assert headings(page) == ["How it was measured", "To repeat it", "What it cannot say"]
    assert "None" not in said
    assert "nan" not in said


@pytest.mark.filterwarnings("error")
def test_rates_of_nothing_and_of_everything_are_drawn() -> None:
    for value in (0.0, 1.0):
        flat = [
            replace(each, trials=tuple(replace(trial, risk=value, interval=(value, value)) for trial in each.trials))
            for each in findings("a", sizes=(10,))
        ]
        certain = [replace(each, trials=tuple(replace(trial, chance=1.0) for trial in each.trials)) for each in flat]
        page = audit_page(audited(findings=certain, verdict=Verdict()))
        assert page.count("<figure>") == 3
        assert "No verdict: no limit was set" in text(page)
        assert "facemae leakage ... --max-leakage 0.2 --max-leakage-same 0.2" in text(page)
        assert ">–</td>" in page  # above chance, where chance is certain


@pytest.mark.parametrize(
    ("status", "tone", "words"),
    [
        ("failed", "failed", "37.5 % found by other photos, limit 30 %: failed"),
        ("undecided", "open", "37.5 % found by other photos, limit 30 %: undecided"),
        ("passed", "passed", "37.5 % found by other photos, limit 30 %: passed"),
        ("refused", "open", "No verdict can be given: refused"),
        ("none", "open", "No verdict: no limit was set"),
    ],
)
def test_every_verdict_is_a_sentence(status: Any, tone: str, words: str) -> None:
    measured = status not in ("refused", "none")
    gate = Gate("--max-leakage", 0.3, status, "", 0.375 if measured else None, 0.4 if measured else None)
    copies = Gate("--max-copies", 0, "passed", "0 released faces are real ones", 0, 0)
    gates = (gate, copies) if status != "none" else ()
    page = audit_page(audited(verdict=Verdict(status, (), gates), findings=[], memberships=[]))
    judgement = re.search(r'<div class="verdict (.*?)">\s*<p class="judgement"><strong>(.*?)</strong>', page)
    assert judgement is not None
    assert (judgement[1], text(judgement[2])) == (tone, words)


def test_both_limits_are_judged_side_by_side() -> None:
    gates = (
        Gate("--max-leakage", 0.3, "passed", "", 0.1, 0.12),
        Gate("--max-leakage-same", 0.9, "failed", "", 0.99, 1.0),
    )
    found = findings("a", ks=(2,), sizes=())
    page = audit_page(audited(verdict=Verdict("failed", (), gates), findings=found, memberships=[]))
    judged = [text(found) for found in re.findall(r'<p class="judged">(.*?)</p>', page)]
    assert judged == [
        "limit 30 %: passed; a stronger attack finds 10.0 %",
        "limit 90 %: failed; a stronger attack finds 99.0 %",
    ]
    risk = next(each.risk for each in found if (each.attack, each.photo) == ("real_to_released", "other"))
    own = Verdict("passed", (), (Gate("--max-leakage", 0.3, "passed", "", risk, 0.2),))
    page = audit_page(audited(verdict=own, findings=found, memberships=[]))
    assert next(text(words) for words in re.findall(r'<p class="judged">(.*?)</p>', page)) == "limit 30 %: passed"


def test_attackers_are_told_with_why_no_verdict_rests_on_them() -> None:
    weak = attacker("weak", barred=("is weak: real -> real is 0.3, under --min-attacker 0.6", "has no card"))
    adapted = attacker("weak+adapted", adapted=Adapted(900, "facemae-v1", 128))
    phi = replace(attacker("phi"), shared=("cd" * 32,), strength=None)
    lost = replace(attacker("lost"), shared=None)
    said = text(audit_page(audited(attackers=[weak, adapted, phi, lost])))
    why = "it is weak: real → real is 0.3, under --min-attacker 0.6; it has no card"
    assert f"no verdict rests on it alone: {why}" in said
    assert "adapted to 900 faces of the attacker&#39;s own, reconstructed by facemae-v1, by the map “centred”" in said
    assert "ancestors shared with the release&#39;s model: " + "cd" * 32 in said
    assert "real → real not measured" in said
    assert "ancestors shared with the release&#39;s model are not known" in said


def test_an_attacker_that_is_as_another_is_told_once() -> None:
    said = text(
        audit_page(
            audited(attackers=[attacker("a"), attacker("a+transforms"), attacker("b")], findings=[], memberships=[])
        )
    )
    assert "a+transforms as a " in said.replace(" +", "+")
    assert said.count("weights of sha256") == 2


def test_people_are_listed_by_the_names_of_the_release(html: str) -> None:
    rows = re.findall(r'<th scope="row">([^<]*)</th>\s*<td data-column="similarity">([^<]*)</td>', html)
    assert [similarity for _, similarity in rows] == ["0.900", "0.890", "0.880"]
    assert rows[1][0] == "2. id1&lt;script&gt;alert(1)&lt;/script&gt;, photo1.jpg"
    assert "about 4 of 5" in text(html)
    assert "id8, b.jpg nearly equal as a picture" in text(html)


def test_faces_are_shown_only_where_the_result_holds_some(html: str) -> None:
    assert "<img" not in html
    people = [
        Exposed(f"id{at}", f"p{at}.jpg", 0.9, at == 0, 5 - 5 * (at == 2), 4.5 * (at == 0), "a", at, at)
        for at in range(3)
    ]
    faces = [Triplet(f"id{at}", FACE, None if at == 1 else FACE, FACE, 0.9 - at / 10) for at in range(3)]
    page = audit_page(audited(exposed=people, triplets=faces, findings=[], memberships=[]))
    assert re.findall(r'alt="([^"]*)"><figcaption>(.*?)</figcaption>', page) == [
        ("Original: a real photo of person 1, id0.", "original"),
        (
            "Released: the most alike of the faces of person 1, id0, made of that photo: p0.jpg; found by about 4 of 5 "
            "other photos.",
            "released of it",
        ),
        ("Original: a real photo of person 2, id1.", "original"),
        (
            "Released: the most alike of the faces of person 2, id1: p1.jpg; not found by any of 5 other photos.",
            "most alike",
        ),
        ("Original: a real photo of person 3, id2.", "original"),
        ("Released: made of that photo of person 3, id2.", "released of it"),
        ("Released: the most alike of the faces of person 3, id2: p2.jpg; no other photo asked.", "most alike"),
    ]
    assert page.count('src="data:image/jpeg;base64,') == 7
    assert "2. id1 similarity 0.800 not found by any of 5 other photos what was released of that photo" in text(page)
    assert text(page).count("what was released of that photo is not known") == 1


def test_names_do_not_run_and_raw_names_stay_out(html: str) -> None:
    hostile = audited(
        attackers=[attacker(EVIL)],
        findings=[replace(each, model=each.model and EVIL) for each in findings(EVIL)],
        memberships=[told(EVIL)],
        exposed=[Exposed(EVIL, EVIL, 0.9, False, 5, 1, EVIL, 0, 0)],
        triplets=[Triplet(EVIL, FACE, FACE, FACE, 0.9)],
        unmeasured=[EVIL],
        notices=[EVIL],
        digests={EVIL: EVIL},
        settings={EVIL: EVIL},
        verdict=Verdict("refused", (EVIL,)),
    )
    for page in (html, audit_page(hostile)):
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert SECRET not in page
        assert re.findall(r'(?:href|src)="(?!#|data:)[^"]*"', page) == []
        assert "http" not in re.sub(r'http-equiv|xmlns(:\w+)?="[^"]*"', "", page)


def test_equal_results_give_equal_bytes(html: str) -> None:
    assert audit_page(audited()) == html
    assert audit_page(audited(seed=8)) != html
