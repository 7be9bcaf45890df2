"""An audit in the terms of standards: ISO/IEC 19795-1's error rates, the three tests of the Article 29 Working Party,
and the headings of ISO/IEC 27559, with one risk for each recipient. No claim of conformity with any of these.

The three tests (Opinion 05/2014, WP216) are mapped to what was measured, and to nothing where nothing was:

- singling out: is somebody's record isolated? The very photo finds its released face; whether a person is in it at all.
- linkability: are two records of one person linked? In two datasets, by other photos; within the release, by itself.
- inference: is an attribute's value deduced? The gain over the base rate, for each attribute that was given.
"""

from __future__ import annotations

from collections.abc import Iterator

from facemae_cli.evaluation.groups import group_lines
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.prose import measured
from facemae_cli.evaluation.leakage.results import PHOTOS, AttackKind, Finding, Photo, strongest
from facemae_cli.evaluation.leakage.summary import (
    auc_in_words,
    inference_in_words,
    learnt_in_words,
    linkability_in_words,
    open_set_in_words,
)
from facemae_cli.reports.html import Block, Facts, Paragraphs, Section, Table
from facemae_cli.reports.text import NONE, percent, percent_interval, rate, sentence

NOT_MEASURED = "not measured"
NO_CLAIM = (
    "The headings are those of ISO/IEC 27559:2022, the tests those of the Article 29 Working Party's Opinion 05/2014, "
    "the error rates those of ISO/IEC 19795-1:2021. No conformity with any of these is claimed: they also ask for what "
    "no measurement of a dataset can show."
)
FNIR = (
    "FNIR(N, K, T) is the share of photos that do not find their person among the K best of N people with a score of T "
    "or more, FPIR the share of photos of people who are not in it that find anybody."
)
REEVALUATE = (
    "Audit again when the release, or what is known of its people elsewhere, changes; when a stronger recogniser is "
    "published, by adding it as an attacker; and before another recipient gets the data."
)


def terms_sections(result: LeakageResult) -> list[Section]:
    """The sections of the page that an auditor looks for; equal results give equal sections."""
    further = result.further
    if not result.findings:
        return []
    sections = [
        Section("By recipient", [_recipients(result)]),
        Section("In the terms of standards", [*_framework(result), Paragraphs([NO_CLAIM], remark=True)]),
        Section("By group", _groups(further)),
        Section("What is due to the population", _control(further)),
    ]
    return [section for section in sections if section.blocks]


def _best(result: LeakageResult, kind: AttackKind, photo: Photo) -> Finding | None:
    return strongest(result.findings, kind, photo)


def _recipients(result: LeakageResult) -> Table:
    """Who may get hold of what, and the highest risk measured for each."""
    other, same = (_best(result, "real_to_released", photo) for photo in PHOTOS)
    imitated = [_best(result, "imitated_to_released", photo) for photo in PHOTOS]
    rows = [
        ["whoever gets the release and has other photos of people", *_rate(other)],
        ["whoever gets the release and has the very photos", *_rate(same)],
    ]
    rows += [
        [f"whoever also holds {each.model}, and {PHOTOS[each.photo]}", *_rate(each)]
        for each in imitated
        if each is not None
    ]
    rows += [
        [
            f"whoever also knows {each.known} people of the release, real and released: {learnt_in_words(each)}",
            rate(each.risk, each.interval),
            f"{each.attacker}, K = {each.k}",
        ]
        for each in result.further.known_members
    ]
    columns = ["recipient", "highest risk measured, 95 % interval", "by"]
    return Table(columns, rows, "The share of photos that find their person")


def _rate(finding: Finding | None) -> tuple[str, str]:
    if finding is None:
        return NOT_MEASURED, NONE
    return rate(finding.risk, finding.interval), f"{finding.attacker}, K = {finding.k}"


def _framework(result: LeakageResult) -> Iterator[Block]:
    """ISO/IEC 27559's headings, a line or more each."""
    tests = [f"{test}: {line}" for test, lines in wp29(result) for line in lines]
    errors = [f"ISO/IEC 19795-1: {line}" for line in iso_19795(result)]
    yield Facts(
        [
            ("context", list(_context(result))),
            ("threats", list(_threats(result))),
            ("data", list(_data(result))),
            ("adversarial testing", [*tests, *errors, *([FNIR] if errors else [])]),
            ("mitigation", list(_mitigation(result))),
            ("re-evaluation", REEVALUATE),
        ]
    )


def _context(result: LeakageResult) -> Iterator[str]:
    yield "faces released to whoever gets the release; nothing is known here of contracts, access or purpose"
    if result.names is not None:
        yield {
            "key": "people go by pseudonyms that a key makes",
            "names": "people are called as the originals call them",
            "sources": "a file of the steward says of whom each face was made",
        }.get(result.names.by or "", "names do not lead from the originals to the release")


def _threats(result: LeakageResult) -> Iterator[str]:
    further = result.further
    yield f"attackers: {', '.join(each.name for each in result.attackers) or 'none'}"
    yield "who hold other photos of the people, or the very photos that were released"
    models = list(dict.fromkeys(each.model for each in result.findings if each.model is not None))
    if models:
        yield f"who imitate the release with {', '.join(models)}"
    if further.known_members:
        yield f"who know {', '.join(str(each.known) for each in further.known_members)} people of it"


def _data(result: LeakageResult) -> Iterator[str]:
    if result.names is not None:
        yield from result.names.lines()
    if result.duplicates is not None:
        yield from result.duplicates.lines() or ["no released face is a real one"]


def wp29(result: LeakageResult) -> list[tuple[str, list[str]]]:
    """The three tests, each with what was measured of it, a line each."""
    further = result.further
    other, same = (_best(result, "real_to_released", photo) for photo in PHOTOS)
    singled = [f"by the very photo, the person is found by {measured(same)}"] if same is not None else []
    for found in result.best_memberships:
        words = f"whether a person is in it is told with {auc_in_words(found.membership)}"
        singled.append(f"{words} by {PHOTOS[found.photo]}, by {found.attacker}")
    linked = [f"by other photos, the person is found by {measured(other)}"] if other is not None else []
    if further.linkability is not None:
        linked.append(linkability_in_words(further.linkability))
    inferred = [inference_in_words(each) for each in further.inferences]
    return [
        ("singling out", singled or [NOT_MEASURED]),
        ("linkability", linked or [NOT_MEASURED]),
        ("inference", inferred or [f"{NOT_MEASURED}: no attributes were given"]),
    ]


def iso_19795(result: LeakageResult) -> list[str]:
    """Closed-set identification at K = 1 where it was measured, and open-set errors."""
    lines = []
    for photo in PHOTOS:
        found = [
            each
            for each in result.findings
            if (each.attack, each.photo, each.k) == ("real_to_released", photo, 1) and each.whole
        ]
        if found:
            top = max(found, key=lambda each: each.risk)
            low, high = top.interval
            lines.append(
                f"FNIR({top.identities}, 1, 0) {percent(1 - top.risk)} ({percent_interval((1 - high, 1 - low))}), "
                f"{PHOTOS[photo]}, by {top.attacker}"
            )
    return lines + [open_set_in_words(each) for each in result.further.open_sets]


def _mitigation(result: LeakageResult) -> Iterator[str]:
    origin = result.digests.get("model of the release")
    yield (
        f"faces reconstructed from masked ones by the model of sha256 {origin[:16]}…"
        if origin
        else ("how the release was made is not known")
    )
    yield f"verdict on the limits that were set: {result.verdict.status}"


def _groups(further: FurtherFindings) -> list[Block]:
    if not further.groups:
        return []
    rows = [
        [
            f"{each.column} {each.value}" + (", too small to tell" if each.too_small else ""),
            str(each.people),
            str(each.queries),
            rate(each.risk, each.interval),
        ]
        for each in further.groups
    ]
    lines = map(sentence, group_lines(further.groups))
    words = "Of many groups one is always the worst; where its interval holds the others' rates, that says nothing."
    columns = ["group", "people", "photos asking", "photos that find their person, 95 % interval"]
    return [Paragraphs([*lines, words]), Table(columns, rows, "Other photos, by group")]


def _control(further: FurtherFindings) -> list[Block]:
    if not further.controls:
        return []
    first = further.controls[0]
    who = "people who are not in it" if first.given else "half of the people, who were taken out of the release,"
    words = (
        f"Some photos would find somebody in any release, since people look alike. So photos of {who} attacked it "
        "too. They cannot find themselves; what counts is whether they find their stand-in, the person in it who looks "
        "most like the photo, by another face than that one. What members' photos find beyond that, "
        "(members − control) / (1 − control), is due to the release; below 0 % the control found more."
    )
    columns = ["photos", "members find their person", "others find their stand-in", "due to the release"]
    rows = [
        [
            PHOTOS[each.photo],
            rate(each.attack.risk, each.attack.interval),
            rate(each.control.risk, each.control.interval),
            rate(each.due_to_release, each.interval),
        ]
        for each in further.controls
    ]
    caption = f"At K = {first.k}, by {first.attacker}, with 95 % intervals"
    return [Paragraphs([words]), Table(columns, rows, caption)]
