"""What attackers see of one dataset, as it is and as imitators make it, from one reading of its faces, or kept of an
earlier run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.digest import faces_digest
from facemae_cli.data.faces import FaceSource
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.face_stream import AS_IT_IS, FaceStream, Viewer, unchanged
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.imitation import Imitation, Imitator
from facemae_cli.inference import feature_cache
from facemae_cli.inference.embed import Embeddings, refusals
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime import distributed
from facemae_cli.runtime.progress import SILENT, Progress

Times = tuple[Imitator, int]  # an imitator, and under how many masks it makes each face


@dataclass(frozen=True)
class DatasetFeatures:
    """A dataset: its faces at first sight, and what is seen `by` each attacker, of them and of each imitation."""

    scan: Scan
    by: Mapping[str, Embeddings]
    imitated: Sequence[Mapping[str, Embeddings]]


def see_dataset(
    source: FaceSource,
    viewers: Mapping[str, Viewer],
    imitators: Sequence[Times] = (),
    *,
    watching: Mapping[str, Viewer] | None = None,
    seed: int = 0,
    threads: int = 1,
    cache: Path | None = None,
    label: str = "embed",
    progress: Progress = SILENT,
) -> DatasetFeatures:
    """What `viewers` see of all faces of `source`, and `watching` (None: the same) of its imitations under masks from
    `seed`.

    `cache` keeps features by every face's bytes: then only what it does not hold is computed. Raises InputError where
    there is nothing to imitate, UsageError for a model that cannot be used, OutputError where the disk fails.
    """
    if imitators and not len(source):
        raise InputError(f"{source.path} holds no faces to imitate the release with")
    watching = viewers if watching is None else watching
    files = _Files.of(source, viewers, watching, imitators, seed, threads, cache, progress)
    kept = {name: files.load_plain(name, progress) for name in viewers}
    made = [files.load_imitated(number, progress) for number in range(len(imitators))]
    missing = [number for number, found in enumerate(made) if found is None]
    stream = FaceStream(
        source,
        range(len(source)),
        {AS_IT_IS: unchanged},
        {(AS_IT_IS, name): viewer for name, viewer in viewers.items() if kept[name] is None},
        [Imitation(by, source, times, seed) for by, times in (imitators[number] for number in missing)],
        watching,
    )
    stream.run(threads, label, progress)
    for place, number in enumerate(missing):
        found = made[number] = stream.imitated(place)
        files.save(files.imitated[number], found)
    seen = {name: found or stream.seen(AS_IT_IS, name) for name, found in kept.items()}
    files.save(files.plain, {name: seen[name] for name, found in kept.items() if found is None})
    return DatasetFeatures(stream.scan(), seen, [found for found in made if found is not None])


@dataclass(frozen=True)
class _Files:
    """Where a cache keeps features of a dataset, by attacker, and by imitation and attacker; nowhere without one."""

    source: FaceSource
    viewers: Mapping[str, Viewer]
    watching: Mapping[str, Viewer]
    plain: Mapping[str, Path]
    imitated: Sequence[Mapping[str, Path]]

    @classmethod
    def of(
        cls,
        source: FaceSource,
        viewers: Mapping[str, Viewer],
        watching: Mapping[str, Viewer],
        imitators: Sequence[Times],
        seed: int,
        threads: int,
        cache: Path | None,
        progress: Progress,
    ) -> _Files:
        """Those of this process: the first of several ranks has the cache."""
        if cache is None or distributed.rank() > 0:
            return cls(source, viewers, watching, {}, [{} for _ in imitators])
        faces = faces_digest(source, range(len(source)), threads, progress)
        attackers = {name: viewer.attacker for name, viewer in viewers.items()}
        plain = {name: each.kept_in(cache, faces) for name, each in attackers.items() if isinstance(each, Recognizer)}
        imitated = [
            {name: by.place(cache, faces, viewer.attacker, times, seed) for name, viewer in watching.items()}
            for by, times in imitators
        ]
        return cls(source, viewers, watching, plain, imitated)

    def load_plain(self, name: str, progress: Progress) -> Embeddings | None:
        """What is kept of the faces as an attacker sees them, on every rank."""
        found = distributed.gather_objects(self._load(self.plain.get(name), self.viewers[name], progress))[0]
        if found is None:
            return None
        lost = (~found.valid).nonzero()[0].tolist()
        return Embeddings(found.features, found.valid, refusals(self.source, lost), found.resized)

    def load_imitated(self, number: int, progress: Progress) -> Mapping[str, Embeddings] | None:
        """What is kept of an imitation, where all of it is."""
        found = {name: self._load(path, self.watching[name], progress) for name, path in self.imitated[number].items()}
        whole = {name: each for name, each in found.items() if each is not None}
        kept: Mapping[str, Embeddings] = distributed.gather_objects(whole)[0]
        return kept if kept.keys() == self.watching.keys() else None

    def _load(self, path: Path | None, viewer: Viewer, progress: Progress) -> Embeddings | None:
        shape = len(self.source), viewer.attacker.dim
        found = None if path is None else feature_cache.load(path, shape, progress)
        return None if found is None else Embeddings(found[0], found[1], [], found[2])

    def save(self, files: Mapping[str, Path], made: Mapping[str, Embeddings]) -> None:
        """Keeps what was made where there is a file for it. Raises OutputError."""
        for name, each in made.items():
            if name in files:
                feature_cache.save(files[name], each.features, each.valid, each.resized)
