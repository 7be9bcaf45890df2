"""What an audit found as a terminal shows it: rows of words, and a table of rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from facemae_cli.evaluation.leakage.control import Control
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.evaluation.leakage.known_members import KnownMembers
from facemae_cli.evaluation.leakage.linkability import Inference, Linkability
from facemae_cli.evaluation.leakage.membership import Membership
from facemae_cli.evaluation.leakage.open_set import OpenSet
from facemae_cli.evaluation.leakage.results import (
    PHOTOS,
    Attacker,
    AttackKind,
    Exposed,
    Finding,
    MembershipFinding,
    Photo,
    strongest,
    widest,
)
from facemae_cli.reports.text import NONE, decimal, exact_percent, percent, percent_interval, rate

SEARCHES: dict[Photo, str] = {"other": "other photos", "same": "the very photos"}
EXAMPLE = 0.2  # the limit of a command that shows how one is set

Column = tuple[AttackKind, Photo, str | None]
Size = tuple[bool, int, int]  # everyone or not, people, K


def how_to_set_limits(findings: Sequence[Finding]) -> str:
    """A command without paths: the dots stand for what was said for this audit."""
    options = {"other": "--max-leakage", "same": "--max-leakage-same"}
    measured = [options[photo] for photo in PHOTOS if strongest(findings, "real_to_released", photo) is not None]
    return " ".join(["facemae leakage ...", *(f"{option} {EXAMPLE:g}" for option in measured or [options["other"]])])


def both_cases(findings: Sequence[Finding]) -> Iterator[tuple[str, str]]:
    """Both cases, of equal weight."""
    for photo, label in PHOTOS.items():
        found = strongest(findings, "real_to_released", photo)
        if found is not None:
            where = f"K = {found.k}, {_people(found)} people, by {found.attacker}"
            yield (
                label,
                f"{rate(found.risk, found.interval)} find their person, chance {percent(found.chance)}; {where}",
            )


def table_rows(findings: Sequence[Finding]) -> list[list[str]]:
    """A row an attacker, the strongest first, a column an attack, below a row of headings.

    Each attacker is judged on its own widest set of people; the strongest's other sizes stand last.
    """
    best = {(found.attacker, _column(found)): found for found in widest(findings)}
    if not best:
        return []
    columns, sizes = _columns(best.values()), {_size(found) for found in best.values()}
    headline = strongest(findings, "real_to_released", "other")
    top = headline.attacker if headline else next(iter(best))[0]
    heads = _where(next(iter(best.values()))) if len(sizes) == 1 else "attacker"
    rows = [[heads, *columns.values()]]
    others: list[list[str]] = []
    names = _by_kin(sorted(dict.fromkeys(name for name, _ in best), key=lambda name: name != top))
    for name, shown in names.items():
        found = {column: best.get((name, column)) for column in columns}
        own = {_size(each) for each in found.values() if each is not None}
        if len(sizes) > 1:
            shown += f", {_where(next(each for each in found.values() if each is not None))}"
        rows.append([shown, *map(_cell, found.values())])
        others = list(_other_sizes(findings, top, columns, own)) if name == top else others
    highest = [max((f for (_, c), f in best.items() if c == column), key=lambda f: f.risk) for column in columns]
    rows.append(["chance", *(percent(each.chance) for each in highest)])
    rows.append(["photos that asked", *(str(each.queries) for each in highest)])
    return [*rows, [f"{top} at", *("" for _ in columns)], *others] if others else rows


def _column(found: Finding) -> Column:
    return found.attack, found.photo, found.model


def _size(found: Finding) -> Size:
    return found.whole, found.identities, found.k


def _columns(found: Iterable[Finding]) -> dict[Column, str]:
    """The attacks that were made and their headings: both cases, real -> real, imitations."""
    order: tuple[AttackKind, ...] = ("real_to_released", "real_to_real", "imitated_to_released")
    made = sorted({_column(each) for each in found}, key=lambda c: (order.index(c[0]), c[1], c[2] or ""))
    models = {model for _, _, model in made if model is not None}
    imitated = {model: "imitated" if len(models) == 1 else f"as {model}" for model in models}
    return {
        (attack, photo, model): "real -> real"
        if attack == "real_to_real"
        else PHOTOS[photo]
        if model is None
        else f"{imitated[model]}, {'other' if photo == 'other' else 'very'}"
        for attack, photo, model in made
    }


def _by_kin(names: Iterable[str]) -> dict[str, str]:
    """Names as they are shown: one that adds to another's stands below it and says what it adds."""
    names = list(names)
    kin = {name: next((base for base in names if name.startswith(f"{base}+")), name) for name in names}
    shown: dict[str, str] = {}
    for base in dict.fromkeys(kin.values()):
        shown |= {base: base} | {name: f"  {name[len(base) :]}" for name in names if kin[name] == base != name}
    return shown


def _other_sizes(
    findings: Sequence[Finding], top: str, columns: Iterable[Column], own: set[Size]
) -> Iterator[list[str]]:
    """What the strongest attacker found at other K and among fewer people, a row a size."""
    found = {(_size(each), _column(each)): each for each in findings if each.attacker == top}
    for size in sorted({size for size, _ in found} - own, reverse=True):
        there = {column: found.get((size, column)) for column in columns}
        where = next(_where(each) for each in there.values() if each is not None)
        yield [f"  {where}", *map(_cell, there.values())]


def _where(found: Finding) -> str:
    return f"K = {found.k}, {_people(found)} people"


def _people(found: Finding) -> str:
    samples = len(found.trials)
    return f"{found.identities} x {samples}" if samples > 1 else str(found.identities)


def _cell(found: Finding | None) -> str:
    return NONE if found is None else rate(found.risk, found.interval)


def membership_in_words(found: MembershipFinding) -> str:
    """How well it can be told who is in the release."""
    how = found.membership
    tprs = [
        f"TPR {rate(tpr, how.tpr_intervals[fpr])} at FPR {exact_percent(fpr)}"
        for fpr, tpr in how.tpr_at_fpr.items()
        if tpr is not None
    ]
    return ", ".join(
        [
            f"{PHOTOS[found.photo]}: {auc_in_words(how)}",
            *tprs,
            f"{how.members} people in it, {how.non_members} not, by {found.attacker}",
        ]
    )


def auc_in_words(found: Membership, before: str = "", after: str = "") -> str:
    """The area below the ROC with its interval: AUC 0.532 (0.346 to 0.734)."""
    low, high = found.auc_interval
    return f"AUC {found.auc:.3f} ({before}{low:.3f} to {high:.3f}{after})"


def attacker_in_words(each: Attacker) -> str:
    """Which network attacked; nothing of attackers that go by its features."""
    return f"{each.name.partition('+')[0]}: sha256 {each.sha256[:12]}..., {each.computed}" if each.sha256 else ""


def count(found: float) -> str:
    """How many people or photos, an expectation where ties are broken and a mean over samples: 40, about 17, 2691."""
    if found >= 100 or abs(found - round(found)) < 0.05:
        return f"{found:.0f}"
    return f"about {found:.0f}" if found > 0.5 else "fewer than 1"


def person_in_words(person: Exposed) -> str:
    """One of the most exposed people, called as the release calls them."""
    photo = "the very photo" if person.same_photo else "another photo"
    words = f"{person.identity}: {person.released_photo} has similarity {person.similarity:.3f} to {photo}"
    return f"{words}; {count(person.found)} of {person.photos} photos find the person by other faces"


def further_rows(found: FurtherFindings) -> list[tuple[str, str]]:
    """What was found beside the rates, a row each."""
    rows = [("known members", known_members_in_words(each)) for each in found.known_members]
    rows += [("control", control_in_words(each)) for each in found.controls]
    rows += [("open set", open_set_in_words(each)) for each in found.open_sets]
    if found.linkability is not None:
        rows.append(("linkability", linkability_in_words(found.linkability)))
    return rows + [("inference", inference_in_words(each)) for each in found.inferences]


def known_members_in_words(found: KnownMembers) -> str:
    """One figure of who knows members."""
    return (
        f"{percent(found.risk)} ({percent_interval(found.interval)}) of the others' photos at K = {found.k}, by "
        f"{found.attacker} with {SEARCHES[found.photo]}, knowing {found.known} people: {learnt_in_words(found)}"
    )


def learnt_in_words(found: KnownMembers) -> str:
    """What the known people taught."""
    if found.method == "none":
        return "nothing that was learnt from them helped"
    return f"learnt by {found.method}, {percent(found.unlearnt.risk)} without learning"


def control_in_words(found: Control) -> str:
    """The control beside the attack."""
    due = "cannot be told" if found.due_to_release is None else f"{percent(found.due_to_release)} is due to the release"
    return (
        f"{percent(found.attack.risk)} of members' searches by {SEARCHES[found.photo]} find their person, "
        f"{percent(found.control.risk)} of others' their stand-in, at K = {found.k}, by {found.attacker}: {due}"
        + ("" if found.interval is None else f" ({percent_interval(found.interval)})")
    )


def open_set_in_words(found: OpenSet) -> str:
    """The errors of open-set identification, in ISO/IEC 19795-1's terms."""
    words = [f"FNIR({found.identities}, {found.k}, 0) {percent(found.fnir)} ({percent_interval(found.interval)})"]
    words += [
        f"FNIR {percent(rate)} at FPIR {decimal(100 * fpir)} %"
        for fpir, rate in found.fnir_at_fpir.items()
        if rate is not None
    ]
    return f"{', '.join(words)}, {SEARCHES[found.photo]}, by {found.attacker}"


def linkability_in_words(found: Linkability) -> str:
    """How often released faces of one person find each other."""
    rate = found.found
    return (
        f"{percent(rate.risk)} ({percent_interval(rate.interval)}) of released faces find another of their person at "
        f"K = {rate.k} (chance {percent(rate.chance)}), by {found.attacker}"
    )


def inference_in_words(found: Inference) -> str:
    """What is inferred beyond the base rate."""
    gain = "" if found.gain is None else f": a gain of {percent(found.gain)} ({percent_interval(found.gain_interval)})"
    real = "" if found.real is None else f"; {percent(found.real)} on real photos"
    return (
        f"{found.column}: {percent(found.accuracy)} right where {percent(found.base_rate)} is the base rate{gain}{real}"
    )
