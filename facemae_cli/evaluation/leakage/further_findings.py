"""What an audit finds beside its rates: groups, a control, who knows some members, open-set errors in ISO's terms, and
what the release tells by itself. A risk by group is the headline's, of known members any attacker's; the
others are the strongest single attacker's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.attributes import UNKNOWN, Attributes, Column, read_attributes
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
from facemae_cli.evaluation.leakage.results import PHOTOS, Photo
from facemae_cli.evaluation.leakage.risk import hits
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.retrieval import Features, places

OF_ONE_PERSON = "known members, control, open-set errors and inference"


@dataclass(frozen=True)
class NotMeasured:
    """In place of a finding: what could not be measured, and why."""

    reason: str


Outcome = KnownMembers | Control | GroupRate | OpenSet | Linkability | Inference | NotMeasured
Found = TypeVar("Found", bound=Outcome)


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

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> FurtherFindings:
        """What was found and what was not, each in the order of `outcomes`; attributes by what is gained."""

        def some(kind: type[Found]) -> tuple[Found, ...]:
            return tuple(each for each in outcomes if isinstance(each, kind))

        return cls(
            known_members=some(KnownMembers),
            controls=some(Control),
            groups=some(GroupRate),
            open_sets=some(OpenSet),
            linkability=next(iter(some(Linkability)), None),
            inferences=tuple(gains(some(Inference))),
            unmeasured=tuple(each.reason for each in some(NotMeasured)),
        )

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
    def photos(self) -> Sequence[Photo]:
        """By which photos people can be told from others."""
        return tuple(PHOTOS) if self.matching.names.photos_join else ()

    @property
    def sides(self) -> Sides:
        """Faces that have features; photos whose own reconstruction cannot be told from others are left out."""
        return self.sides_of(self.sets.real.valid, self.sets.released.valid)

    def sides_of(self, real_seen: NDArray[np.bool_], released_seen: NDArray[np.bool_]) -> Sides:
        """Those of these real and released faces, which have features."""
        real = np.flatnonzero(real_seen & ~self.matching.doubtful)
        released = np.flatnonzero(released_seen)
        return Sides(
            self.sets.real.features[real],
            self.sets.released.features[released],
            self.matching.real[real],
            self.matching.released[released],
            places(released, len(self.matching.released))[self.matching.same_photo[real]],
        )

    def against_others(self) -> tuple[Sides, Features, People]:
        """The release, and photos and people who are not in it: those given, or half of the people left out of it."""
        sides = self.sides
        if self.sets.non_members is not None and self.non_members is not None:
            seen = self.sets.non_members
            return sides, seen.features[seen.valid], self.non_members[seen.valid]
        left_out = half(sides.both, self.plan.seed)
        out, kept = np.isin(sides.real_people, left_out), ~np.isin(sides.released_people, left_out)
        members = ~out & np.isin(sides.real_people, sides.both)
        rest = Sides(
            sides.real[members],
            sides.released[kept],
            sides.real_people[members],
            sides.released_people[kept],
            places(np.flatnonzero(kept), len(kept))[sides.same_photo[members]],
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
    ranked = None if top is None else searches[top].ranked
    groups = _groups(wanted, None if top is None else sets[top], ranked, matching, max(plan.ks))
    if matching.sources is not None:
        why = NotMeasured(f"{OF_ONE_PERSON}: they take each released face for one person's")
        return FurtherFindings.of([*groups, _linked(audited), why])
    return FurtherFindings.of(
        [
            *_known(wanted, [sets[name] for name in single], together, matching, plan),
            *_controls(audited),
            *groups,
            *_open_sets(audited),
            _linked(audited),
            *_inferred(wanted, audited),
        ]
    )


def _measured(what: str, measure: Callable[[], Found]) -> Found | NotMeasured:
    """What is measured, or why `what` could not be."""
    try:
        return measure()
    except InputError as error:
        return NotMeasured(f"{what}: {error}")


def _known(
    wanted: FurtherPlan, sets: Sequence[FeatureSets], together: Sequence[str], matching: Matching, plan: Plan
) -> Iterator[KnownMembers | NotMeasured]:
    """By each number of known people, the strongest attacker's figure, be it one or those `together` as one; and who
    could not attack."""
    photo: Photo = "other" if matching.names.photos_join else "same"
    for known in wanted.known_members:
        alone = [_knowing(known, each, photo, matching, plan) for each in sets]
        by = {each.attacker: each for each in alone if isinstance(each, KnownMembers)}
        members = [each for each in sets if each.attacker in together]
        if len(members) > 1 and all(each.attacker in by for each in members):
            alone.append(_knowing_together(known, members, by, matching, plan))
        yield from (each for each in alone if isinstance(each, NotMeasured))
        found = [each for each in alone if isinstance(each, KnownMembers)]
        if found:
            yield max(found, key=lambda one: one.risk)


def _knowing(known: int, sets: FeatureSets, photo: Photo, matching: Matching, plan: Plan) -> KnownMembers | NotMeasured:
    """One attacker's figure."""
    return _measured(
        f"known members {known}, {sets.attacker}",
        lambda: attack_knowing(
            _Audited(sets, matching, None, plan).sides, known, max(plan.ks), attacker=sets.attacker, photo=photo,
            seed=plan.seed, resamples=plan.resamples, device=plan.device,
        ),
    )  # fmt: skip


def _knowing_together(
    known: int, members: Sequence[FeatureSets], by: Mapping[str, KnownMembers], matching: Matching, plan: Plan
) -> KnownMembers | NotMeasured:
    """The figure of these attackers as one, of whom each found alone what stands in `by`."""
    real = np.logical_and.reduce([each.real.valid for each in members])
    released = np.logical_and.reduce([each.released.valid for each in members])
    knowing = [
        Knowing(
            _Audited(each, matching, None, plan).sides_of(real, released),
            by[each.attacker],
            WEIGHTS.get(each.attacker, 1.0),
        )
        for each in members
    ]
    return _measured(
        f"known members {known}, {ENSEMBLE}",
        lambda: attack_together(knowing, seed=plan.seed, resamples=plan.resamples, device=plan.device),
    )


def _controls(audited: _Audited) -> list[Control | NotMeasured]:
    def control(photo: Photo) -> Control:
        sides, outside, people = audited.against_others()
        numbers = people + (sides.highest if audited.given else 0)
        return attack_control(
            sides, outside, numbers, max(audited.plan.ks), attacker=audited.sets.attacker, photo=photo,
            given=audited.given, device=audited.plan.device,
        )  # fmt: skip

    return [_measured(f"control, {photo} photos", partial(control, photo)) for photo in audited.photos]


def _open_sets(audited: _Audited) -> list[OpenSet | NotMeasured]:
    def errors(photo: Photo) -> OpenSet:
        sides, outside, _ = audited.against_others()
        plan = audited.plan
        return identify(sides, outside, max(plan.ks), attacker=audited.sets.attacker, photo=photo, device=plan.device)

    return [_measured(f"open-set errors, {photo} photos", partial(errors, photo)) for photo in audited.photos]


def _groups(
    wanted: FurtherPlan, sets: FeatureSets | None, ranked: Ranked | None, matching: Matching, k: int
) -> Sequence[GroupRate | NotMeasured]:
    """The headline's hits by group; `sets` and `ranked`: what it saw, and how its search went, where there is one."""
    if wanted.groups is None:
        return []
    if sets is None or ranked is None:
        return [NotMeasured("risk by group: the risk from other photos of a person could not be measured")]
    there = ranked.ranks.genuine > 0
    rows = np.flatnonzero(~matching.doubtful & sets.real.valid)[there]
    columns = [replace(column, codes=column.codes[rows]) for column in wanted.groups.columns]
    return by_group(hits(ranked.ranks, k)[there], ranked.people[there], columns)


def _linked(audited: _Audited) -> Linkability | NotMeasured:
    sides, plan = audited.sides, audited.plan
    return _measured(
        "linkability",
        lambda: link_released(
            sides.released, sides.released_people, max(plan.ks), attacker=audited.sets.attacker, device=plan.device
        ),
    )


def _inferred(wanted: FurtherPlan, audited: _Audited) -> list[Inference | NotMeasured]:
    """Each attribute of the released faces, which are given that of the very photo, or of the person's only value."""
    sets, matching = audited.sets, audited.matching
    seen, real = np.flatnonzero(sets.released.valid), np.flatnonzero(sets.real.valid)

    def inference(column: Column) -> Inference:
        return infer(
            sets.released.features[seen],
            matching.released[seen],
            replace(column, codes=released_codes(column.codes, matching)[seen]),
            attacker=sets.attacker,
            seed=audited.plan.seed,
            real=(sets.real.features[real], matching.real[real], column.codes[real]),
        )

    columns = () if wanted.attributes is None else wanted.attributes.columns
    return [_measured(f"inference of {column.name}", partial(inference, column)) for column in columns]


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
