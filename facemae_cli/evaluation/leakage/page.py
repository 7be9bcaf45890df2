"""The audit as one page: the verdict and the figures in words first, then tables, curves, people, and how it was done.

People are called as the release calls them. Paths, and faces that were refused, are left out: they may tell raw names.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from facemae_cli import __version__
from facemae_cli.evaluation.groups import group_lines
from facemae_cli.evaluation.leakage import prose
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
from facemae_cli.evaluation.leakage.prose import among, title
from facemae_cli.evaluation.leakage.results import (
    PHOTOS,
    AttackKind,
    Exposed,
    Finding,
    MembershipFinding,
    Photo,
    Triplet,
    strongest,
    widest,
)
from facemae_cli.evaluation.leakage.summary import EXAMPLE, auc_in_words, count, how_to_set_limits
from facemae_cli.evaluation.leakage.terms import terms_sections
from facemae_cli.evaluation.leakage.verdict import Status
from facemae_cli.reports.html import (
    Block,
    Callout,
    Facts,
    Gallery,
    Headline,
    Headlines,
    Paragraphs,
    Picture,
    Row,
    Section,
    Shown,
    Table,
    Tone,
    render,
)
from facemae_cli.reports.text import NONE, exact_percent, percent, percent_interval, rate

CASES: dict[Photo, str] = {
    "other": "of other photos find their person: photos that were not released",
    "same": "of the very photos find their person: photos that released faces were made of",
}
ASKS: tuple[tuple[AttackKind, Photo, str], ...] = (
    ("real_to_released", "other", "other photos"),
    ("real_to_released", "same", "the very photo"),
    ("imitated_to_released", "other", "imitated, other photos"),
    ("imitated_to_released", "same", "imitated, the very photo"),
    ("real_to_real", "other", "real → real"),
)


def audit_page(result: LeakageResult) -> str:
    """What `leakage --report` writes: an HTML page that stands alone; equal results give equal bytes.

    It shows faces only where `result.triplets` holds some. Raises FaceError for one that cannot be read.
    """
    names = list(dict.fromkeys(finding.attacker for finding in result.findings))
    if result.headline is not None:
        names.sort(key=lambda name: name != result.headline.attacker)  # type: ignore[union-attr]
    sections = [
        Section("What each attacker found", [_found_by(result, names)] if names else []),
        Section("The curves", _curves(result, names[0]) if names else []),
        Section("In the release or not", _membership(result)),
        Section("People most exposed", _exposed(result)),
        Section("Copies", _copies(result)),
        *terms_sections(result),
        Section("Who attacked", [Facts(_attackers(result))] if result.attackers else []),
        Section("How it was measured", [Paragraphs(prose.METHOD)]),
        Section("To repeat it", _settings(result)),
        Section("What it cannot say", [Paragraphs(prose.LIMITS)]),
        Section("All rates", [_all_rates(result, names)] if names else []),
    ]
    release, by = result.digests.get("released"), len(result.attackers)
    what = f"Release {release[:16]}…" if release else "A release"
    who = f"{by} attackers" if by > 1 else result.attackers[0].name if by else "nobody"
    shown = [section for section in sections if section.blocks]
    made_by = f"Made by facemae {__version__}."
    return render("Leakage audit", f"{what}, attacked by {who}", _opening(result), shown, made_by)


def _attackers(result: LeakageResult) -> list[tuple[str, list[str]]]:
    """What is known of each; of one that is as another, nothing but that."""
    rows: list[tuple[str, list[str]]] = []
    for each in result.attackers:
        lines = prose.attacker(each)
        earlier = next((name for name, said in rows if said == lines and each.name.startswith(f"{name}+")), None)
        rows.append((each.name, lines if earlier is None else [f"as {earlier}"]))
    return rows


def _opening(result: LeakageResult) -> list[Block]:
    verdict = result.verdict
    reasons = [*(str(gate) for gate in verdict.gates)] or list(verdict.reasons)
    reasons += group_lines(result.further.groups)
    advice = f"This sets limits of {exact_percent(EXAMPLE)}; the dots stand for the options of this audit:"
    how = (advice, how_to_set_limits(result.findings)) if verdict.status == "none" else ("", "")
    aside = [f"Not gated: {line}." for line in verdict.not_gated]
    aside += [f"Not measured: {line.rstrip('.')}." for line in prose.missing(result)]
    aside += [f"Note: {line.rstrip('.')}." for line in prose.noted(result)]
    headlines = [each for each in (_headline(result, photo) for photo in CASES) if each is not None]
    blocks: list[Block] = [Callout(_tone(verdict.status), prose.verdict_in_words(verdict), reasons, *how)]
    blocks += [Headlines(headlines)] if headlines else []
    return [*blocks, Paragraphs(prose.lead(result)), Facts(prose.outcomes(result)), Paragraphs(aside, remark=True)]


def _tone(status: Status) -> Tone:
    return status if status == "passed" or status == "failed" else "open"


def _headline(result: LeakageResult, photo: Photo) -> Headline | None:
    """One of the two cases, with its limit; None where it was not measured."""
    found = strongest(result.findings, "real_to_released", photo)
    if found is None:
        return None
    option = "--max-leakage" if photo == "other" else "--max-leakage-same"
    gate = next((gate for gate in result.verdict.gates if gate.option == option), None)
    lines = (
        f"95 % interval {percent_interval(found.interval)}; chance {percent(found.chance)}",
        f"{count(found.leaking)} of {found.people} people are found by at least one photo",
        f"K = {found.k}, among {among(found)} people, {found.queries} photos, by {found.attacker}",
    )
    judged = "no limit was set" if gate is None else f"limit {exact_percent(gate.limit)}: {gate.status}"
    if gate is not None and gate.value is not None and gate.value > found.risk + 1e-9:
        judged += f"; a stronger attack finds {percent(gate.value)}"
    return Headline(percent(found.risk), CASES[photo], lines, judged, "open" if gate is None else _tone(gate.status))


def _found_by(result: LeakageResult, names: Sequence[str]) -> Table:
    """A row an attacker: what its widest measurements found; the highest of several imitations."""
    rows = []
    for name in names:
        own = [finding for finding in result.findings if finding.attacker == name]
        cells = [strongest(own, attack, photo) for attack, photo, _ in ASKS]
        rows.append([name, *(NONE if each is None else rate(each.risk, each.interval) for each in cells)])
    k = max(each.k for each in widest(result.findings))
    caption = f"Photos that find their person at K = {k}, and 95 % intervals; the strongest attacker first"
    return Table.terse(["attacker", *(words for _, _, words in ASKS)], rows, caption)


def _all_rates(result: LeakageResult, names: Sequence[str]) -> Table:
    """What each attacker reached among everyone or, where that was not measured, among the most people."""
    rows: list[list[str]] = []
    for name in names:
        own = [finding for finding in result.findings if finding.attacker == name]
        whole, most = any(finding.whole for finding in own), max(finding.identities for finding in own)
        rows += [[name], *(_row(each) for each in own if (each.whole if whole else each.identities == most))]
    columns = ["who asks → whom", "K", "people", "photos asking", "people found", "risk, 95 % interval", "chance"]
    return Table.terse([*columns, "above chance", "of real → real"], rows, "By attacker")


def _row(finding: Finding) -> list[str]:
    ratio = finding.compared.ratio if finding.compared and finding.photo == "other" else None
    left_out = round(fmean(trial.left_out for trial in finding.trials))
    asking = f"{finding.queries} of {finding.queries + left_out}" if left_out else str(finding.queries)
    found = f"{count(finding.leaking)} of {finding.people}"
    rates = [rate(finding.risk, finding.interval), percent(finding.chance), percent(finding.relative), percent(ratio)]
    return [title(finding), str(finding.k), among(finding), asking, found, *rates]


def _curves(result: LeakageResult, attacker: str) -> list[Block]:
    """Risk over the number of people, at the largest K, and over K, as far as they were swept."""
    series = series_of([finding for finding in result.findings if finding.attacker == attacker])
    k = max(finding.k for found in series.values() for finding in found)
    limits = [gate.limit for gate in result.verdict.gates if gate.option == "--max-leakage"]
    by_people, by_k = over_people(series, k), over_k(series)
    last = next(iter(by_k.values()))[-1]
    said = f"among {'all people' if last.whole else f'{among(last)} people'}, by {attacker}."
    swept = people_figure(by_people, f"Risk at K = {k} over the number of people, by {attacker}.", limits)
    figures = [each for each in (swept, k_figure(by_k, f"Risk over K {said}", limits)) if each is not None]
    blocks: list[Block] = [Row(figures)] if len(figures) > 1 else list(figures)
    return [*blocks, _sweep(by_people, f"Risk at K = {k}, and its 95 % interval, by {attacker}")] if swept else blocks


def _sweep(series: Series, caption: str) -> Table:
    found = sorted((each for of in series.values() for each in of), key=lambda each: (each.whole, each.identities))
    rows: dict[str, dict[str, str]] = {}
    for each in found:
        row = rows.setdefault("all" if each.whole else str(each.identities), {})
        row[title(each)] = rate(each.risk, each.interval)
    cells = [[people, *(row.get(name, NONE) for name in series)] for people, row in rows.items()]
    samples = max(len(each.trials) for each in found)
    means = f"; of fewer than all people the mean of {samples} samples" if samples > 1 else ""
    return Table(["people", *series], cells, f"{caption}{means}")


def _membership(result: LeakageResult) -> list[Block]:
    told = result.best_memberships
    if not told:
        return []
    others = "people who were named as such" if told[0].given else "half of the people, whose faces were left out of it"
    words = f"Can it be told whether a person is in the release at all? People not in it are {others}."
    return [Paragraphs([words]), roc_figure(told), _memberships(result.memberships)]


def _memberships(memberships: Sequence[MembershipFinding]) -> Table:
    """A row an attacker; for each kind of photo its AUC and the rates that could be measured."""
    cells: dict[str, dict[str, str]] = {}
    for photo in PHOTOS:
        for found in (found for found in memberships if found.photo == photo):
            cells.setdefault(found.attacker, {}).update(_membership_cells(found))
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [[attacker, *(row.get(column, NONE) for column in columns)] for attacker, row in cells.items()]
    how = memberships[0].membership
    sides = f"{how.members} people in it, {how.non_members} not"
    return Table(
        ["attacker", *columns], rows, f"Who tells whether a person is in the release, with 95 % intervals; {sides}"
    )


def _membership_cells(found: MembershipFinding) -> dict[str, str]:
    how, photo = found.membership, PHOTOS[found.photo]
    cells = {f"{photo}: AUC": auc_in_words(how).removeprefix("AUC ")}
    for fpr, tpr in how.tpr_at_fpr.items():
        if tpr is not None:
            cells[f"{photo}: TPR at FPR {exact_percent(fpr)}"] = rate(tpr, how.tpr_intervals[fpr])
    return cells


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
    rows = [_person(number, each) for number, each in enumerate(result.exposed, 1)]
    blocks: list[Block] = [Paragraphs([words]), Table(columns, rows, "The most alike first")]
    if result.triplets:
        people = {each.identity: (number, each) for number, each in enumerate(result.exposed, 1)}
        shown = [_shown(each, *people[each.identity]) for each in result.triplets if each.identity in people]
        words = (
            "Of each an original, the face that was released of it, and, where that is another one, the released face "
            "of the person that is most alike to it."
        )
        blocks.append(Gallery("Their faces, by the numbers of the table", shown, words))
    return blocks


def _person(number: int, each: Exposed) -> list[str]:
    photo = "it was made of" if each.same_photo else "another one"
    found = f"{count(each.found)} of {each.photos}" if each.photos else NONE
    return [f"{number}. {each.identity}, {each.released_photo}", f"{each.similarity:.3f}", photo, found]


def _shown(faces: Triplet, number: int, person: Exposed) -> Shown:
    """A real photo and what the release holds of its person; one picture where both released faces are the same."""
    whose = f"of person {number}, {faces.identity}"
    pictures = [Picture(faces.real, "original", f"Original: a real photo {whose}.")]
    if faces.own is not None and not person.same_photo:
        pictures.append(Picture(faces.own, "released of it", f"Released: made of that photo {whose}."))
    label, alt = "most alike", f"Released: the most alike of the faces {whose}"
    if person.same_photo:
        label, alt = "released of it", f"{alt}, made of that photo"
    pictures.append(Picture(faces.nearest, label, f"{alt}: {person.released_photo}; {_hit(person)}."))
    unknown = () if faces.own is not None else ("what was released of that photo is not known",)
    return Shown(
        pictures, (f"{number}. {faces.identity}", f"similarity {faces.similarity:.3f}", _hit(person), *unknown)
    )


def _hit(person: Exposed) -> str:
    """Whether other photos of the person find the person."""
    if not person.photos:
        return "no other photo asked"
    if person.found <= 0:
        return f"not found by any of {person.photos} other photos"
    return f"found by {count(person.found)} of {person.photos} other photos"


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
    settings = {"started from seed": str(result.seed)} | {
        "started from seed" if name == "seed" else name.replace("->", "→"): value
        for name, value in result.settings.items()
    }
    return [Paragraphs([words]), Facts([*settings.items(), *digests])]
