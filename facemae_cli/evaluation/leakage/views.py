"""What every attacker sees of the datasets: embedders, thumbnails, each once it has learnt, and all of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Refusal, once
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.adaptation import learn
from facemae_cli.evaluation.leakage.dataset_features import DatasetFeatures, Times, see_dataset
from facemae_cli.evaluation.leakage.datasets import Datasets, overlapping, remarks, require_faces
from facemae_cli.evaluation.leakage.ensemble import ENSEMBLE, WEIGHTS, combine
from facemae_cli.evaluation.leakage.face_stream import Attacking, FaceStream, Viewer
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.imitation import Imitator
from facemae_cli.evaluation.leakage.matching import Matching, people_of
from facemae_cli.evaluation.leakage.results import Adapted
from facemae_cli.evaluation.leakage.see_through import PROBED, best_way, probe
from facemae_cli.evaluation.leakage.side_maps import SideMaps
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS, Thumbnails
from facemae_cli.evaluation.leakage.transforms import MIRROR_IMAGES, PIXELWISE, TRANSFORMS
from facemae_cli.evaluation.leakage.whitened import OF, WHITENED, whitening
from facemae_cli.inference.embed import Embeddings
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.progress import SILENT, Progress

ADAPTED, THROUGH = "+adapted", "+transforms"
LEAST = 0.01  # of a member's weight


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

    `members`: of an ensemble, their names; `rebuilt_by`: what reconstructed the release, where that was masked. `maps`:
    of who whitens what `viewer` sees (None: who sees it as it is).
    """

    sets: FeatureSets
    attacker: Attacking | None
    adapted: Adapted | None = None
    members: tuple[str, ...] = ()
    rebuilt_by: str | None = None
    maps: SideMaps | None = None

    @property
    def viewer(self) -> str:
        """The name of whoever looks at faces for it, where it is one attacker who has learnt nothing."""
        return self.sets.attacker if self.maps is None else OF

    def real(self, seen: Embeddings) -> Embeddings:
        """More real faces, as it sees what `viewer` does."""
        return seen if self.maps is None else self.maps.of_real(seen)

    def reconstructed(self, seen: Embeddings) -> Embeddings:
        """More reconstructed faces, as it sees what `viewer` does."""
        return seen if self.maps is None else self.maps.of_reconstructed(seen)


@dataclass(frozen=True)
class Embedded:
    """All that is seen of the datasets, with their faces at first sight by name, and the faces that could not be."""

    views: list[AttackerView]
    scans: Mapping[str, Scan]
    refused: list[Refusal]
    notices: list[str]


def _see_all(
    data: Datasets, settings: AttackSettings, viewers: Mapping[str, Viewer], progress: Progress
) -> dict[str, DatasetFeatures]:
    """Each dataset by its name, as it is and as it is imitated."""
    adapter = settings.adapter
    imitators: dict[str, list[Times]] = {
        "original": [(each, settings.times) for each in settings.imitators],
        "released": [(each, 1) for each in settings.rebuilders],
        "adapt": [] if adapter is None or adapter.mixing else [(adapter, 1)],  # as the release: each face once
    }
    return {
        name: see_dataset(
            source,
            viewers,
            imitators.get(name, ()),
            seed=settings.seed,
            threads=settings.threads,
            cache=settings.cache,
            label=f"embed {name}",
            progress=progress,
        )
        for name, source in data.sources.items()
    }


@dataclass(frozen=True)
class Lessons:
    """The faces at `path` that attackers learn from, by attacker: `real`, and `reconstructed` `by` a model as the
    release was. `people`, `photos`: as `learn` takes them."""

    path: Path
    by: str
    real: Mapping[str, Embeddings]
    reconstructed: Mapping[str, Embeddings]
    people: People
    photos: People | None = None


def _lessons(
    data: Datasets,
    settings: AttackSettings,
    viewers: Mapping[str, Viewer],
    seen: DatasetFeatures,
    known: NDArray[np.bool_],
    progress: Progress,
) -> Lessons:
    """What there is to learn from, but for the faces that are `known`; where the release is mixed, mixtures are made,
    and seen. Raises UsageError and InputError where they cannot be."""
    adapter, faces = settings.adapter, data.adapt
    assert adapter is not None
    assert faces is not None
    people = people_of(faces)
    real = _all_without(seen.by, known)
    if not adapter.mixing:
        return Lessons(faces.path, adapter.name, real, _all_without(seen.imitated[0], known), people)
    try:
        mixtures = adapter.mixtures(faces, settings.seed, settings.threads, progress)
    except UsageError as error:
        raise UsageError(f"--adapt {faces.path}: {error}") from None
    made = see_dataset(
        mixtures,
        {},
        [(adapter, 1)],
        watching=viewers,
        seed=settings.seed,
        threads=settings.threads,
        cache=settings.cache,
        label="embed mixtures",
        progress=progress,
    )
    shows_known = np.asarray(known[mixtures.photos].any(axis=1))
    shown = _all_without(made.imitated[0], shows_known)
    return Lessons(faces.path, adapter.name, real, shown, people, mixtures.photos)


@dataclass(frozen=True)
class _Transformed:
    """What attackers see of faces under transforms; what has to be computed is, once for all attackers."""

    data: Datasets
    settings: AttackSettings
    viewers: Mapping[str, Viewer]
    seen: Mapping[str, DatasetFeatures]
    device: str
    progress: Progress
    streams: dict[tuple[str, tuple[str, ...], bytes], FaceStream] = field(default_factory=dict)

    def faces(
        self, name: str, by: AttackerView, transform: str | None, rows: NDArray[np.int64], beside: Sequence[str]
    ) -> Embeddings:
        """Faces `rows` of a dataset under a transform (None: as they are), as an attacker sees them; `beside`: the
        transforms that are asked for of these faces, this one among them."""
        return by.real(self._seen(name, by.viewer, transform, rows, beside))

    def _seen(
        self, name: str, attacker: str, transform: str | None, rows: NDArray[np.int64], beside: Sequence[str]
    ) -> Embeddings:
        viewer, plain = self.viewers[attacker], self.seen[name].by[attacker]
        if isinstance(viewer.attacker, Thumbnails) and transform in PIXELWISE:
            scan = self.seen[name].scan
            small = np.ascontiguousarray(TRANSFORMS[transform](scan.thumbnails[rows]))
            return viewer.attacker.of(small, scan.valid[rows])
        way = _way(viewer, transform)
        if way is None:
            return Embeddings(plain.features[rows], plain.valid[rows], [])
        return self._stream(name, tuple(beside), rows).seen(way, attacker)

    def _stream(self, name: str, transforms: tuple[str, ...], rows: NDArray[np.int64]) -> FaceStream:
        key = name, transforms, rows.tobytes()
        if key not in self.streams:
            viewers = {
                (way, attacker): viewer
                for attacker, viewer in self.viewers.items()
                for transform in transforms
                if (way := _way(viewer, transform)) and (viewer.runner or transform not in PIXELWISE)
            }
            ways = {way: TRANSFORMS[way] for way, _ in viewers}
            stream = self.streams[key] = FaceStream(self.data.sources[name], rows.tolist(), ways, viewers)
            progress = self.progress if len(rows) > PROBED else SILENT
            stream.run(self.settings.threads, f"embed {name} transformed", progress)
        return self.streams[key]


def _way(viewer: Viewer, transform: str | None) -> str | None:
    """The transform that shows an attacker what `transform` does; None where faces as they are do."""
    return MIRROR_IMAGES.get(transform, transform) if transform and viewer.runner else transform


def embed_all(
    data: Datasets, matching: Matching, settings: AttackSettings, device: str, progress: Progress
) -> Embedded:
    """Every dataset by every attacker: as it is, adapted where there are faces to adapt to, and all of them as one;
    what is searched for to see it is on `device`."""
    viewers = {name: Viewer.of(each, settings.batch_size) for name, each in settings.everyone.items()}
    seen = _see_all(data, settings, viewers, progress)
    scans = {name: each.scan for name, each in seen.items()}
    refused = require_faces(data, scans)
    overlaps = overlapping(data, scans, device)
    known = overlaps.get("non-members", np.zeros(0, np.bool_))
    plain = _and_whitened([_view(settings, seen, name, known) for name in settings.everyone])
    for view in plain:
        refused += view.sets.real.refused + view.sets.released.refused
    views, notices = [*plain, _ensemble(plain)], list(remarks(data, overlaps))
    if settings.adapter is not None:
        lessons = _lessons(data, settings, viewers, seen["adapt"], overlaps["adapt"], progress)
        adapted, blind = _adapted(lessons, plain)
        views += adapted
        notices += blind
    for rebuilder, released in zip(settings.rebuilders, seen["released"].imitated, strict=True):
        views += _rebuilt(rebuilder, released, plain)
    transformed = _Transformed(data, settings, viewers, seen, device, progress)
    through, finding_more = _through(transformed, plain, matching, known)
    if finding_more:
        how = ", or ".join(finding_more)
        notices.append(f"photos that are {how} before they ask find more people: the release may have been changed so")
    return Embedded(views + through, scans, once(refused), notices)


def _view(
    settings: AttackSettings, seen: Mapping[str, DatasetFeatures], name: str, known: NDArray[np.bool_]
) -> AttackerView:
    """What one attacker sees of everything as it is."""
    original, others = seen["original"], seen.get("non-members")
    imitated = zip(settings.imitators, original.imitated, strict=True)
    sets = FeatureSets(
        name,
        original.by[name],
        seen["released"].by[name],
        {by.name: made[name] for by, made in imitated},
        None if others is None else _without(others.by[name], known),
    )
    return AttackerView(sets, settings.everyone[name])


def _and_whitened(views: Sequence[AttackerView], suffix: str = "") -> list[AttackerView]:
    """All these, and who whitens what the one by thumbnails sees; `suffix`: of their names."""
    of = next(view for view in views if view.sets.attacker == OF + suffix)
    maps = whitening(of.sets.real, of.sets.released)
    return [*views, replace(of, sets=maps.of_sets(of.sets, WHITENED.name + suffix), attacker=WHITENED, maps=maps)]


def _without(seen: Embeddings, known: NDArray[np.bool_]) -> Embeddings:
    """Faces of others less those of people who are in the other datasets."""
    return Embeddings(seen.features, seen.valid & ~known, seen.refused)


def _all_without(seen: Mapping[str, Embeddings], known: NDArray[np.bool_]) -> dict[str, Embeddings]:
    """The same of what several attackers see."""
    return {name: _without(each, known) for name, each in seen.items()}


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


def _adapted(lessons: Lessons, plain: Sequence[AttackerView]) -> tuple[list[AttackerView], list[str]]:
    """Each attacker once it has learnt, and all of these as one; and a line for each that cannot learn. Raises
    InputError where none can."""
    made: list[AttackerView] = []
    blind: list[str] = []
    for view in plain:
        name = view.sets.attacker
        try:
            sides = view.real(lessons.real[view.viewer]), view.reconstructed(lessons.reconstructed[view.viewer])
            learnt = learn(*sides, lessons.people, lessons.photos)
        except InputError as error:
            blind.append(f"{name} does not adapt: {error}")
            continue
        sets = learnt.of_sets(view.sets, name + ADAPTED)
        made.append(
            AttackerView(
                sets, view.attacker, Adapted(learnt.faces, lessons.by, learnt.dim, learnt.method, learnt.held_out)
            )
        )
    if not made:
        raise InputError(f"--adapt {lessons.path}: {blind[0]}")
    return [*made, _ensemble(made, ADAPTED)], blind


def _rebuilt(
    rebuilder: Imitator, released: Mapping[str, Embeddings], plain: Sequence[AttackerView]
) -> list[AttackerView]:
    """What each attacker sees of a masked release once anybody has reconstructed it."""
    suffix = f" on what {rebuilder.name} makes of it"
    made = [
        AttackerView(
            replace(
                view.sets, attacker=view.sets.attacker + suffix, released=released[view.sets.attacker], imitated={}
            ),
            view.attacker,
            rebuilt_by=rebuilder.name,
        )
        for view in plain
        if view.maps is None
    ]
    made = _and_whitened(made, suffix)
    return [*made, _ensemble(made, suffix)]


def _through(
    transformed: _Transformed, plain: Sequence[AttackerView], matching: Matching, known: NDArray[np.bool_]
) -> tuple[list[AttackerView], list[str]]:
    """What each attacker sees who does to photos what may have been done to the release, where that finds people in new
    ways; and what finds more of them than it loses."""
    found: dict[str, None] = {}
    more: dict[str, None] = {}
    for view in plain:
        see = partial(transformed.faces, "original", view, beside=tuple(TRANSFORMS))
        probed = probe(see, view.sets.released, matching, transformed.settings.seed, transformed.device)
        found |= dict.fromkeys(probed.worth_it)
        more |= dict.fromkeys(probed.finds_more)
    if not found:
        return [], []
    made = [_in_the_best_way(transformed, view, list(found), known) for view in plain]
    return [*made, _ensemble(made, THROUGH)], list(more)


def _in_the_best_way(
    transformed: _Transformed, view: AttackerView, transforms: Sequence[str], known: NDArray[np.bool_]
) -> AttackerView:
    def asking(name: str, as_they_are: Embeddings) -> Embeddings:
        rows = np.arange(len(as_they_are.valid))
        ways = [transformed.faces(name, view, each, rows, transforms) for each in transforms]
        return best_way([as_they_are, *ways], view.sets.released, transformed.device)

    non_members, real = view.sets.non_members, view.sets.real
    sets = replace(
        view.sets,
        attacker=view.sets.attacker + THROUGH,
        real=asking("original", real),
        imitated={},
        non_members=None if non_members is None else _without(asking("non-members", non_members), known),
        among_real=(real, real),
    )
    return AttackerView(sets, view.attacker)
