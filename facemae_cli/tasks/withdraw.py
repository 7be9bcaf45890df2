"""Take people or photos out of datasets that were made from them: masked, released and converted ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facemae_cli import __version__
from facemae_cli.data.faces import FaceSource, Name, NotRead, fingerprint, has_people
from facemae_cli.data.files import disk_errors, require_outside, require_writable
from facemae_cli.data.images.codec import suffix_of
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.names import one_line
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.output.beside import BESIDE, CROISSANT, beside_path
from facemae_cli.data.output.output import Output, check_output, end_stopped, open_output
from facemae_cli.data.output.ways_out import WaysOut
from facemae_cli.data.recordio.sidecars import rec_file, sidecar
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.data.subset import Subset
from facemae_cli.errors import FaceError, FacemaeError, InputError, OutputError, UsageError
from facemae_cli.evaluation.leakage.sources import Sources, read_sources
from facemae_cli.evaluation.publication import facts_of
from facemae_cli.masking.key import DEFAULT_KEY_FILE, Key
from facemae_cli.masking.people_list import PeopleList, is_photo, raw_names
from facemae_cli.reports.publication.revision import revised_files
from facemae_cli.reports.text import counted
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

UNIT = 512  # faces made durable together
# What outputs advise of a dataset that is changed where it stands, by a command without these options.
WAYS = WaysOut("run again", "remove the folder it is in", replacing="withdraw", option=None)


@dataclass(frozen=True)
class Withdrawal:
    """What was taken out of one dataset: `withdrawn` faces; it keeps `left`; `unknown` lines match nobody in it.

    `foreign`: the parts of its card and Croissant that hold what facemae did not write, which stays.
    `not_read`: what of its place is not part of it, so that nobody was looked for there; where the dataset was
    changed, it went with the old folder."""

    dataset: Path
    withdrawn: int
    left: int
    unknown: int = 0
    foreign: Sequence[str] = ()
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON types."""
        faces = {"withdrawn": self.withdrawn, "left": self.left, "changed": self.withdrawn > 0, "unknown": self.unknown}
        return {"dataset": str(self.dataset), **faces, "foreign": [*self.foreign], **self.not_read.as_json()}

    def rows(self) -> list[tuple[str, str]]:
        """The same for a person."""
        lines = self.not_read.lines(str(self.dataset))
        if lines and self.withdrawn:
            lines.append(f"what was passed over in {self.dataset} is gone with its old folder")
        if self.unknown:
            unknown = counted(self.unknown, "line")
            lines.append(f"nobody in {self.dataset} matches {unknown} of the list: refused before, or renamed")
        if self.foreign:
            parts = ", ".join(one_line(part) for part in self.foreign)
            lines.append(
                f"the card of {self.dataset} keeps what facemae did not write ({parts}): see that it still holds"
            )
        left = f"{self.left} {'is' if self.left == 1 else 'are'} left"
        faces = f"{counted(self.withdrawn, 'face')} from {self.dataset}, {left}"
        return [("withdrawn", faces), *(("note", line) for line in lines)]


@dataclass(frozen=True)
class WithdrawResult:
    """What `withdraw` did, a dataset each, for a list of `entries` people and photos."""

    datasets: list[Withdrawal]
    entries: int
    notes: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """The result for machines, which names nobody."""
        datasets = [one.as_json() for one in self.datasets]
        return {
            "schema": 1, "command": "withdraw", "entries": self.entries, "datasets": datasets, "notes": [*self.notes]
        }  # fmt: skip

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [row for one in self.datasets for row in one.rows()]
        rest = "the raw photos, copies handed on, models trained on them, caches and reports are not touched"
        return [*rows, *(("note", note) for note in (*self.notes, rest))]


def withdraw(
    datasets: Sequence[str | Path],
    *,
    people: str | Path,
    key: str | Path = DEFAULT_KEY_FILE,
    raw: str | Path | None = None,
    sources: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> WithdrawResult:
    """Takes people or photos out of `datasets`, each at once: a reader sees it as it was or without them.

    datasets: folders, `.rec` and Parquet that carry our manifest. All other images keep their bytes and names; numbers
        in a `.rec` close up, as if those withdrawn had never been in it.
    people: a text file with a person, or a photo as person/file, per line, called as in the raw dataset.
    key: the key the datasets were masked with; not needed where names were kept.
    raw: the raw dataset, whose names tell which subfolders a person has: these have pseudonyms of their own. None: a
        line means those of a keyed dataset who stand in that very folder.
    sources: of whom each face of mixed datasets was made, as `mask --protect` wrote it; all that show part of a person
        go with the person.
    workers: threads; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Everything is checked, and all datasets are written whole aside, before anything is changed; but where a stopped run
    was just putting a dataset in its place, that is ended first, and the same list goes on with the others.

    Raises UsageError where a line names nobody in any of the datasets, for another key, where nobody would be left, and
    where another command's stopped run waits beside a dataset; InputError and OutputError.
    """
    threads = thread_count(workers)
    places = [Path(each) for each in datasets]
    if not places:
        raise UsageError("no dataset is given: name those to take people out of, such as masked and released")
    require_outside(Path(people), places, "--people")
    listed = PeopleList.read(Path(people), "--people")
    whom = _Whom(
        listed,
        None if sources is None else read_sources(Path(sources)),
        None if raw is None else raw_names(open_source(Path(raw)), "--raw"),
    )
    stopped = {path: faces for path in places if (faces := _end_stopped(path, listed)) is not None}
    jobs, keyed = _planned(places, whom, Path(key), all_found=bool(stopped))
    foreign = _replace([job for job in jobs if job.left_out], listed, threads, progress)
    done = []
    for job in jobs:
        left, withdrawn = len(job.source) - len(job.left_out), len(job.left_out) + stopped.get(job.path, 0)
        unknown = 0 if job.path in stopped else job.unknown
        done.append(Withdrawal(job.path, withdrawn, left, unknown, foreign.get(job.path, ()), NotRead.of(job.source)))
    return WithdrawResult(done, len(listed.lines), whom.notes() if keyed else ())


@dataclass(frozen=True)
class _Whom:
    """Who is withdrawn: whom a list names, of whom mixed faces were made, and the names of the raw dataset; each None
    where it is not given."""

    listed: PeopleList
    sources: Sources | None
    raw: Sequence[Name] | None

    def faces(self, path: Path, source: FaceSource, mixed: bool, key: Key | None) -> dict[str, set[int]]:
        """For each line of the list the faces of a dataset that show something of whom it means."""
        if not mixed:
            return self.listed.find(_names(source), key, self.raw or ())
        if self.sources is None:
            raise UsageError(
                f"{path} holds mixed faces: say of whom they were made by --sources, the file that `mask --protect` "
                "wrote"
            )
        parts = [(face, Name(*part)) for face, made in enumerate(self.sources.of(source)) for part in made]
        found = self.listed.find([name for _, name in parts], None)
        return {line: {parts[number][0] for number in numbers} for line, numbers in found.items()}

    def notes(self) -> list[str]:
        """What may be left in a dataset under pseudonyms."""
        if self.raw is None:
            folders = sum(not is_photo(line) for line in self.listed.lines)
            left = (
                f"whoever stands in subfolders of the {counted(folders, 'folder')} listed is somebody else under a key"
            )
            return [f"{left}: --raw DATA, the raw dataset, finds them, or list them one by one"] if folders else []
        lost = [line for line, faces in self.listed.find(self.raw, None).items() if not faces]
        if not lost:
            return []
        lines = counted(len(self.listed.lines), "line")
        return [f"nobody in --raw matches {len(lost)} of {lines}, so subfolders of theirs are not known"]


def _end_stopped(path: Path, listed: PeopleList) -> int | None:
    """Puts a dataset in its place where a run with this list had it complete, or any run was stopped doing so. How many
    faces that run took out, where it had this list."""
    targets = [path] if path.suffix.lower() in (".rec", ".parquet") else [path, path / "train.rec"]
    plans = [_end(target, listed) for target in targets if os.path.lexists(target.parent)]
    return next((plan["withdrawn"] for plan in plans if plan and plan["list"] == listed.digest), None)


def _end(target: Path, listed: PeopleList | None) -> Mapping[str, Any] | None:
    return end_stopped(target, "withdraw", lambda plan: listed is not None and plan["list"] == listed.digest, WAYS)


def _replace(jobs: Sequence[_Job], listed: PeopleList, threads: int, progress: Progress) -> dict[Path, list[str]]:
    """Puts each dataset without them in place of the old one, once all of them are written whole aside. By dataset, the
    parts of its card with lines of others."""
    try:
        foreign = {job.path: job.write(listed, threads, progress) for job in jobs}
    except FacemaeError:
        for job in jobs:
            with suppress(FacemaeError):
                _end(job.target, None)
        raise
    for job in jobs:
        if _end(job.target, listed) is None:
            raise OutputError(f"what was written to replace {job.path} is gone: run again")
    return foreign


def _planned(places: Sequence[Path], whom: _Whom, key: Path, all_found: bool) -> tuple[list[_Job], bool]:
    """What is to be done with each dataset, all of it checked, and whether people are looked for by pseudonym in one;
    `all_found`: whether every line was found before. Raises UsageError and InputError."""
    opened = [_open(path) for path in places]
    keyed = any(_is_keyed(manifest) and not manifest.mixed_people for _, manifest in opened)
    secret = Key.load(key, outside=places) if any(_is_keyed(manifest) for _, manifest in opened) else None
    jobs, found, listed = [], set[str](), whom.listed
    for path, (source, manifest) in zip(places, opened, strict=True):
        if secret is not None and _is_keyed(manifest) and manifest.key_id != secret.key_id:
            raise UsageError(
                f"{path} was masked with another key (key_id {manifest.key_id}, {key} has {secret.key_id}): give that "
                "one by --key"
            )
        faces = whom.faces(path, source, manifest.mixed_people > 0, secret)
        found |= {line for line, numbers in faces.items() if numbers}
        left_out = set[int]().union(*faces.values())
        if len(left_out) == len(source):
            raise UsageError(f"{listed.path} names everybody in {path}: remove the dataset itself")
        job = _Job(path, source, manifest, left_out, sum(not numbers for numbers in faces.values()))
        job.check()
        jobs.append(job)
    if not all_found:
        unseen = " (subfolders are found by --raw alone)" if keyed and whom.raw is None else ""
        listed.require_found([*found], "--people", " and ".join(map(str, places)) + unseen)
    return jobs, keyed


def _is_keyed(manifest: Manifest) -> bool:
    """Whether names in a dataset may be pseudonyms."""
    return manifest.key_id is not None and manifest.names != "kept"


def _names(source: FaceSource) -> list[Name]:
    return [source.name(index) for index in range(len(source))]


def _open(path: Path) -> tuple[FaceSource, Manifest]:
    if os.path.exists(path) and kind_of(path) == "pack":
        raise UsageError(f"{path} is a verification pack: recreate it by `facemae convert` from what is left")
    source = open_source(path, whole=True)
    manifest = read_manifest(path)
    if manifest is None:
        raise UsageError(f"{path} carries no facemae.json, so it was not made by facemae, and is left alone")
    if source.refused:
        item = source.refused[0]
        raise InputError(
            f"{path} is damaged ({item.where}: {item.detail}): repair it, or recreate it by mask --exclude"
        )
    if isinstance(source, RecSource) and not all(map(source.is_named, range(len(source)))):
        lst = sidecar(source.rec, "lst")
        raise UsageError(f"{path} does not say of each face who it is: put {lst} back, or recreate {path} by convert")
    if (path / "pairs.txt").is_file():
        raise UsageError(f"{path} holds a pairs.txt, which names people: recreate it by `facemae convert`")
    return source, manifest


@dataclass(frozen=True)
class _Job:
    """One dataset, the numbers of the faces that leave it, and how many lines match nobody in it."""

    path: Path
    source: FaceSource
    manifest: Manifest
    left_out: set[int]
    unknown: int

    @property
    def target(self) -> Path:
        """The dataset as an output is named."""
        return rec_file(self.path) if kind_of(self.path) == "rec" else self.path

    def check(self) -> None:
        """Raises UsageError where the dataset cannot be replaced, OutputError where the old one cannot be removed."""
        check_output(self.target, overwrite=True, ways=WAYS)
        with disk_errors(self.path):
            for folder, _, _ in os.walk(self.target):
                require_writable(Path(folder))

    def write(self, listed: PeopleList, threads: int, progress: Progress) -> list[str]:
        """Writes the dataset without them aside; the parts of its card with lines of others."""
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
        with open_output(self.target, plan=plan, overwrite=True, ways=WAYS) as output:
            self._copy(kept, output, threads, progress)
            left = self._left(len(kept))
            published, foreign = self._published(kept, left)
            output.finish(left, beside=published, in_place=False)
        return foreign

    def _copy(self, kept: FaceSource, output: Output, threads: int, progress: Progress) -> None:
        done = 0
        try:
            with closing(ordered_map(kept.read, range(len(kept)), threads)) as images:
                for image in images:
                    output.write(kept.name(done), image)
                    done += 1
                    if done % UNIT == 0:
                        output.commit()
                    progress.advance()
        except FaceError as error:
            raise InputError(
                f"{one_line(kept.where(done))} cannot be kept ({error.detail}): repair it, or recreate {self.path} by "
                "mask --exclude"
            ) from error

    def _published(self, kept: FaceSource, left: Manifest) -> tuple[dict[str, str], list[str]]:
        """The card and Croissant, where they are: without figures, which were measured with those withdrawn."""
        places = {name: beside_path(self.target, name) for name in BESIDE}
        texts = {name: path.read_text("utf-8", "surrogateescape") for name, path in places.items() if path.is_file()}
        facts = facts_of(kept, left, self.target, suffix_of(kept.read(0)))
        before = replace(facts, manifest=self.manifest, people=has_people(self.source))
        try:
            return revised_files(texts, before, facts, self.target)
        except ValueError as error:
            raise InputError(f"{places[CROISSANT]} is not JSON ({error}): repair it, or remove it") from error

    def _left(self, faces: int) -> Manifest:
        before = self.manifest.extra.get("withdrawn", 0)
        extra = {**self.manifest.extra, "withdrawn": int(before) + len(self.left_out)}
        return replace(self.manifest, counts={**self.manifest.counts, "out": faces}, extra=extra)
