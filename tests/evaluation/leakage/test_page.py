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
from facemae_cli.evaluation.leakage.results import Adapted, Triplet
from facemae_cli.evaluation.leakage.verdict import Verdict
from facemae_cli.reports.text import percent, percent_interval


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S)))


def headings(html: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", html)


@pytest.fixture(scope="module")
def html() -> str:
    return audit_page(audited())


def test_the_verdict_and_the_figures_come_first_in_words(html: str) -> None:
    opening = text(html.split("<section>")[0])
    said = [
        "Release 2222222222222222…, attacked by mobilefacenet",
        "Passed: the release is within the limits that were set",
        "--max-leakage 0.5: passed: the risk is at most 0.132, by mobilefacenet",
        "finds them again with 8.9 % of photos (95 % interval 8.0 to 9.8 %; chance 0.065 %): one of the 2 nearest",
        "finds 273 of 3059 people; 15295 photos asked, among the faces of 3059 people, by mobilefacenet.",
        "The release gives away 8.4 % of what these do (95 % interval 5.0 to 11.0 %).",
        "More is found by an attacker who first imitates the release with facemae-v1: 14.4 % of photos",
        "with the very photo the worst case: 24.7 % of photos",
        "1500 people in it, 1500 not, told by other photos, by mobilefacenet",
        "released faces that are real: 1 byte for byte, 1 nearly",
        "3059 on both sides by the key; 15290 of 15295 photos join",
        "Not measured: imitated_to_released, other photos, r18, 100 people: there are 0 photos to ask with.",
        "Note: whether mobilefacenet is independent of the release cannot be told: it has no facemae.json.",
        "Note: 1 face was refused and left out: 1 truncated.",
    ]
    places = [opening.find(words) for words in said]
    assert -1 not in places
    assert places == sorted(places)


def test_everything_else_has_its_section(html: str) -> None:
    assert headings(html) == [
        "The measurements",
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
    ]
    said = text(html)
    for words in ("sha256 of released " + "22" * 32, "masks of imitations random, ratio 0.75", "started from seed 7"):
        assert words in said
    assert "its sha256 " + "ab" * 32 in said
    assert f"Made by facemae {__version__}." in said


def test_the_table_holds_what_was_measured_of_everyone(html: str) -> None:
    table = re.findall(r"<table>.*?</table>", html, flags=re.S)[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", table, flags=re.S)]
    assert len(rows) == 1 + len(RATES) * 2
    assert [row[0] for row in rows[1::2]] == [
        "real → real",
        "real → released, other photos",
        "real → released, the very photo",
        "imitated by facemae-v1 → released, other photos",
        "imitated by facemae-v1 → released, the very photo",
    ]
    figures = ["2", "3059", "15295", "273 of 3059", "8.9 % (8.0 to 9.8)", "0.065 %", "8.8 %", "8.4 %"]
    assert rows[4] == ["real → released, other photos", *figures]


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
    assert "by strong, the strongest of 2 attackers" in said
    assert said.index("Attacker strong") < said.index("Attacker weak")
    assert page.count("<figure>") == 3
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 3


def test_the_sweep_is_a_table_too(html: str) -> None:
    table = re.findall(r"<table>.*?</table>", html, flags=re.S)[1]
    assert "of fewer than all people the mean of 5 samples" in table
    assert re.findall(r'<th scope="row">(.*?)</th>', table) == ["100", "1000", "all"]
    others = re.findall(r'<td data-column="real → released, other photos">(.*?)</td>', table)
    assert others == ["9.8 % (8.8 to 10.7)", "9.0 % (8.1 to 9.9)", "8.9 % (8.0 to 9.8)"]


def test_a_limit_and_chance_are_drawn(html: str) -> None:
    plots = re.findall(r"<figure>.*?</figure>", html, flags=re.S)
    for plot in plots[:2]:
        assert "--max-leakage 0.5" in plot
        assert re.findall(r"</svg>\s*([^<]*?)\s*</li>", plot)[-1] == "chance"
    assert "guessing" in plots[2]


def test_the_roc_says_its_figures(html: str) -> None:
    how = told("mobilefacenet").membership
    tprs = [how.tpr_at_fpr[fpr] for fpr in (0.01, 0.001)]
    caption = f"AUC {how.auc:.3f}, TPR {percent(tprs[0])} at FPR 1 %, TPR {percent(tprs[1])} at FPR 0.1 %"
    assert f"With other photos {caption}" in text(html)
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
    why = "Not measured: TPR at FPR 0.001 needs 1000 people who are not in; there are 150 (a with other photos, a with "
    assert why + "the very photo)." in text(page)
    assert '<td data-column="TPR at FPR 0.1 %, 95 % interval">–</td>' in page


@pytest.mark.filterwarnings("error")
def test_an_audit_that_found_nothing_is_a_page_too() -> None:
    refused = Verdict("refused", ("the risk from other photos of a person could not be measured",))
    page = audit_page(LeakageResult(Path("raw"), Path("released"), verdict=refused, unmeasured=["nothing joins."]))
    said = text(page)
    assert "No verdict can be given the risk from other photos of a person could not be measured" in said
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
        assert "No verdict, since no limit was set" in text(page)
        assert ">–</td>" in page  # above chance, where chance is certain


@pytest.mark.parametrize(
    ("status", "tone", "words"),
    [
        ("failed", "failed", "over a limit"),
        ("undecided", "open", "which is not passed"),
        ("none", "open", "No verdict"),
    ],
)
def test_every_verdict_has_its_words(status: Any, tone: str, words: str) -> None:
    page = audit_page(audited(verdict=Verdict(status)))
    assert re.search(rf'<div class="verdict {tone}">\s*<p><strong>[^<]*{words}', page)


def test_attackers_are_told_with_why_no_verdict_rests_on_them() -> None:
    weak = attacker("weak", barred=("is weak: real -> real is 0.3, under --min-attacker 0.6", "has no card"))
    adapted = attacker("weak+adapted", adapted=Adapted(900, "facemae-v1", 128))
    phi = replace(attacker("phi"), shared=("cd" * 32,), strength=None)
    lost = replace(attacker("lost"), shared=None)
    said = text(audit_page(audited(attackers=[weak, adapted, phi, lost])))
    why = "not alone: it is weak: real -&gt; real is 0.3, under --min-attacker 0.6; it has no card"
    assert f"counts {why}" in said
    assert "adapted to 900 faces of the attacker&#39;s own, reconstructed by facemae-v1, by the map “centred”" in said
    assert "ancestors shared with the release&#39;s model " + "cd" * 32 in said
    assert "real → real not measured" in said
    assert "ancestors shared with the release&#39;s model not known" in said


def test_people_are_listed_by_the_names_of_the_release(html: str) -> None:
    rows = re.findall(r'<th scope="row">([^<]*)</th>\s*<td data-column="similarity">([^<]*)</td>', html)
    assert [similarity for _, similarity in rows] == ["0.900", "0.890", "0.880"]
    assert rows[1][0] == "id1&lt;script&gt;alert(1)&lt;/script&gt;, photo1.jpg"
    assert "4.5 of 5" in text(html)
    assert "id8, b.jpg nearly equal as a picture" in text(html)


def test_faces_are_shown_only_where_the_result_holds_some(html: str) -> None:
    assert "<img" not in html
    whole, part = Triplet("id0", FACE, FACE, FACE, 0.9), Triplet("id1", FACE, None, FACE, 0.8)
    page = audit_page(audited(triplets=[whole, part]))
    assert page.count('src="data:image/jpeg;base64,') == 5
    assert "similarity 0.800 id1 what was released of it is not known" in text(page)
    assert text(page).count("what was released of it is not known") == 1


def test_names_do_not_run_and_raw_names_stay_out(html: str) -> None:
    hostile = audited(
        attackers=[attacker(EVIL)],
        findings=[replace(each, model=each.model and EVIL) for each in findings(EVIL)],
        memberships=[told(EVIL)],
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
