"""The verdict on a release: gates on the upper ends of intervals. What cannot be decided has not passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from facemae_cli.evaluation.leakage.results import Attacker, Finding, MembershipFinding, strongest
from facemae_cli.evaluation.metrics import Interval

Status = Literal["passed", "failed", "undecided", "refused", "none"]
WORST_FIRST: tuple[Status, ...] = ("failed", "refused", "undecided", "passed")
GATED_FPR = 1e-2  # TPR at a lower FPR is never higher


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
        return f"{self.option} {self.limit:g}: {self.status}: {self.reason}"


@dataclass(frozen=True)
class Verdict:
    """`status`: failed where a gate failed, else refused, undecided, passed; without gates `refused` where none could
    be given, else `none`. `reasons`: why, in words."""

    status: Status = "none"
    reasons: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()

    def __str__(self) -> str:
        return "none was asked for (--max-leakage, --max-tpr)" if self.status == "none" else self.status

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON types."""
        return {"status": self.status, "reasons": list(self.reasons), "gates": [asdict(gate) for gate in self.gates]}


def judge(
    findings: Sequence[Finding],
    memberships: Sequence[MembershipFinding],
    attackers: Sequence[Attacker],
    *,
    max_leakage: float | None = None,
    max_tpr: float | None = None,
) -> Verdict:
    """The verdict on what was found.

    Leakage is judged by attackers who hold other photos, with real photos or imitations, at the largest K and all
    people; membership by TPR at 1 % FPR. A gate passes where every attacker's upper end is within its limit, and at
    least one attacker may carry a verdict; it fails where any risk is over it.
    """
    refusal = _refusal(findings, attackers)
    if max_leakage is None and max_tpr is None:
        return Verdict("refused", refusal) if refusal else Verdict()
    gates = []
    if max_leakage is not None:
        gates.append(_gate("--max-leakage", max_leakage, _rates(findings), refusal, "the risk"))
    if max_tpr is not None:
        gates.append(_gate("--max-tpr", max_tpr, _tprs(memberships), refusal, "TPR at FPR 0.01"))
    status = next(each for each in WORST_FIRST if any(gate.status == each for gate in gates))
    return Verdict(status, tuple(dict.fromkeys(gate.reason for gate in gates)), tuple(gates))


def _refusal(findings: Sequence[Finding], attackers: Sequence[Attacker]) -> tuple[str, ...]:
    """Why no verdict can be given at all; nothing where one can."""
    if strongest(findings, "real_to_released", "other") is None:
        return ("the risk from other photos of a person could not be measured",)
    if any(not attacker.barred for attacker in attackers):
        return ()
    return tuple(f"{attacker.name} {reason}" for attacker in attackers for reason in attacker.barred)


def _rates(findings: Sequence[Finding]) -> list[tuple[str, float, Interval]]:
    """Of each attacker and each attack with other photos on released faces: who, the risk, its interval."""
    top = strongest(findings, "real_to_released", "other")
    rates = []
    for found in findings:
        released = found.attack != "real_to_real" and found.photo == "other"
        if top and released and (found.whole, found.identities, found.k) == (top.whole, top.identities, top.k):
            how = f"{found.attacker} at K = {found.k}" + (f", imitating by {found.model}" if found.model else "")
            rates.append((how, found.risk, found.interval))
    return rates


def _tprs(memberships: Sequence[MembershipFinding]) -> list[tuple[str, float, Interval]]:
    tprs = []
    for found in memberships:
        tpr, interval = (each.get(GATED_FPR) for each in (found.membership.tpr_at_fpr, found.membership.tpr_intervals))
        if found.photo == "other" and isinstance(tpr, float) and isinstance(interval, tuple):
            tprs.append((found.attacker, tpr, interval))
    return tprs


def _gate(
    option: str, limit: float, rates: list[tuple[str, float, Interval]], refusal: Sequence[str], what: str
) -> Gate:
    if refusal:
        return Gate(option, limit, "refused", "; ".join(refusal))
    if not rates:
        return Gate(option, limit, "undecided", f"{what} could not be measured: too few people, or names do not join")
    who, value, (_, upper) = max(rates, key=lambda rate: rate[2][1])
    highest = max(rates, key=lambda rate: rate[1])
    if highest[1] > limit:
        who, value, (_, upper) = highest
        status: Status = "failed"
        reason = f"{what} is {value:.4g}, over {limit:g}, by {who}"
    elif upper > limit:
        status, reason = "undecided", f"{what} is {value:.4g}, but may be up to {upper:.4g} by {who}: too few people"
    else:
        status, reason = "passed", f"{what} is at most {upper:.4g}, by {who}"
    return Gate(option, limit, status, reason, value, upper)
