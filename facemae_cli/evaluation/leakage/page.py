"""The audit as one page: the verdict and the figures in words first, then tables, curves, people, and how it was done.

People are called as the release calls them. Paths, and faces that were refused, are left out: they may tell raw names.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from facemae_cli import __version__
from facemae_cli.evaluation.leakage import prose
from facemae_cli.evaluation.leakage.groups import group_lines
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.plots import (
    Series,
    k_figure,
    over_k,
    over_people,
    people_figure,
    roc_figure,
    series_of,
)
from facemae_cli.evaluation.leakage.prose import PHOTOS, among, count, title
from facemae_cli.evaluation.leakage.results import Exposed, Finding, MembershipFinding, Triplet
from facemae_cli.evaluation.leakage.terms import terms_sections
from facemae_cli.reports.html import Block, Callout, Facts, Gallery, Paragraphs, Row, Section, Shown, Table, render
from facemae_cli.reports.text import NONE, decimal, percent, percent_interval

VERDICTS = {
    "passed": "Passed: the release is within the limits that were set",
    "failed": "Failed: the release is over a limit that was set",
    "undecided": "Undecided, which is not passed: too little was measured for the limits that were set",
    "refused": "No verdict can be given",
    "none": "No verdict, since no limit was set: --max-leakage SHARE sets one",
}


def audit_page(result: LeakageResult) -> str:
    """What `leakage --report` writes: an HTML page that stands alone; equal results give equal bytes.

    It shows faces only where `result.triplets` holds some. Raises FaceError for one that cannot be read.
    """
    names = list(dict.fromkeys(finding.attacker for finding in result.findings))
    if result.headline is not None:
        names.sort(key=lambda name: name != result.headline.attacker)  # type: ignore[union-attr]
    sections = [
        Section("The measurements", [_measurements(result.findings, name) for name in names]),
        Section("The curves", _curves(result, names[0]) if names else []),
        Section("In the release or not", _membership(result.memberships)),
        Section("People most exposed", _exposed(result)),
        Section("Copies", _copies(result)),
        *terms_sections(result),
        Section("Who attacked", [Facts(prose.attacker(each)) for each in result.attackers]),
        Section("How it was measured", [Paragraphs(prose.METHOD)]),
        Section("To repeat it", _settings(result)),
        Section("What it cannot say", [Paragraphs(prose.LIMITS)]),
    ]
    release = result.digests.get("released")
    what = f"Release {release[:16]}…" if release else "A release"
    by = ", ".join(each.name for each in result.attackers) or "nobody"
    shown = [section for section in sections if section.blocks]
    made_by = f"Made by facemae {__version__}."
    return render("Leakage audit", f"{what}, attacked by {by}", _opening(result), shown, made_by)


def _opening(result: LeakageResult) -> list[Block]:
    verdict = result.verdict
    reasons = [*(str(gate) for gate in verdict.gates)] or list(verdict.reasons)
    reasons += group_lines(result.further.groups)
    tone: Literal["passed", "failed", "open"] = "open"
    if verdict.status == "passed" or verdict.status == "failed":
        tone = verdict.status
    aside = [f"Not gated: {line}." for line in verdict.not_gated]
    aside += [f"Not measured: {line.rstrip('.')}." for line in prose.missing(result)]
    aside += [f"Note: {line.rstrip('.')}." for line in prose.noted(result)]
    blocks: list[Block] = [Callout(tone, VERDICTS[verdict.status], reasons), Paragraphs(prose.lead(result))]
    return [*blocks, Facts(prose.outcomes(result)), Paragraphs(aside, remark=True)]


def _measurements(findings: Sequence[Finding], name: str) -> Table:
    """What one attacker reached among everyone, or, where that was not measured, among the most people."""
    own = [finding for finding in findings if finding.attacker == name]
    whole, most = any(finding.whole for finding in own), max(finding.identities for finding in own)
    rows = [_row(each) for each in own if (each.whole if whole else each.identities == most)]
    columns = ["who asks → whom", "K", "people", "photos asking", "people found", "risk, 95 % interval", "chance"]
    return Table([*columns, "above chance", "of real → real"], rows, f"Attacker {name}")


def _row(finding: Finding) -> list[str]:
    ratio = finding.compared.ratio if finding.compared else None
    left_out = round(fmean(trial.left_out for trial in finding.trials))
    asking = f"{finding.queries} of {finding.queries + left_out}" if left_out else str(finding.queries)
    found = f"{count(finding.leaking)} of {finding.people}"
    figures = [
        _with(percent(finding.risk), percent_interval(finding.interval)),
        percent(finding.chance),
        percent(finding.relative),
    ]
    return [title(finding), str(finding.k), among(finding), asking, found, *figures, percent(ratio)]


def _with(figure: str, interval: str) -> str:
    return f"{figure} ({interval.removesuffix(' %')})"


def _curves(result: LeakageResult, attacker: str) -> list[Block]:
    """Risk over the number of people, at the largest K, and over K, as far as they were swept."""
    series = series_of([finding for finding in result.findings if finding.attacker == attacker])
    k = max(finding.k for found in series.values() for finding in found)
    limits = [gate.limit for gate in result.verdict.gates if gate.option == "--max-leakage"]
    by_people, by_k = over_people(series, k), over_k(series)
    widest = next(iter(by_k.values()))[-1]
    said = f"among {'all people' if widest.whole else f'{among(widest)} people'}, by {attacker}."
    swept = people_figure(by_people, f"Risk at K = {k} over the number of people, by {attacker}.", limits)
    figures = [each for each in (swept, k_figure(by_k, f"Risk over K {said}", limits)) if each is not None]
    blocks: list[Block] = [Row(figures)] if len(figures) > 1 else list(figures)
    return [*blocks, _sweep(by_people, f"Risk at K = {k}, and its 95 % interval, by {attacker}")] if swept else blocks


def _sweep(series: Series, caption: str) -> Table:
    found = sorted((each for of in series.values() for each in of), key=lambda each: (each.whole, each.identities))
    rows: dict[str, dict[str, str]] = {}
    for each in found:
        row = rows.setdefault("all" if each.whole else str(each.identities), {})
        row[title(each)] = _with(percent(each.risk), percent_interval(each.interval))
    cells = [[people, *(row.get(name, NONE) for name in series)] for people, row in rows.items()]
    samples = max(len(each.trials) for each in found)
    means = f"; of fewer than all people the mean of {samples} samples" if samples > 1 else ""
    return Table(["people", *series], cells, f"{caption}{means}")


def _membership(memberships: Sequence[MembershipFinding]) -> list[Block]:
    if not memberships:
        return []
    first = memberships[0]
    others = "people who were named as such" if first.given else "half of the people, whose faces were left out of it"
    words = f"Can it be told whether a person is in the release at all? People not in it are {others}."
    curves = roc_figure([found for found in memberships if found.attacker == first.attacker])
    fprs = list(first.membership.tpr_at_fpr)
    columns = ["attacker, with", "people in it", "people not", "AUC, 95 % interval"]
    columns += [f"TPR at FPR {decimal(100 * fpr)} %, 95 % interval" for fpr in fprs]
    return [Paragraphs([words]), curves, Table(columns, [_membership_row(found, fprs) for found in memberships])]


def _membership_row(found: MembershipFinding, fprs: Sequence[float]) -> list[str]:
    how = found.membership
    auc = "{:.3f} ({:.3f} to {:.3f})".format(how.auc, *how.auc_interval)
    row = [f"{found.attacker}, {PHOTOS[found.photo]}", str(how.members), str(how.non_members), auc]
    for fpr in fprs:
        tpr, interval = how.tpr_at_fpr.get(fpr), how.tpr_intervals.get(fpr)
        row.append(NONE if tpr is None else _with(percent(tpr), percent_interval(interval)))
    return row


def _exposed(result: LeakageResult) -> list[Block]:
    if not result.exposed:
        return []
    words = (
        "People are called as the release calls them. Each stands with the released face that is most alike to a real "
        f"photo of the person, as {result.exposed[0].attacker} sees it; similarity is at most 1. Beside it is how many "
        "of the person's real photos find the person with what was made of them left out. Who knows what the names "
        "mean knows who these people are: keep this page as you keep the key."
    )
    columns = ["person, released face", "similarity", "to the real photo", "photos that find"]
    blocks: list[Block] = [Paragraphs([words]), Table(columns, [_person(each) for each in result.exposed])]
    if result.triplets:
        heading = (
            "A real photo, what was released of it where that is known, and the nearest released face of the person"
        )
        blocks.append(Gallery(heading, [_shown(each) for each in result.triplets]))
    return blocks


def _person(each: Exposed) -> list[str]:
    photo = "it was made of" if each.same_photo else "another one"
    found = f"{count(each.found)} of {each.photos}" if each.photos else NONE
    return [f"{each.identity}, {each.released_photo}", f"{each.similarity:.3f}", photo, found]


def _shown(each: Triplet) -> Shown:
    pictures = [picture for picture in (each.real, each.own, each.nearest) if picture is not None]
    unknown = () if each.own is not None else ("what was released of it is not known",)
    lines = (f"similarity {each.similarity:.3f}", each.identity, *unknown)
    return Shown(pictures, lines)


def _copies(result: LeakageResult) -> list[Block]:
    """The released faces that are real ones; nothing where there are none."""
    if result.duplicates is None or not result.duplicates.copies:
        return []
    kinds = {"bytes": "equal in every byte", "near": "nearly equal as a picture"}
    rows = [[f"{copy.identity}, {copy.released_photo}", kinds[copy.kind]] for copy in result.duplicates.copies]
    lines = result.duplicates.lines()
    return [
        Paragraphs([f"{'; '.join(lines)}. A copy is a leak whatever the risk says. The first of them:"]),
        Table(["person, released face", "to a real photo it is"], rows),
    ]


def _settings(result: LeakageResult) -> list[Block]:
    words = "The same faces, by their digests, under the same settings give the same figures."
    digests = [(f"sha256 of {name}", digest) for name, digest in result.digests.items()]
    return [Paragraphs([words]), Facts([*result.settings.items(), ("started from seed", str(result.seed)), *digests])]
