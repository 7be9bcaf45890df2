"""An audit step by step: datasets opened and joined, faces seen by every attacker, attacks measured, people listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.adaptation import learn
from facemae_cli.evaluation.leakage.attackers import Origin, describe
from facemae_cli.evaluation.leakage.duplicates import Digests, digests, find_duplicates
from facemae_cli.evaluation.leakage.exposed_people import Nearest, exposed, triplets
from facemae_cli.evaluation.leakage.identification import FeatureSets, Plan, measure
from facemae_cli.evaluation.leakage.imitation import Imitator, imitate
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.matching import Matching, find_key, join, people_of, unmeasured
from facemae_cli.evaluation.leakage.membership_attack import membership_attack
from facemae_cli.evaluation.leakage.results import Adapted, Attacker, strongest
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.inference.embed import Embeddings
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Model
from facemae_cli.runtime.progress import Progress

ADAPTED = "+adapted"


@dataclass
class Datasets:
    """What is audited, and the result that is filled in.

    `non_member_people`: the people of the non-members' faces, by number; `digests`: of every dataset, by name.
    """

    result: LeakageResult
    original: FaceSource
    released: FaceSource
    non_members: FaceSource | None
    adapt: FaceSource | None
    manifest: Manifest | None
    matching: Matching
    progress: Progress
    non_member_people: People | None = None
    digests: dict[str, Digests] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        result: LeakageResult,
        *,
        key: Path | None,
        non_members: Path | None,
        adapt: Path | None,
        progress: Progress,
    ) -> Datasets:
        """Opens the datasets and tells who is who. Raises UsageError and InputError."""
        original, released = (_opened(path) for path in (result.original, result.released))
        non_member_people, own = (None if path is None else _opened(path) for path in (non_members, adapt))
        manifest = read_manifest(released.path)
        keyed = manifest is not None and manifest.names == "keyed"
        places = [source.path for source in (original, released)]
        secret = find_key(key, manifest, places, lambda: join(original, released, None, keyed).names.people > 0)
        matching = join(original, released, secret, keyed)
        result.names, result.unmeasured = matching.names, unmeasured(matching.names, secret)
        made = cls(result, original, released, non_member_people, own, manifest, matching, progress)
        made.non_member_people = None if made.non_members is None else people_of(made.non_members)
        for source in made.sources().values():
            result.refuse(source.refused)
        return made

    def sources(self) -> dict[str, FaceSource]:
        """The datasets by name."""
        named = {
            "original": self.original,
            "released": self.released,
            "non-members": self.non_members,
            "adapt": self.adapt,
        }
        return {name: source for name, source in named.items() if source is not None}

    def note(self, *lines: str) -> None:
        """What a person and the result's JSON are told."""
        for line in lines:
            self.progress.notice(line)
            self.result.notices.append(line)

    def digest(self, threads: int) -> None:
        """Takes the digests of all faces."""
        for name, source in self.sources().items():
            self.digests[name] = digests(source, threads, self.progress, f"digest {name}")
            self.result.digests[name] = self.digests[name].whole

    def overlapping_non_members(self) -> NDArray[np.bool_]:
        """(n,) which non-members' faces are of people with a photo, byte for byte, among the others; none are known
        where no non-members were given."""
        if self.non_member_people is None:
            return np.zeros(0, np.bool_)
        known = self.digests["original"].known | self.digests["released"].known
        met = np.array([face in known for face in self.digests["non-members"].faces], np.bool_)
        return np.isin(self.non_member_people, self.non_member_people[met])


def _opened(path: Path) -> FaceSource:
    source = open_source(path)
    if not len(source) and not source.refused:
        raise InputError(f"{path} holds no faces: give a folder of images or a .rec")
    return source


def imitated_by(given: Sequence[Model], origin: Origin, data: Datasets, imitations: int) -> list[Model | None]:
    """The models that imitate the release: those given, else its own; None stands for masking alone."""
    if origin.sha256:
        data.result.digests["model of the release"] = origin.sha256
    if imitations == 0 or given:
        return list(given if imitations else ())
    if origin.model is not None:
        return [origin.model]
    if data.manifest is not None and data.manifest.command == "mask":
        return [None]
    why = "its model is not bundled" if origin.sha256 else "no model of it is known"
    data.note(f"the release is not imitated: {why}; --imitation-model takes one")
    data.result.unmeasured.append("imitated_to_released: there is no --imitation-model")
    return []


@dataclass(frozen=True)
class AttackSettings:
    """How faces are looked at: by `attackers`, and as `imitators` draw them `times` times, from `seed`."""

    attackers: dict[str, Recognizer]
    imitators: Sequence[Imitator]
    times: int
    seed: int
    batch_size: str
    threads: int
    cache: Path | None

    def embed(self, data: Datasets, attacker: str, name: str) -> Embeddings:
        """A dataset as one attacker sees it; what cannot be read is refused in the result."""
        made = self.attackers[attacker].embed(
            data.sources()[name],
            batch_size=self.batch_size,
            workers=self.threads,
            cache=self.cache,
            label=f"embed {name} by {attacker}",
            progress=data.progress,
        )
        data.result.refuse(made.refused)
        return made

    def imitate(self, data: Datasets, name: str, imitator: Imitator) -> dict[str, Embeddings]:
        """A dataset as `imitator` draws it and each attacker sees that."""
        made = imitate(
            data.sources()[name],
            imitator,
            list(self.attackers.values()),
            times=self.times,
            seed=self.seed,
            threads=self.threads,
            digest=data.digests[name].whole,
            batch_size=self.batch_size,
            cache=self.cache,
            progress=data.progress,
        )
        return dict(zip(self.attackers, made, strict=True))


@dataclass(frozen=True)
class AttackerView:
    """What an attacker sees, with what embeds for him, and what he learnt from."""

    sets: FeatureSets
    recognizer: Recognizer
    adapted: Adapted | None = None


def embed_all(data: Datasets, settings: AttackSettings) -> list[AttackerView]:
    """Every dataset by every attacker, and, where there are faces to adapt to, by each one adapted as well."""
    imitated = [(each.name, settings.imitate(data, "original", each)) for each in settings.imitators]
    own = settings.imitate(data, "adapt", settings.imitators[0]) if data.adapt is not None else {}
    overlapping_non_members = data.overlapping_non_members()
    if overlapping_non_members.any():
        people = len(
            np.unique(
                (data.non_member_people if data.non_member_people is not None else overlapping_non_members)[
                    overlapping_non_members
                ]
            )
        )
        data.note(f"{people} people of --non-members are left out: a photo of theirs is among the other faces")
    seen = []
    for name, recognizer in settings.attackers.items():
        non_member_people = settings.embed(data, name, "non-members") if data.non_members is not None else None
        if non_member_people is not None:
            non_member_people = Embeddings(
                non_member_people.features, non_member_people.valid & ~overlapping_non_members, []
            )
        real, released = (settings.embed(data, name, side) for side in ("original", "released"))
        sets = FeatureSets(name, real, released, {by: made[name] for by, made in imitated}, non_member_people)
        seen.append(AttackerView(sets, recognizer))
        if own:
            seen.append(_adapted(seen[-1], settings.embed(data, name, "adapt"), own[name], settings.imitators[0].name))
    return seen


def _adapted(seen: AttackerView, real: Embeddings, reconstructed: Embeddings, model: str) -> AttackerView:
    """The attacker once he has learnt from faces of his own, `real` and `drawn` anew."""
    learnt, sets = learn(real, reconstructed), seen.sets
    non_member_people = None if sets.non_members is None else learnt.of_real(sets.non_members)
    changed = FeatureSets(
        sets.attacker + ADAPTED,
        learnt.of_real(sets.real),
        learnt.of_reconstructed(sets.released),
        {by: learnt.of_reconstructed(made) for by, made in sets.imitated.items()},
        non_member_people,
    )
    return AttackerView(changed, seen.recognizer, Adapted(learnt.faces, model, learnt.dim))


def measure_all(data: Datasets, seen: Sequence[AttackerView], plan: Plan) -> None:
    """Every rate and membership, by every attacker, into the result."""
    result = data.result
    data.progress.start("attack", len(seen), "attackers")
    for each in seen:
        findings, missing = measure(each.sets, data.matching, plan, data.progress)
        members, more = membership_attack(
            each.sets, data.matching, data.non_member_people, seed=plan.seed, resamples=plan.resamples,
            device=plan.device, progress=data.progress,
        )  # fmt: skip
        result.findings += findings
        result.memberships += members
        result.unmeasured += missing + more
        data.progress.advance()
    top = result.headline
    result.memberships.sort(key=lambda found: (top is None or found.attacker != top.attacker, found.photo != "other"))


def who_attacked(
    data: Datasets, seen: Sequence[AttackerView], origin: Origin, min_attacker: float, allow_shared_ancestor: bool
) -> list[Attacker]:
    """The attackers as the result names them."""
    attackers = []
    for each in seen:
        own = [found for found in data.result.findings if found.attacker == each.sets.attacker]
        strength = strongest(own, "real_to_real", "other")
        attackers.append(
            describe(
                each.sets.attacker,
                each.recognizer,
                origin,
                None if strength is None else strength.risk,
                min_attacker=min_attacker,
                allow_shared_ancestor=allow_shared_ancestor,
                adapted=each.adapted,
            )
        )
    return attackers


def expose(data: Datasets, seen: Sequence[AttackerView], plan: Plan, threads: int, show_faces: bool) -> None:
    """Duplicates, and the people most exposed to the strongest attacker, into the result."""
    result, matching = data.result, data.matching
    top = result.headline
    sets = next((each.sets for each in seen if top and each.sets.attacker == top.attacker), seen[0].sets)
    nearest = Nearest.of(sets, matching)
    labels = [matching.labels[person] for person in matching.released.tolist()]
    of_original, of_released = data.digests["original"], data.digests["released"]
    result.duplicates = find_duplicates(
        data.original, data.released, of_original, of_released, labels, nearest.pairs(matching), threads
    )
    result.exposed = exposed(sets, matching, nearest, data.released, max(plan.ks), plan.device)
    if show_faces:
        result.triplets = triplets(result.exposed, matching, data.original, data.released)
    if result.duplicates.released or result.duplicates.released_near:
        data.note(result.duplicates.lines()[0])


def require_imitator(adapt: Path | None, imitators: Sequence[object]) -> None:
    """Raises UsageError where there is something to adapt to and nothing to draw it with."""
    if adapt is not None and not imitators:
        raise UsageError(f"--adapt {adapt} needs something to draw the faces with: say --imitation-model")
