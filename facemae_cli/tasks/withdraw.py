"""Take people or photos out of datasets that were made from them: masked, released and converted ones."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facemae_cli import __version__
from facemae_cli.data.faces import FaceSource, Name, NotRead, fingerprint
from facemae_cli.data.files import require_outside
from facemae_cli.data.images.codec import suffix_of
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.output.beside import CARD, beside_path
from facemae_cli.data.output.output import check_output, finish_stopped, open_output
from facemae_cli.data.recordio.sidecars import rec_file
from facemae_cli.data.subset import Subset
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.sources import Sources, read_sources
from facemae_cli.masking.key import DEFAULT_KEY_FILE, Key
from facemae_cli.masking.levels import measured_elsewhere
from facemae_cli.masking.people_list import PeopleList
from facemae_cli.networks.zoo import bundled
from facemae_cli.reports.publication.facts import Facts, ModelFacts
from facemae_cli.reports.publication.files import format_of, published_files
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

UNIT = 512  # faces made durable together


@dataclass(frozen=True)
class Withdrawal:
    """What was taken out of one dataset: `withdrawn` faces, of which it keeps `left`.

    `not_read`: what of its place is not part of it, so that nobody was looked for there; where the dataset was
    changed, it went with the old folder."""

    dataset: Path
    withdrawn: int
    left: int
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON types."""
        faces = {"withdrawn": self.withdrawn, "left": self.left, "changed": self.withdrawn > 0}
        return {"dataset": str(self.dataset), **faces, **self.not_read.as_json()}

    def rows(self) -> list[tuple[str, str]]:
        """The same for a person."""
        lines = self.not_read.lines(str(self.dataset))
        if lines and self.withdrawn:
            lines.append(f"what was passed over in {self.dataset} is gone with its old folder")
        faces = f"{self.withdrawn} faces from {self.dataset}, {self.left} are left"
        return [("withdrawn", faces), *(("note", line) for line in lines)]


@dataclass(frozen=True)
class WithdrawResult:
    """What `withdraw` did, a dataset each, for a list of `entries` people and photos."""

    datasets: list[Withdrawal]
    entries: int

    def as_json(self) -> dict[str, Any]:
        """The result for machines, which names nobody."""
        return {"command": "withdraw", "entries": self.entries, "datasets": [one.as_json() for one in self.datasets]}

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [row for one in self.datasets for row in one.rows()]
        rest = "the raw photos, copies handed on, models trained on them, caches and reports are not touched"
        return [*rows, ("note", rest)]


def withdraw(
    datasets: Sequence[str | Path],
    *,
    people: str | Path,
    key: str | Path = DEFAULT_KEY_FILE,
    sources: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> WithdrawResult:
    """Takes people or photos out of `datasets`, each at once: a reader sees it as it was or without them.

    datasets: folders and `.rec` that carry our manifest. All other images keep their bytes and names; numbers in a
        `.rec` close up, as if those withdrawn had never been in it.
    people: a text file with a person, or a photo as person/file, a line, called as in the raw dataset.
    key: the key the datasets were masked with; not needed where names were kept.
    sources: of whom each face of mixed datasets was made, as `mask --protect` wrote it; all that show part of a person
        go with the person.
    workers: threads; None: one a CPU core.

    Everything is checked before anything is changed; but where a stopped run was just putting a dataset in its place,
    that is ended first, and the same list goes on with the others. Raises UsageError where a line names nobody in any
    of the datasets, for another key, and where nobody would be left; InputError and OutputError.
    """
    threads = thread_count(workers)
    places = [Path(each) for each in datasets]
    if not places:
        raise UsageError("no dataset is given: name those to take people out of, such as masked and released")
    require_outside(Path(people), places, "--people")
    listed = PeopleList.read(Path(people), "--people")
    made_of = None if sources is None else read_sources(Path(sources))
    stopped = {path: faces for path in places if (faces := _end_stopped(path, listed)) is not None}
    jobs = _planned(places, listed, Path(key), made_of, all_found=bool(stopped))
    done = []
    for job in jobs:
        if job.left_out:
            job.run(listed, threads, progress)
        left, withdrawn = len(job.source) - len(job.left_out), len(job.left_out) + stopped.get(job.path, 0)
        done.append(Withdrawal(job.path, withdrawn, left, NotRead.of(job.source)))
    return WithdrawResult(done, len(listed.lines))


def _end_stopped(path: Path, listed: PeopleList) -> int | None:
    """Puts a dataset in its place where a run was stopped doing so, by whatever list. How many faces that run took
    out, where it had this one."""
    targets = [path] if path.suffix.lower() in (".rec", ".parquet") else [path, path / "train.rec"]
    plans = [finish_stopped(target, "withdraw") for target in targets if os.path.lexists(target.parent)]
    return next((plan["withdrawn"] for plan in plans if plan and plan["list"] == listed.digest), None)


def _planned(
    places: Sequence[Path], listed: PeopleList, key: Path, sources: Sources | None, all_found: bool
) -> list[_Job]:
    """What is to be done with each dataset, all of it checked; `all_found`: whether every line was found before.
    Raises UsageError and InputError."""
    opened = [_open(path) for path in places]
    secret = None
    if any(manifest.key_id is not None for _, manifest in opened):
        secret = Key.load(key, outside=places)
    jobs, found = [], set[str]()
    for path, (source, manifest) in zip(places, opened, strict=True):
        if manifest.key_id is not None and secret is not None and manifest.key_id != secret.key_id:
            raise UsageError(
                f"{path} was masked with another key (key_id {manifest.key_id}, {key} has {secret.key_id}): give that "
                "one by --key"
            )
        mixed = manifest.mixed_people > 0
        faces = _mixed_faces(path, source, listed, sources) if mixed else listed.find(_names(source), secret)
        found |= {line for line, numbers in faces.items() if numbers}
        left_out = set[int]().union(*faces.values())
        if len(left_out) == len(source):
            raise UsageError(f"{listed.path} names everybody in {path}: remove the dataset itself")
        check_output(_target(path), overwrite=True)
        jobs.append(_Job(path, source, manifest, left_out))
    if not all_found:
        listed.require_found([*found], "--people", " and ".join(map(str, places)))
    return jobs


def _mixed_faces(path: Path, source: FaceSource, listed: PeopleList, sources: Sources | None) -> dict[str, set[int]]:
    """For each line of the list the faces of a mixed dataset that show something of whom it means."""
    if sources is None:
        raise UsageError(
            f"{path} holds mixed faces: say of whom they were made by --sources, the file that `mask --protect` wrote"
        )
    parts = [(face, Name(*part)) for face, made in enumerate(sources.of(source)) for part in made]
    found = listed.find([name for _, name in parts], None)
    return {line: {parts[number][0] for number in numbers} for line, numbers in found.items()}


def _names(source: FaceSource) -> list[Name]:
    return [source.name(index) for index in range(len(source))]


def _open(path: Path) -> tuple[FaceSource, Manifest]:
    if os.path.exists(path) and kind_of(path) == "pack":
        raise UsageError(f"{path} is a verification pack: make it anew by `facemae convert` from what is left")
    source = open_source(path, whole=True)
    manifest = read_manifest(path)
    if manifest is None:
        raise UsageError(f"{path} carries no facemae.json, so it was not made by facemae, and is left alone")
    if source.refused:
        item = source.refused[0]
        raise InputError(f"{path} is damaged ({item.where}: {item.detail}): mend it, or make it anew by mask --exclude")
    if (path / "pairs.txt").is_file():
        raise UsageError(f"{path} holds a pairs.txt, which names people: make it anew by `facemae convert`")
    return source, manifest


def _target(path: Path) -> Path:
    """The dataset as an output is named."""
    return rec_file(path) if kind_of(path) == "rec" else path


@dataclass(frozen=True)
class _Job:
    """One dataset, and the numbers of the faces that leave it."""

    path: Path
    source: FaceSource
    manifest: Manifest
    left_out: set[int]

    def run(self, listed: PeopleList, threads: int, progress: Progress) -> None:
        """Writes the dataset without them aside, and puts it in place of the old one, which is removed."""
        kept = Subset(self.source, self.left_out)
        plan = {
            "command": "withdraw",
            "version": __version__,
            "input": fingerprint(kept),
            "faces": len(kept),
            "list": listed.digest,
            "withdrawn": len(self.left_out),
        }
        progress.start("withdraw", len(kept))
        with open_output(_target(self.path), plan=plan, overwrite=True) as output:
            for number, image in enumerate(self._images(kept, threads), 1):
                output.write(kept.name(number - 1), image)
                if number % UNIT == 0:
                    output.commit()
                progress.advance()
            left = self._left(len(kept))
            output.finish(left, beside=self._published(kept, left))

    def _images(self, kept: FaceSource, threads: int) -> Iterator[bytes]:
        with closing(ordered_map(kept.read, range(len(kept)), threads)) as images:
            yield from images

    def _published(self, kept: FaceSource, left: Manifest) -> dict[str, str] | None:
        """The card anew, where there is one: without figures, which were measured with those withdrawn."""
        target = _target(self.path)
        if not beside_path(target, CARD).is_file():
            return None
        known = bundled((left.model or {}).get("sha256", ""))
        facts = Facts(
            left,
            format_of(target),
            suffix_of(kept.read(0)),
            kept.name(0).identity is not None,
            ModelFacts.of(left, known.name if known else None, known.card if known else None),
            elsewhere=measured_elsewhere(left),
        )
        return published_files(facts, target)

    def _left(self, faces: int) -> Manifest:
        before = self.manifest.extra.get("withdrawn", 0)
        extra = {**self.manifest.extra, "withdrawn": int(before) + len(self.left_out)}
        return replace(self.manifest, counts={**self.manifest.counts, "out": faces}, extra=extra)
