"""What an audit finds beside its rates: groups, a control, who knows some members, open-set errors in ISO's terms, and
what the release tells by itself. A risk by group is the headline's, of known members any attacker's; the
others are the strongest single attacker's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import UNKNOWN, Attributes, read_attributes
from facemae_cli.data.faces import FaceSource
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.control import Control, attack_control
from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE, WEIGHTS
from facemae_cli.evaluation.leakage.groups import GroupRate, by_group
from facemae_cli.evaluation.leakage.identification import FeatureSets, Measured, Plan, Ranked
from facemae_cli.evaluation.leakage.known_members import KnownMembers, Sides, attack_knowing
from facemae_cli.evaluation.leakage.known_together import Knowing, attack_together
from facemae_cli.evaluation.leakage.linkability import Inference, Linkability, gains, infer, link_released
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.membership_attack import half
from facemae_cli.evaluation.leakage.open_set import OpenSet, identify
from facemae_cli.evaluation.leakage.options import parse_known_members
from facemae_cli.evaluation.leakage.results import Photo
from facemae_cli.evaluation.leakage.risk import hits
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.retrieval import Features
from facemae_cli.reports.text import decimal, percent, percent_interval

OF_ONE_PERSON = "known members, control, open-set errors and inference"
PHOTOS: dict[Photo, str] = {"other": "other photos", "same": "the very photos"}


@dataclass(frozen=True)
class FurtherPlan:
    """What is asked for: numbers of `known_members`, and columns of `groups` and of `attributes` over the originals."""

    known_members: tuple[int, ...] = ()
    groups: Attributes | None = None
    attributes: Attributes | None = None

    def lines(self) -> list[str]:
        """What of the files did not match the originals."""
        given = {"--groups": self.groups, "--attributes": self.attributes}  # paths may tell names
        return [line for option, each in given.items() if each is not None for line in each.lines(option)]


def plan_further(
    original: FaceSource, matching: Matching, known_members: str | None, groups: Path | None, attributes: Path | None
) -> FurtherPlan:
    """What the options `--known-members`, `--groups` and `--attributes` ask for. Raises UsageError and InputError."""
    names = [original.name(index) for index in range(len(original))] if groups or attributes else []
    return FurtherPlan(
        () if known_members is None else parse_known_members(known_members, matching.names.people),
        None if groups is None else read_attributes(groups, "--groups").of(names),
        None if attributes is None else read_attributes(attributes, "--attributes").of(names),
    )


@dataclass(frozen=True)
class FurtherFindings:
    """What was found; lists are empty where it was not asked for or could not be measured (`unmeasured`: why)."""

    known_members: tuple[KnownMembers, ...] = ()
    controls: tuple[Control, ...] = ()
    groups: tuple[GroupRate, ...] = ()
    open_sets: tuple[OpenSet, ...] = ()
    linkability: Linkability | None = None
    inferences: tuple[Inference, ...] = ()
    unmeasured: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The findings as JSON types, by the keys of the result they are part of."""
        return {
            "known_members": [each.as_json() for each in self.known_members],
            "controls": [each.as_json() for each in self.controls],
            "groups": [each.as_json() for each in self.groups],
            "open_set": [each.as_json() for each in self.open_sets],
            "linkability": None if self.linkability is None else self.linkability.as_json(),
            "inference": [each.as_json() for each in self.inferences],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Rows for a person, beside what the verdict says."""
        rows = [("known members", in_words(each)) for each in self.known_members]
        rows += [("control", control_in_words(each)) for each in self.controls]
        rows += [("open set", open_set_in_words(each)) for each in self.open_sets]
        if self.linkability is not None:
            rows.append(("linkability", linkability_in_words(self.linkability)))
        return rows + [("inference", inference_in_words(each)) for each in self.inferences]


def in_words(found: KnownMembers) -> str:
    """One figure of who knows members."""
    return (
        f"{percent(found.risk)} ({percent_interval(found.interval)}) of the others' photos at K = {found.k}, by "
        f"{found.attacker} with {PHOTOS[found.photo]}, knowing {found.known} people: {learnt_in_words(found)}"
    )


def learnt_in_words(found: KnownMembers) -> str:
    """What the known people taught."""
    if found.method == "none":
        return "nothing that was learnt from them helped"
    return f"learnt by {found.method}, {percent(found.risk_unlearnt)} without learning"


def control_in_words(found: Control) -> str:
    """The control beside the attack."""
    due = "cannot be told" if found.due_to_release is None else f"{percent(found.due_to_release)} is due to the release"
    return (
        f"{percent(found.attack.risk)} of members' searches by {PHOTOS[found.photo]} find their person, "
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
    return f"{', '.join(words)}, {PHOTOS[found.photo]}, by {found.attacker}"


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


@dataclass(frozen=True)
class _Audited:
    """One attacker's view, with who is who."""

    sets: FeatureSets
    matching: Matching
    non_members: People | None
    plan: Plan

    @property
    def given(self) -> bool:
        """Whether people who are not in the release were given."""
        return self.sets.non_members is not None and self.non_members is not None

    @property
    def sides(self) -> Sides:
        """Faces that have features; photos whose own reconstruction cannot be told from others are left out."""
        return self.sides_of(self.sets.real.valid, self.sets.released.valid)

    def sides_of(self, real_seen: NDArray[np.bool_], released_seen: NDArray[np.bool_]) -> Sides:
        """Those of these real and released faces, which have features."""
        real = np.flatnonzero(real_seen & ~self.matching.doubtful)
        released = np.flatnonzero(released_seen)
        place = np.full(len(self.matching.released) + 1, -1, np.int64)
        place[released] = np.arange(len(released))
        return Sides(
            self.sets.real.features[real],
            self.sets.released.features[released],
            self.matching.real[real],
            self.matching.released[released],
            place[self.matching.same_photo[real]],
        )

    def against_others(self) -> tuple[Sides, Features, People]:
        """The release, and photos and people who are not in it: those given, or half of the people left out of it."""
        sides = self.sides
        if self.sets.non_members is not None and self.non_members is not None:
            seen = self.sets.non_members
            return sides, seen.features[seen.valid], self.non_members[seen.valid]
        left_out = half(sides.both, self.plan.seed)
        out, kept = np.isin(sides.real_people, left_out), ~np.isin(sides.released_people, left_out)
        place = np.full(len(kept) + 1, -1, np.int64)
        place[:-1][kept] = np.arange(int(kept.sum()))
        members = ~out & np.isin(sides.real_people, sides.both)
        rest = Sides(
            sides.real[members],
            sides.released[kept],
            sides.real_people[members],
            sides.released_people[kept],
            place[sides.same_photo[members]],
        )
        return rest, sides.real[out], sides.real_people[out]


def find_further(
    wanted: FurtherPlan,
    sets: Mapping[str, FeatureSets],
    searches: Mapping[str, Measured],
    top: str | None,
    single: Sequence[str],
    together: Sequence[str],
    matching: Matching,
    non_members: People | None,
    plan: Plan,
) -> FurtherFindings:
    """Measures what is `wanted`, and always the control, open-set errors and linkability.

    `sets` and `searches`: by attacker; `top`: the headline's, None without one; `single`: those that are not several as
    one, the strongest first; `together`: those of them that the ensemble is made of.
    """
    audited = _Audited(sets[single[0]], matching, non_members, plan)
    searched = None if top is None else (sets[top], searches[top].ranked)
    missing: list[str] = []
    if matching.sources is not None:
        return FurtherFindings(
            groups=tuple(_groups(wanted, searched, matching, max(plan.ks), missing)),
            linkability=next(_linked(audited, missing), None),
            unmeasured=(*missing, f"{OF_ONE_PERSON}: they take each released face for one person's"),
        )
    return FurtherFindings(
        known_members=tuple(_known(wanted, [sets[name] for name in single], together, matching, plan, missing)),
        controls=tuple(_controls(audited, missing)),
        groups=tuple(_groups(wanted, searched, matching, max(plan.ks), missing)),
        open_sets=tuple(_open_sets(audited, missing)),
        linkability=next(_linked(audited, missing), None),
        inferences=tuple(gains(list(_inferred(wanted, audited, missing)))),
        unmeasured=tuple(missing),
    )


def _known(
    wanted: FurtherPlan,
    sets: Sequence[FeatureSets],
    together: Sequence[str],
    matching: Matching,
    plan: Plan,
    missing: list[str],
) -> Iterator[KnownMembers]:
    """By each number of known people, the strongest attacker's figure, be it one or those `together` as one."""
    members = [each for each in sets if each.attacker in together]
    real, released = (
        np.logical_and.reduce([side.valid for side in sides])
        for sides in ([each.real for each in members], [each.released for each in members])
    )
    photo: Photo = "other" if matching.names.photos_join else "same"
    for known in wanted.known_members:
        found = []
        for each in sets:
            with _told(f"known members {known}, {each.attacker}", missing):
                sides = _Audited(each, matching, None, plan).sides
                found.append(
                    attack_knowing(
                        sides, known, max(plan.ks), attacker=each.attacker, photo=photo, seed=plan.seed,
                        resamples=plan.resamples, device=plan.device,
                    )
                )  # fmt: skip
        by = {each.attacker: each for each in found}
        if len(members) > 1 and all(each.attacker in by for each in members):
            with _told(f"known members {known}, {ENSEMBLE}", missing):
                knowing = [
                    Knowing(
                        _Audited(each, matching, None, plan).sides_of(real, released),
                        by[each.attacker],
                        WEIGHTS.get(each.attacker, 1.0),
                    )
                    for each in members
                ]
                found.append(attack_together(knowing, seed=plan.seed, resamples=plan.resamples, device=plan.device))
        if found:
            yield max(found, key=lambda one: one.risk)


def _controls(audited: _Audited, missing: list[str]) -> Iterator[Control]:
    plan = audited.plan
    for photo in PHOTOS if audited.matching.names.photos_join else ():
        with _told(f"control, {photo} photos", missing):
            sides, outside, people = audited.against_others()
            numbers = people + (sides.highest if audited.given else 0)
            yield attack_control(
                sides, outside, numbers, max(plan.ks), attacker=audited.sets.attacker, photo=photo,
                given=audited.given, device=plan.device,
            )  # fmt: skip


def _open_sets(audited: _Audited, missing: list[str]) -> Iterator[OpenSet]:
    plan = audited.plan
    for photo in PHOTOS if audited.matching.names.photos_join else ():
        with _told(f"open-set errors, {photo} photos", missing):
            sides, outside, _ = audited.against_others()
            name = audited.sets.attacker
            yield identify(sides, outside, max(plan.ks), attacker=name, photo=photo, device=plan.device)


def _groups(
    wanted: FurtherPlan,
    searched: tuple[FeatureSets, Ranked | None] | None,
    matching: Matching,
    k: int,
    missing: list[str],
) -> list[GroupRate]:
    """The headline's hits by group."""
    if wanted.groups is None:
        return []
    sets, ranked = searched or (None, None)
    if sets is None or ranked is None:
        missing.append("risk by group: the risk from other photos of a person could not be measured")
        return []
    there = ranked.ranks.genuine > 0
    rows = np.flatnonzero(~matching.doubtful & sets.real.valid)[there]
    columns = [replace(column, codes=column.codes[rows]) for column in wanted.groups.columns]
    return by_group(hits(ranked.ranks, k)[there], ranked.people[there], columns)


def _linked(audited: _Audited, missing: list[str]) -> Iterator[Linkability]:
    with _told("linkability", missing):
        sides, plan = audited.sides, audited.plan
        name = audited.sets.attacker
        yield link_released(sides.released, sides.released_people, max(plan.ks), attacker=name, device=plan.device)


def _inferred(wanted: FurtherPlan, audited: _Audited, missing: list[str]) -> Iterator[Inference]:
    """Each attribute of the released faces, which are given that of the very photo, or of the person's only value."""
    if wanted.attributes is None:
        return
    sets, matching = audited.sets, audited.matching
    seen, real = np.flatnonzero(sets.released.valid), np.flatnonzero(sets.real.valid)
    for column in wanted.attributes.columns:
        with _told(f"inference of {column.name}", missing):
            codes = released_codes(column.codes, matching)
            yield infer(
                sets.released.features[seen],
                matching.released[seen],
                replace(column, codes=codes[seen]),
                attacker=sets.attacker,
                seed=audited.plan.seed,
                real=(sets.real.features[real], matching.real[real], column.codes[real]),
            )


def released_codes(codes: NDArray[np.int64], matching: Matching) -> NDArray[np.int64]:
    """(m,) the released faces' codes, of the originals' (n,): that of the very photo, or else the person's, where all
    of the person's photos have one; UNKNOWN otherwise."""
    known = codes >= 0
    size = int(max(matching.real.max(initial=-1), matching.released.max(initial=-1))) + 1
    low, high = np.full(size, np.iinfo(np.int64).max), np.full(size, UNKNOWN)
    np.minimum.at(low, matching.real[known], codes[known])
    np.maximum.at(high, matching.real[known], codes[known])
    found = np.where(low == high, high, UNKNOWN)[matching.released]
    twins = (matching.same_photo >= 0) & known
    found[matching.same_photo[twins]] = codes[twins]
    return found


@contextmanager
def _told(what: str, missing: list[str]) -> Iterator[None]:
    """Notes what could not be measured, and why."""
    try:
        yield
    except InputError as error:
        missing.append(f"{what}: {error}")
