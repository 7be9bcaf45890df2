"""An audit as a value: all that `leakage` found, how it was found, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import Refusal
from facemae_cli.evaluation.leakage.duplicates import Duplicates
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.evaluation.leakage.groups import group_lines
from facemae_cli.evaluation.leakage.matching import Names
from facemae_cli.evaluation.leakage.results import Attacker, Exposed, Finding, MembershipFinding, Triplet, strongest
from facemae_cli.evaluation.leakage.verdict import Verdict
from facemae_cli.reports.text import decimal

SHOWN = 5  # most exposed people of the table on the terminal
TITLES = {
    "real_to_released": "real -> released",
    "real_to_real": "real -> real",
    "imitated_to_released": "imitated -> released",
}


@dataclass(frozen=True)
class LeakageResult:
    """What `leakage` found.

    `findings`: every rate; `headline`: the strongest attacker's real_to_released with other photos, None where that
    could not be measured. `memberships`: the first is the headline's. `names`: how real and released faces were
    joined. `duplicates`: released faces that are real ones, and photos held twice. `exposed`: people, worst first;
    `triplets`: faces to show, only where asked for. `further`: groups, controls and more. `unmeasured`: what could not
    be measured, and why. `digests`: sha256 of the datasets and the release's model, by name. `settings`: how it was
    measured, as text, by name.
    """

    original: Path
    released: Path
    names: Names | None = None
    duplicates: Duplicates | None = None
    attackers: list[Attacker] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    memberships: list[MembershipFinding] = field(default_factory=list)
    exposed: list[Exposed] = field(default_factory=list)
    triplets: list[Triplet] = field(default_factory=list)
    further: FurtherFindings = field(default_factory=FurtherFindings)
    verdict: Verdict = field(default_factory=Verdict)
    unmeasured: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    refused: list[Refusal] = field(default_factory=list)
    report: Path | None = None

    @property
    def headline(self) -> Finding | None:
        """The strongest attacker's real_to_released with other photos of the person."""
        return strongest(self.findings, "real_to_released", "other")

    @property
    def failed_gates(self) -> list[str]:
        """A line for each gate that did not pass."""
        return [str(gate) for gate in self.verdict.gates if gate.status != "passed"]

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        headline, members = self.headline, self.memberships
        return {
            "schema": 1,
            "command": "leakage",
            "original": str(self.original),
            "released": str(self.released),
            "headline": None if headline is None else headline.as_json(),
            "attackers": [attacker.as_json() for attacker in self.attackers],
            "results": [finding.as_json() for finding in self.findings],
            "membership": members[0].as_json() if members else None,
            "memberships": [found.as_json() for found in members],
            "verdict": self.verdict.as_json(),
            "names": None if self.names is None else self.names.as_json(),
            "duplicates": None if self.duplicates is None else self.duplicates.as_json(),
            **self.further.as_json(),
            "exposed": [person.as_json() for person in self.exposed],
            "not_measured": self.unmeasured,
            "notices": self.notices,
            "digests": self.digests,
            "measured_by": dict(self.settings),
            "seed": self.seed,
            "report": None if self.report is None else str(self.report),
        }

    def measured(self) -> list[list[str]]:
        """A row of figures for each rate, below a row of headings."""
        heads = ["attack", "photo", "attacker", "K", "people", "risk", "95 % interval", "chance", "photos"]
        return [heads, *(_row(finding) for finding in self.findings)] if self.findings else []

    def summary(self) -> list[tuple[str, str]]:
        """What else a person should see, the verdict first."""
        rows = [("verdict", str(self.verdict))] + [("because", reason) for reason in self.verdict.reasons]
        rows += [("not gated", line) for line in self.verdict.not_gated]
        rows += [("groups", line) for line in group_lines(self.further.groups)]
        rows += [("membership", _in_words(found)) for found in self.memberships]
        rows += [
            ("note", note) for note in dict.fromkeys(n for each in self.memberships for n in each.membership.notes)
        ]
        rows += self.further.summary()
        if self.names is not None:
            rows += [("people", line) for line in self.names.lines()]
        if self.duplicates is not None:
            rows += [("duplicates", line) for line in self.duplicates.lines()]
        rows += [("exposed", _person(person)) for person in self.exposed[:SHOWN]]
        rows += [("not measured", line) for line in self.unmeasured]
        rows += [("attacker", _attacker(each)) for each in self.attackers]
        return rows + ([("report", str(self.report))] if self.report else [])


def _row(finding: Finding) -> list[str]:
    low, high = finding.interval
    title = TITLES[finding.attack] + (f" by {finding.model}" if finding.model else "")
    figures = [f"{100 * finding.risk:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %", f"{100 * finding.chance:.2f} %"]
    people = f"{finding.identities}" + (f" x {len(finding.trials)}" if len(finding.trials) > 1 else "")
    return [title, finding.photo, finding.attacker, str(finding.k), people, *figures, str(finding.queries)]


def _in_words(found: MembershipFinding) -> str:
    how = found.membership
    low, high = how.auc_interval
    auc = f"{found.attacker}, {found.photo} photos: AUC {how.auc:.3f} ({low:.3f} to {high:.3f})"
    rates = [f"TPR {100 * tpr:.1f} % at FPR {decimal(fpr)}" for fpr, tpr in how.tpr_at_fpr.items() if tpr is not None]
    return ", ".join([auc, *rates, f"{how.members} people in, {how.non_members} not in"])


def _attacker(each: Attacker) -> str:
    known = f"sha256 {each.sha256[:12]}..., " if each.sha256 else ""
    return f"{each.name}: {known}{each.computed}"


def _person(person: Exposed) -> str:
    photo = "the very photo" if person.same_photo else "another photo"
    words = f"{person.identity}: {person.released_photo} is {person.similarity:.3f} near to {photo}"
    return f"{words}; {person.found:.3g} of {person.photos} photos find the person by other photos"
