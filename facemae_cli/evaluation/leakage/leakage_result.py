"""An audit as a value: all that `leakage` found, how it was found, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import NotRead, Refusal
from facemae_cli.evaluation.groups import group_lines
from facemae_cli.evaluation.leakage import summary
from facemae_cli.evaluation.leakage.duplicates import Duplicates
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings
from facemae_cli.evaluation.leakage.matching import Names
from facemae_cli.evaluation.leakage.results import (
    PHOTOS,
    Attacker,
    Exposed,
    Finding,
    MembershipFinding,
    Triplet,
    strongest,
)
from facemae_cli.evaluation.leakage.verdict import Verdict

SHOWN = 5  # most exposed people of the table on the terminal


@dataclass(frozen=True)
class LeakageResult:
    """What `leakage` found.

    `findings`: every rate; `headline`: the strongest attacker's real_to_released with other photos, None where that
    could not be measured. `memberships`: the first is the headline's. `names`: how real and released faces were
    joined. `duplicates`: released faces that are real ones, and photos held twice. `exposed`: people, worst first;
    `triplets`: faces to show, only where asked for. `further`: groups, controls and more. `unmeasured`: what could not
    be measured, and why. `digests`: sha256 of the datasets and the release's model, by name. `settings`: how it was
    measured, as text, by name. `not_read`: what of each dataset's place is not part of it, by option.
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
    not_read: Mapping[str, NotRead] = field(default_factory=dict)
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
        same = strongest(self.findings, "real_to_released", "same")
        return {
            "schema": 1,
            "command": "leakage",
            "original": str(self.original),
            "released": str(self.released),
            "verdict": self.verdict.as_json(),
            "headline": None if headline is None else headline.as_json(),
            "headline_same": None if same is None else same.as_json(),
            "attackers": [attacker.as_json() for attacker in self.attackers],
            "results": [finding.as_json() for finding in self.findings],
            "membership": members[0].as_json() if members else None,
            "memberships": [found.as_json() for found in members],
            "names": None if self.names is None else self.names.as_json(),
            "duplicates": None if self.duplicates is None else self.duplicates.as_json(),
            **self.further.as_json(),
            "exposed": [person.as_json() for person in self.exposed],
            "not_measured": self.unmeasured,
            "not_read": {option: each.as_json() for option, each in self.not_read.items()},
            "notices": self.notices,
            "digests": self.digests,
            "measured_by": dict(self.settings),
            "seed": self.seed,
            "report": None if self.report is None else str(self.report),
        }

    @property
    def best_memberships(self) -> list[MembershipFinding]:
        """By other photos and by the very photo, who tells best who is in the release."""
        kinds = ([found for found in self.memberships if found.photo == photo] for photo in PHOTOS)
        return [max(each, key=lambda found: found.membership.auc) for each in kinds if each]

    def measured(self) -> list[list[str]]:
        """A row of rates for each attacker, below a row of headings."""
        return summary.table_rows(self.findings)

    def summary(self) -> list[tuple[str, str]]:
        """What else a person should see, the verdict and both cases first."""
        rows = [("verdict", str(self.verdict))] + [("because", reason) for reason in self.verdict.reasons]
        if self.verdict.status == "none":
            rows.append(("set limits", summary.how_to_set_limits(self.findings)))
        rows += summary.both_cases(self.findings)
        rows += [("not gated", line) for line in self.verdict.not_gated]
        rows += [("groups", line) for line in group_lines(self.further.groups)]
        rows += [("membership", summary.membership_in_words(found)) for found in self.best_memberships]
        notes = dict.fromkeys(note for found in self.memberships for note in found.membership.notes)
        rows += [("note", note) for note in notes]
        rows += summary.further_rows(self.further)
        if self.names is not None:
            rows += [("people", line) for line in self.names.lines()]
        if self.duplicates is not None:
            rows += [("duplicates", line) for line in self.duplicates.lines()]
        rows += [("exposed", summary.person_in_words(person)) for person in self.exposed[:SHOWN]]
        rows += [("not measured", line) for line in self.unmeasured]
        attackers = dict.fromkeys(summary.attacker_in_words(each) for each in self.attackers)
        rows += [("attacker", line) for line in attackers if line]
        return rows + ([("report", str(self.report))] if self.report else [])
