"""An audit step by step: open -> match -> embed -> measure -> judge, each taking values and giving one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from facemae_cli.evaluation.leakage.attackers import Trust, describe, warning_lines
from facemae_cli.evaluation.leakage.datasets import Datasets
from facemae_cli.evaluation.leakage.duplicates import Duplicates, find_duplicates
from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE
from facemae_cli.evaluation.leakage.exposed_people import exposed, triplets
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.further_findings import FurtherFindings, FurtherPlan, find_further
from facemae_cli.evaluation.leakage.identification import Measured, Plan, measure
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.membership_attack import membership_attack
from facemae_cli.evaluation.leakage.name_check import NameCheck, check_names
from facemae_cli.evaluation.leakage.results import Attacker, Exposed, Finding, MembershipFinding, Triplet, strongest
from facemae_cli.evaluation.leakage.verdict import Evidence, Limits, judge, unconfirmed
from facemae_cli.evaluation.leakage.views import AttackerView, AttackSettings, Embedded, embed_all
from facemae_cli.evaluation.retrieval import faiss_clash
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.progress import Progress, Steps


@dataclass(frozen=True)
class Measurements:
    """Every rate and membership by every attacker, what could not be measured, and, by attacker, the searches.

    `single`: the attackers who are not several as one, by name; `best`: the highest risk that one of these measures.
    """

    findings: list[Finding] = field(default_factory=list)
    memberships: list[MembershipFinding] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    searches: Mapping[str, Measured] = field(default_factory=dict)
    single: Sequence[str] = ()
    best: Finding | None = None


@dataclass(frozen=True)
class Exposure:
    """Faces that are there twice, the people most exposed, and pictures of these where asked for."""

    duplicates: Duplicates
    exposed: list[Exposed]
    triplets: list[Triplet]


def measure_all(
    data: Datasets, matching: Matching, views: Sequence[AttackerView], plan: Plan, progress: Progress
) -> Measurements:
    """Every rate and membership, by every attacker; the strongest attacker's membership first."""
    progress.start("attack", len(views), "attackers")
    searches: dict[str, Measured] = {}
    memberships: list[MembershipFinding] = []
    unmeasured: list[str] = []
    for view in views:
        found = measure(view.sets, matching, plan, progress)
        members, missing = membership_attack(
            view.sets, matching, data.non_member_people, seed=plan.seed, resamples=plan.resamples, device=plan.device,
            progress=progress,
        )  # fmt: skip
        searches[view.sets.attacker] = found
        memberships += members
        unmeasured += found.missing + missing
        progress.advance()
    findings = [finding for found in searches.values() for finding in found.findings]
    top = strongest(findings, "real_to_released", "other")
    memberships.sort(key=lambda found: (top is None or found.attacker != top.attacker, found.photo != "other"))
    single = [view.sets.attacker for view in views if view.attacker is not None]
    best = strongest([each for each in findings if each.attacker in single], "real_to_released", "other")
    return Measurements(findings, memberships, unmeasured, searches, single, best)


def expose(
    data: Datasets,
    scans: Mapping[str, Scan],
    matching: Matching,
    views: Sequence[AttackerView],
    measured: Measurements,
    plan: Plan,
    show_faces: bool,
) -> Exposure:
    """Duplicates, and the people most exposed to the strongest attacker but the ensemble, whose similarities have no
    scale."""
    best = measured.best
    sets = next((view.sets for view in views if best and view.sets.attacker == best.attacker), views[0].sets)
    labels = [matching.labels[person] for person in matching.released.tolist()]
    duplicates = find_duplicates(scans["original"], scans["released"], data.released, labels, plan.device)
    ranked = measured.searches[sets.attacker].ranked
    people = exposed(sets, matching, data.released, ranked, max(plan.ks))
    shown = triplets(people, matching, data.original, data.released) if show_faces else []
    return Exposure(duplicates, people, shown)


@dataclass(frozen=True)
class Audit:
    """What is audited, by whom and how; `repeatable`: the settings as a result tells them."""

    data: Datasets
    matching: Matching
    settings: AttackSettings
    plan: Plan
    trust: Trust
    limits: Limits
    show_faces: bool
    repeatable: Mapping[str, str]
    further: FurtherPlan

    def run(self, unmeasured: Sequence[str], not_imitated: str | None, progress: Progress) -> LeakageResult:
        """Look, attack and judge. `unmeasured`: what cannot be; `not_imitated`: why nothing imitates the release."""
        for line in (early := list(self._early_notices(not_imitated))):
            progress.notice(line)
        steps = Steps(progress, 2)
        embedded = embed_all(self.data, self.matching, self.settings, self.plan.device, steps.next())
        scans = embedded.scans
        measured = measure_all(self.data, self.matching, embedded.views, self.plan, steps.next())
        exposure = expose(self.data, scans, self.matching, embedded.views, measured, self.plan, self.show_faces)
        attackers = self._attackers(embedded.views, measured.findings, scans)
        names = check_names(scans["original"], scans["released"], self.matching, self.plan.device)
        further = self._further(embedded.views, measured)
        found = measured.findings, measured.memberships, attackers
        asked = further.known_members, further.groups
        evidence = Evidence(*found, self.matching.names, exposure.duplicates, names, *asked)
        for line in (late := list(_late_notices(embedded, names, exposure.duplicates, measured.findings))):
            progress.notice(line)
        return LeakageResult(
            self.data.original.path,
            self.data.released.path,
            names=self.matching.names,
            duplicates=exposure.duplicates,
            attackers=attackers,
            findings=measured.findings,
            memberships=measured.memberships,
            exposed=exposure.exposed,
            triplets=exposure.triplets,
            further=further,
            verdict=judge(evidence, self.limits),
            unmeasured=[
                *unmeasured,
                *([f"imitations of the release: {not_imitated}"] if not_imitated else []),
                *measured.unmeasured,
                *further.unmeasured,
            ],
            notices=early + late,
            digests=self._digests(scans),
            settings=self.repeatable,
            seed=self.plan.seed,
            refused=embedded.refused,
            not_read=self.data.not_read,
        )

    def _further(self, views: Sequence[AttackerView], measured: Measurements) -> FurtherFindings:
        """What is found beside the rates, by the strongest single attacker."""
        best, top = measured.best, strongest(measured.findings, "real_to_released", "other")
        order = sorted(measured.single, key=lambda name: (best is None or name != best.attacker, name))
        return find_further(
            self.further,
            {view.sets.attacker: view.sets for view in views},
            measured.searches,
            None if top is None else top.attacker,
            order,
            next((view.members for view in views if view.sets.attacker == ENSEMBLE), ()),
            self.matching,
            self.data.non_member_people,
            self.plan,
        )

    def _early_notices(self, not_imitated: str | None) -> Iterator[str]:
        for name, not_read in self.data.not_read.items():
            yield from not_read.lines(name)
        yield from self.further.lines()
        for name, each in self.settings.attackers.items():
            yield from warning_lines(name, each, self.trust.origin)
        if not_imitated is not None:
            yield f"the release is not imitated: {not_imitated}"
        made = [*self.settings.imitators, *([self.settings.adapter] if self.settings.adapter else [])]
        if self.matching.shown.shape[1] > 1 and any(each.mixing is None for each in made):
            yield (
                "how people were mixed in the release is not known: attackers imitate it, and learn, by faces of one "
                "person each"
            )
        if self.settings.rebuilders:
            by = ", ".join(each.name for each in self.settings.rebuilders)
            yield (
                f"the release is masked faces: it is attacked as it looks and as {by} make of it, since whoever holds "
                "it can reconstruct it"
            )
        if clash := faiss_clash():
            yield clash

    def _digests(self, scans: Mapping[str, Scan]) -> dict[str, str]:
        sha256 = self.trust.origin.sha256
        return ({"model of the release": sha256} if sha256 else {}) | {name: each.whole for name, each in scans.items()}

    def _attackers(
        self, views: Sequence[AttackerView], findings: Sequence[Finding], scans: Mapping[str, Scan]
    ) -> list[Attacker]:
        """The attackers as the result names them."""
        attackers: list[Attacker] = []
        for view in views:
            name = view.sets.attacker
            strength = strongest([each for each in findings if each.attacker == name], "real_to_real", "other")
            risk = None if strength is None else strength.risk
            members = [each for each in attackers if each.name in view.members]
            lost, readable = _unseen(view, scans)
            unseen = lost / max(readable, 1)
            attackers.append(describe(name, view.attacker, risk, self.trust, members, view.adapted, unseen))
        return attackers


def _late_notices(
    embedded: Embedded, names: NameCheck, duplicates: Duplicates, findings: Sequence[Finding]
) -> Iterator[str]:
    """What a person should know of what was found."""
    yield from embedded.notices
    yield from _unseen_lines(embedded.views, embedded.scans)
    yield from names.lines()
    yield from duplicates.lines()[:1] if duplicates.all_released else []
    if not (duplicates.all_released or names.misnamed) and (why := unconfirmed(findings)):
        yield why


def _unseen(view: AttackerView, scans: Mapping[str, Scan]) -> tuple[int, int]:
    """Of how many original and released faces that can be read an attacker has no feature, and how many these are."""
    sides = ((scans["original"].valid, view.sets.real.valid), (scans["released"].valid, view.sets.released.valid))
    return sum(int((can & ~has).sum()) for can, has in sides), sum(int(can.sum()) for can, _ in sides)


def _unseen_lines(views: Sequence[AttackerView], scans: Mapping[str, Scan]) -> Iterator[str]:
    """A line for each embedder that has no feature of faces that can be read."""
    for view in views:
        lost, readable = _unseen(view, scans)
        if lost and isinstance(view.attacker, Recognizer) and view.sets.attacker == view.attacker.model.name:
            yield (
                f"{view.sets.attacker} gives no feature, or one that is not finite, for {lost} of {readable} faces: "
                "these neither ask nor are found there"
            )
