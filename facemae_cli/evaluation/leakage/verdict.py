"""The verdict on a release: gates on the upper ends of intervals. What cannot be decided has not passed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from facemae_cli.evaluation.groups import worst_group
from facemae_cli.evaluation.leakage.duplicates import Duplicates
from facemae_cli.evaluation.leakage.groups import GroupRate
from facemae_cli.evaluation.leakage.known_members import KnownMembers
from facemae_cli.evaluation.leakage.matching import Names
from facemae_cli.evaluation.leakage.name_check import NameCheck
from facemae_cli.evaluation.leakage.results import (
    PHOTOS,
    Attacker,
    Finding,
    MembershipFinding,
    Photo,
    strongest,
    widest,
)
from facemae_cli.evaluation.metrics import Interval
from facemae_cli.reports.text import exact_percent, percent, percent_interval

Status = Literal["passed", "failed", "undecided", "refused", "none"]
WORST_FIRST: tuple[Status, ...] = ("failed", "refused", "undecided", "passed")
GATED_FPR = 1e-2  # TPR at a lower FPR is never higher
RECOGNISED = "of members recognised at a 1 % false-positive rate"
MAX_UNMATCHED = 0.01  # of the people, that may be the same under other names
NOTHING_SHOWS = "nothing shows that the release was made of these originals"
FEW = 20  # people, of whom luck may find nearly as many as any attacker

Rate = tuple[str, float, Interval]  # by whom, the figure, its interval


@dataclass(frozen=True)
class Limits:
    """What was asked for, shares in [0, 1], None where nothing was: of `leakage` by other photos and by the very photo,
    of `tpr` at 1 % FPR by `photo`; and how many released faces may be real ones, `copies`: 0 where only other limits
    are asked for."""

    leakage: float | None = None
    leakage_same: float | None = None
    tpr: float | None = None
    photo: Photo = "other"
    copies: int | None = None

    @property
    def none(self) -> bool:
        """Whether no gate was asked for."""
        return all(each is None for each in (self.leakage, self.leakage_same, self.tpr, self.copies))


@dataclass(frozen=True)
class Gate:
    """A limit that was asked for, by `option`, and what came of it; `value` and `upper` None where not measured."""

    option: str
    limit: float
    status: Status
    reason: str
    value: float | None = None
    upper: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            limit = f"{self.limit:g}" if self.option == "--max-copies" else exact_percent(self.limit)
            return f"{self.option}: limit {limit}: {self.status}: {self.reason}"
        return f"{self.option}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """`status`: failed where a gate failed, else refused, undecided, passed; without gates `refused` where none could
    be given, else `none`. `reasons`: why, in words; `not_gated`: what was found and had no limit."""

    status: Status = "none"
    reasons: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    not_gated: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "none: no limit was set" if self.status == "none" else self.status

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON types."""
        gates = [asdict(gate) for gate in self.gates]
        return {
            "status": self.status,
            "reasons": list(self.reasons),
            "gates": gates,
            "not_gated": list(self.not_gated),
        }


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; None where it was not looked for."""

    findings: Sequence[Finding]
    memberships: Sequence[MembershipFinding]
    attackers: Sequence[Attacker]
    names: Names | None = None
    duplicates: Duplicates | None = None
    name_check: NameCheck | None = None
    known_members: Sequence[KnownMembers] = ()
    groups: Sequence[GroupRate] = ()


def judge(evidence: Evidence, limits: Limits) -> Verdict:
    """The verdict on what was found.

    Leakage is judged by each attacker at its largest K and most people, with real photos and imitations; membership by
    TPR at 1 % FPR. A gate passes where every attacker's upper end is within its limit, and at least one attacker may
    count; it fails where any risk is over it, and where more released faces than `limits.copies` are real. Where the
    release may not be of these originals, no gate passes.
    """
    others, refusal = tuple(_of_others(evidence)), tuple(_refusal(evidence))
    copied = _copies(evidence.duplicates, limits.copies, others)
    if limits.none:
        reasons = (*((copied.reason,) if copied and copied.status == "failed" else ()), *refusal)
        return Verdict("refused", reasons) if reasons else Verdict()
    gates = [*_rate_gates(evidence, limits, refusal), *([copied] if copied else [])]
    status = next(each for each in WORST_FIRST if any(gate.status == each for gate in gates))
    shown = gates if status == "passed" else [gate for gate in gates if gate.status != "passed"]
    return Verdict(
        status, tuple(dict.fromkeys(gate.reason for gate in shown)), tuple(gates), tuple(_not_gated(evidence, limits))
    )


def _rate_gates(evidence: Evidence, limits: Limits, refusal: Sequence[str]) -> Iterator[Gate]:
    if limits.leakage is not None:
        yield _gate("--max-leakage", limits.leakage, _rates(evidence, "other"), refusal, "found by other photos")
    if limits.leakage_same is not None:
        rates = _rates(evidence, "same")
        yield _gate("--max-leakage-same", limits.leakage_same, rates, refusal, "found by the very photo")
    if limits.tpr is not None:
        what = f"{RECOGNISED} by {PHOTOS[limits.photo]}"
        yield _gate("--max-tpr", limits.tpr, _tprs(evidence, limits.photo), refusal, what)


def _of_others(evidence: Evidence) -> Iterator[str]:
    """Why the release may not be of these originals, so that not even no copies of them says it is safe; nothing where
    it is."""
    names = evidence.names
    if names is None:
        return
    if not names.people:
        yield f"nobody is on both sides by name, and {NOTHING_SHOWS}"
    elif names.unmatched > MAX_UNMATCHED:
        yield (
            f"{percent(names.unmatched)} of the people may be in the release under other names, over "
            f"{percent(MAX_UNMATCHED)}: {names.only_original} are only among the originals, "
            f"{names.only_released} only in the release"
        )
    if names.numbered and (why := unconfirmed(evidence.findings)):
        yield f"people are joined by bare numbers, and {why}"


def _refusal(evidence: Evidence) -> Iterator[str]:
    """Why no verdict on a rate can be given at all; nothing where one can."""
    top = strongest(evidence.findings, "real_to_released", "other")
    if top is None:
        if evidence.names is None or evidence.names.people:
            yield (
                "the risk from other photos of a person could not be measured, nor how strong an attacker is: give "
                "originals with two photos or more of a person"
            )
        yield from _of_others(evidence)
        return
    if top.chance >= 1:
        yield f"among {top.identities} people every guess at K = {top.k} is right: nothing can be told"
    yield from _of_others(evidence)
    if evidence.name_check is not None and evidence.name_check.misnamed:
        yield str(evidence.name_check)
    if all(attacker.barred for attacker in evidence.attackers):
        yield from (f"{attacker.name} {reason}" for attacker in evidence.attackers for reason in attacker.barred)


def unconfirmed(findings: Sequence[Finding]) -> str | None:
    """Why nothing shows that the release was made of these originals; None where something does: where any attacker
    finds people by the very photo more often than chance, by the whole width of the interval."""
    found = [each for each in widest(findings) if (each.attack, each.photo) == ("real_to_released", "same")]
    if not found:
        return f"{NOTHING_SHOWS}: no very photo could be looked for"
    if any(each.risk - each.chance > each.interval[1] - each.interval[0] for each in found):
        return None
    best = max(found, key=lambda each: each.risk - each.chance)
    if best.risk > best.chance and best.identities < FEW:
        return (
            f"{NOTHING_SHOWS}: {best.identities} people are too few to tell {percent(best.risk)} found by the very "
            f"photo from chance, {percent(best.chance)}"
        )
    return f"{NOTHING_SHOWS}: no attacker finds even the very photo clearly more often than chance"


def _copies(duplicates: Duplicates | None, asked: int | None, others: Sequence[str]) -> Gate | None:
    """The gate on released faces that are real ones; None where nobody looked, or asked. `others`: why the release may
    be of other people, among whose photos nobody looked."""
    limit = asked or 0
    if duplicates is None:
        return None if asked is None else Gate("--max-copies", limit, "refused", "copies were not looked for")
    count = duplicates.all_released
    if count <= limit and others:
        return Gate("--max-copies", limit, "refused", "; ".join(others))
    failed = count > limit
    reason = f"{count} released faces are real ones, at most {limit} may be: {'failed' if failed else 'passed'}"
    return Gate("--max-copies", limit, "failed" if failed else "passed", reason, count, count)


def _rates(evidence: Evidence, photo: Photo) -> list[Rate]:
    """Of each attacker and each attack with such photos on released faces."""
    rates = []
    for found in widest(evidence.findings):
        if found.attack != "real_to_real" and found.photo == photo:
            how = f"{found.attacker} at K = {found.k}" + (f", imitating by {found.model}" if found.model else "")
            rates.append((how, found.risk, found.interval))
    return rates + [
        (f"{each.attacker} at K = {each.k}, knowing {each.known} people", each.risk, each.interval)
        for each in evidence.known_members
        if each.photo == photo
    ]


def _tprs(evidence: Evidence, photo: Photo) -> list[Rate]:
    tprs = []
    for found in evidence.memberships:
        tpr, interval = (each.get(GATED_FPR) for each in (found.membership.tpr_at_fpr, found.membership.tpr_intervals))
        if found.photo == photo and isinstance(tpr, float) and isinstance(interval, tuple):
            tprs.append((found.attacker, tpr, interval))
    return tprs


def _gate(option: str, limit: float, rates: Sequence[Rate], refusal: Sequence[str], what: str) -> Gate:
    """A gate in a sentence: 37.5 % found by other photos (34.5 to 40.8 %), limit 30 %: failed, by the ensemble."""
    highest = max(rates, key=lambda rate: rate[1], default=None)
    if highest is not None and highest[1] > limit:
        return _judged(option, limit, "failed", highest, what, "")
    if refusal:
        return Gate(option, limit, "refused", "; ".join(refusal))
    if highest is None:
        return Gate(
            option, limit, "undecided", f"the share {what} was not measured: too few people, or names do not join"
        )
    reaching = max(rates, key=lambda rate: rate[2][1])
    if reaching[2][1] > limit:
        return _judged(option, limit, "undecided", reaching, what, ", since with so few people it may be over it")
    return _judged(option, limit, "passed", reaching, what, "")


def _judged(option: str, limit: float, status: Status, rate: Rate, what: str, why: str) -> Gate:
    who, value, interval = rate
    found = f"{percent(value)} {what} ({percent_interval(interval)})"
    return Gate(
        option, limit, status, f"{found}, limit {exact_percent(limit)}: {status}{why}; by {who}", value, interval[1]
    )


def _not_gated(evidence: Evidence, limits: Limits) -> Iterator[str]:
    """What was found and had no limit, in words."""
    asked: dict[Photo, tuple[float | None, str]] = {
        "other": (limits.leakage, "--max-leakage"),
        "same": (limits.leakage_same, "--max-leakage-same"),
    }
    for photo, (limit, option) in asked.items():
        rates = _rates(evidence, photo)
        if limit is None and rates:
            value = max(rate[1] for rate in rates)
            yield f"{percent(value)} found by {PHOTOS[photo]} ({option} sets a limit)"
    if (worst := worst_group(evidence.groups)) is not None:
        yield f"{percent(worst.risk)} found in the worst group, {worst.column} {worst.value}: a limit is of all people"
    for photo in PHOTOS:
        tprs = _tprs(evidence, photo)
        if tprs and (limits.tpr is None or limits.photo != photo):
            value = max(rate[1] for rate in tprs)
            how = "--max-tpr" + (" with --photo same" if photo == "same" else "")
            yield f"{percent(value)} {RECOGNISED} by {PHOTOS[photo]} ({how} sets a limit)"
