"""What every attacker sees of the datasets: embedders, thumbnails, each once it has learnt, and all of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Refusal
from facemae_cli.evaluation.leakage.adaptation import learn
from facemae_cli.evaluation.leakage.datasets import Datasets, overlapping_non_members
from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE, combine
from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.imitation import Imitator, imitate
from facemae_cli.evaluation.leakage.matching import Matching, people_of
from facemae_cli.evaluation.leakage.results import Adapted
from facemae_cli.evaluation.leakage.scan import Pixels, Scan
from facemae_cli.evaluation.leakage.see_through import PROBED, best_way, probe
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS, Thumbnails
from facemae_cli.evaluation.leakage.transforms import TRANSFORMS, TransformedFaces
from facemae_cli.inference.embed import Embeddings
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.progress import SILENT, Progress

ADAPTED, THROUGH = "+adapted", "+transforms"
LEAST = 0.01  # of a member's weight
WEIGHTS = dict.fromkeys(THUMBNAILS, 1 / len(THUMBNAILS))  # all thumbnails count as much as one embedder

Attacking = Recognizer | Thumbnails


@dataclass(frozen=True)
class AttackSettings:
    """How faces are attacked: by `attackers`, as `imitators` reconstruct them `times` times, from `seed`.

    `rebuilders`: what reconstructs the release itself, where it is masked; `adapter`: what reconstructs the faces that
    attackers learn from.
    """

    attackers: Mapping[str, Recognizer]
    imitators: Sequence[Imitator]
    rebuilders: Sequence[Imitator]
    times: int
    seed: int
    batch_size: str
    threads: int
    cache: Path | None
    adapter: Imitator | None = None

    @property
    def everyone(self) -> dict[str, Attacking]:
        """The embedders, and the attackers who are always there."""
        return {**self.attackers, **THUMBNAILS}


@dataclass(frozen=True)
class AttackerView:
    """What an attacker sees, with what computes it (None: the ensemble), and what it learnt from.

    `members`: of an ensemble, their names; `rebuilt_by`: what reconstructed the release, where that was masked.
    """

    sets: FeatureSets
    attacker: Attacking | None
    adapted: Adapted | None = None
    members: tuple[str, ...] = ()
    rebuilt_by: str | None = None


@dataclass(frozen=True)
class Embedded:
    """All that is seen of the datasets, with the faces that could not be."""

    views: list[AttackerView]
    refused: list[Refusal]
    notices: list[str]


@dataclass(frozen=True)
class _Eye:
    """Looks at datasets for each attacker, and collects nothing."""

    data: Datasets
    scans: Mapping[str, Scan]
    settings: AttackSettings
    progress: Progress

    def see(self, name: str, attacker: str) -> Embeddings:
        """The dataset `name` as an attacker sees it."""
        by = self.settings.everyone[attacker]
        if isinstance(by, Thumbnails):
            return by.of(self.scans[name].thumbnails, self.scans[name].valid)
        return by.embed(
            self.data.sources[name],
            batch_size=self.settings.batch_size,
            workers=self.settings.threads,
            cache=self.settings.cache,
            label=f"embed {name} by {attacker}",
            progress=self.progress,
        )

    def transformed(self, name: str, attacker: str, transform: str | None, faces: NDArray[np.int64]) -> Embeddings:
        """The faces of a dataset under a transform (None: as they are), as an attacker sees them."""
        by, change = self.settings.everyone[attacker], TRANSFORMS[transform] if transform else _unchanged
        if isinstance(by, Thumbnails) and transform != "blurred":
            scan = self.scans[name]
            return by.of(np.ascontiguousarray(change(scan.thumbnails[faces])), scan.valid[faces])
        source = TransformedFaces(self.data.sources[name], change, faces)
        if isinstance(by, Thumbnails):
            return by.embed(source, workers=self.settings.threads)
        options = {"batch_size": self.settings.batch_size, "workers": self.settings.threads}
        label = f"embed {name} {transform or 'as they are'} by {attacker}"
        return by.embed(source, **options, label=label, progress=self.progress if len(faces) > PROBED else SILENT)

    def imitated(self, name: str, imitator: Imitator, times: int) -> dict[str, Embeddings]:
        """The dataset `name` as `imitator` makes it and each attacker sees that."""
        made = imitate(
            self.data.sources[name],
            imitator,
            list(self.settings.everyone.values()),
            times=times,
            seed=self.settings.seed,
            threads=self.settings.threads,
            digest=self.scans[name].whole,
            batch_size=self.settings.batch_size,
            cache=self.settings.cache,
            progress=self.progress,
        )
        return dict(zip(self.settings.everyone, made, strict=True))


def _unchanged(image: Pixels) -> Pixels:
    return image


def embed_all(
    data: Datasets, scans: Mapping[str, Scan], matching: Matching, settings: AttackSettings, progress: Progress
) -> Embedded:
    """Every dataset by every attacker: as it is, adapted where there are faces to adapt to, and all of them as one."""
    eye = _Eye(data, scans, settings, progress)
    imitated = [(each.name, eye.imitated("original", each, settings.times)) for each in settings.imitators]
    known = overlapping_non_members(data, scans)
    views, refused = [], list(data.refused)
    for name, attacker in settings.everyone.items():
        strangers = None if data.non_members is None else _without(eye.see("non-members", name), known)
        real, released = (eye.see(side, name) for side in ("original", "released"))
        refused += real.refused + released.refused
        by = {model: made[name] for model, made in imitated}
        views.append(AttackerView(FeatureSets(name, real, released, by, strangers), attacker))
    plain = list(views)
    views.append(_ensemble(plain))
    if data.adapt is not None:
        views += _adapted(eye, plain)
    for rebuilder in settings.rebuilders:
        views += _rebuilt(eye, plain, rebuilder)
    through, transforms = _through(eye, plain, matching, known)
    notices = _notices(data, known)
    if transforms:
        how = ", or ".join(transforms)
        notices.append(f"more people are found once photos are {how}: faces of the release were changed so")
    return Embedded(views + through, _each_once(refused), notices)


def _without(seen: Embeddings, known: NDArray[np.bool_]) -> Embeddings:
    """Non-members' faces less those of people who are in the other datasets."""
    return Embeddings(seen.features, seen.valid & ~known, seen.refused)


def _ensemble(views: Sequence[AttackerView], suffix: str = "") -> AttackerView:
    """All attackers as one, thumbnails together counting as much as an embedder."""
    weights = [WEIGHTS.get(view.sets.attacker.removesuffix(suffix), 1.0) for view in views]
    weights = [weight * _learnt(view) for weight, view in zip(weights, views, strict=True)]
    sets = combine([view.sets for view in views], weights)
    return AttackerView(
        replace(sets, attacker=ENSEMBLE + suffix),
        None,
        adapted=views[0].adapted,
        members=tuple(view.sets.attacker for view in views),
        rebuilt_by=views[0].rebuilt_by,
    )


def _learnt(view: AttackerView) -> float:
    """How much a member counts: as much as it found of the faces left out of its learning, where it has learnt."""
    return 1.0 if view.adapted is None else max(view.adapted.held_out, LEAST)


def _adapted(eye: _Eye, plain: Sequence[AttackerView]) -> list[AttackerView]:
    """Each attacker once it has learnt from faces of its own, real and reconstructed, and all of these as one."""
    imitator = eye.settings.adapter
    assert imitator is not None
    assert eye.data.adapt is not None
    reconstructed = eye.imitated("adapt", imitator, 1)  # as the release: each face once
    made = []
    people = people_of(eye.data.adapt)
    for view in plain:
        name = view.sets.attacker
        learnt = learn(eye.see("adapt", name), reconstructed[name], people)
        strangers = view.sets.non_members
        sets = FeatureSets(
            name + ADAPTED,
            learnt.of_real(view.sets.real),
            learnt.of_reconstructed(view.sets.released),
            {by: learnt.of_reconstructed(seen) for by, seen in view.sets.imitated.items()},
            None if strangers is None else learnt.of_real(strangers),
        )
        made.append(
            AttackerView(
                sets, view.attacker, Adapted(learnt.faces, imitator.name, learnt.dim, learnt.method, learnt.held_out)
            )
        )
    return [*made, _ensemble(made, ADAPTED)]


def _rebuilt(eye: _Eye, plain: Sequence[AttackerView], rebuilder: Imitator) -> list[AttackerView]:
    """What each attacker sees of a masked release once anybody has reconstructed it."""
    released, suffix = eye.imitated("released", rebuilder, 1), f" on what {rebuilder.name} makes of it"
    made = [
        AttackerView(
            replace(
                view.sets, attacker=view.sets.attacker + suffix, released=released[view.sets.attacker], imitated={}
            ),
            view.attacker,
            rebuilt_by=rebuilder.name,
        )
        for view in plain
    ]
    return [*made, _ensemble(made, suffix)]


def _through(
    eye: _Eye, plain: Sequence[AttackerView], matching: Matching, known: NDArray[np.bool_]
) -> tuple[list[AttackerView], list[str]]:
    """What each attacker sees who does to photos what was done to the release, where that finds people in new ways; and
    what that was."""
    found: dict[str, None] = {}
    for view in plain:
        name = view.sets.attacker
        tried = probe(partial(eye.transformed, "original", name), view.sets.released, matching, eye.settings.seed)
        found |= dict.fromkeys(tried.worth_it)
    if not found:
        return [], []
    made = [_in_the_best_way(eye, view, list(found), known) for view in plain]
    return [*made, _ensemble(made, THROUGH)], list(found)


def _in_the_best_way(
    eye: _Eye, view: AttackerView, transforms: Sequence[str], known: NDArray[np.bool_]
) -> AttackerView:
    def asking(name: str, as_they_are: Embeddings) -> Embeddings:
        everyone = np.arange(len(as_they_are.valid))
        ways = [eye.transformed(name, view.sets.attacker, each, everyone) for each in transforms]
        return best_way([as_they_are, *ways], view.sets.released)

    strangers, real = view.sets.non_members, view.sets.real
    sets = replace(
        view.sets,
        attacker=view.sets.attacker + THROUGH,
        real=asking("original", real),
        imitated={},
        non_members=None if strangers is None else _without(asking("non-members", strangers), known),
        among_real=(real, real),
    )
    return AttackerView(sets, view.attacker)


def _each_once(refused: Sequence[Refusal]) -> list[Refusal]:
    """Each place once: every attacker meets the same faces."""
    return list({item.where: item for item in reversed(refused)}.values())[::-1]


def _notices(data: Datasets, known: NDArray[np.bool_]) -> list[str]:
    people = data.non_member_people
    if people is None or not known.any():
        return []
    count = len(np.unique(people[known]))
    return [f"{count} people of --non-members are left out: a photo of theirs is among the other faces"]
