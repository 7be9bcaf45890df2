"""Turn a dataset of faces, or a verification pack, into any other format; the images stay the bytes they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli import __version__
from facemae_cli.data.digest import faces_digest
from facemae_cli.data.faces import FaceSource, Name, NotRead, Refusal, count_reasons, input_plan, no_faces
from facemae_cli.data.images.codec import suffix_of
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.output.output import Made, Output, check_output, open_output
from facemae_cli.data.output.taken_out import taken_out, warn_of_return
from facemae_cli.data.packs.pairs import FOLDS, Photo, format_pairs, sample_pairs
from facemae_cli.data.packs.source import PackSource, open_pack
from facemae_cli.data.packs.writer import check_free, copied_manifest, whole_face, whole_pairs, write_bin
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.evaluation.publication import facts_of
from facemae_cli.reports.publication.facts import read_figures, require_same_faces
from facemae_cli.reports.publication.files import published_files
from facemae_cli.reports.text import counted
from facemae_cli.runtime.paths import as_paths
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

UNIT = 512  # faces made durable together
PAIRS = 6000  # as LFW has


@dataclass(frozen=True)
class ConvertResult:
    """What `convert` did: `faces` of `faces_in` are in `out` now, and `pairs` where it is a verification pack."""

    input: Path
    out: Path
    format_in: str
    format_out: str
    faces_in: int
    faces: int
    pairs: int | None = None
    notes: Sequence[str] = ()
    refused: Sequence[Refusal] = ()
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "schema": 1,
            "command": "convert",
            "in": str(self.input),
            "out": str(self.out),
            "format": {"in": self.format_in, "out": self.format_out},
            "faces": {"in": self.faces_in, "out": self.faces, "refused": count_reasons(self.refused)},
            "pairs": self.pairs,
            "notes": list(self.notes),
            **self.not_read.as_json(),
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [("converted", f"{self.faces} of {self.faces_in} faces -> {self.out}")]
        rows += [] if self.pairs is None else [("pairs", str(self.pairs))]
        rows += self.not_read.rows()
        return rows + [("note", note) for note in self.notes]


def convert(
    input: str | Path,
    out: str | Path,
    *,
    pairs: int | None = None,
    seed: int = 0,
    audit: Sequence[str | Path] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> ConvertResult:
    """Copies every face of `input` into `out`, in another format.

    Image bytes are copied as they are, metadata included, and names are copied and never hashed. A pack becomes a
    folder with a `pairs.txt`, or a `.rec` without pairs.

    input: the faces: a folder of images, a .rec, .parquet, .zip or .tar, or a pack (.bin or pairs.txt).
    out: what to write: a folder, `.rec` or Parquet, or a pack (`.bin`, or `pairs.txt` in a folder).
    pairs: pairs sampled by LFW's protocol where a pack is made of faces that have no `pairs.txt`; None: 6000.
    seed: where the samples of pairs come from.
    audit: files with the JSON of `leakage` and `verify`, whose figures the card beside the output repeats; None: none.
    overwrite: whether an output that exists is replaced; False: it is refused.
    resume: whether to go on where a stopped run of the same arguments ended; False: start over.
    workers: threads that read and write images; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; a face whose image is damaged is refused and listed in the result.
    """
    input, out = Path(input), Path(out)
    threads = thread_count(workers)
    if pairs is not None and pairs < 2 * FOLDS:
        raise UsageError(f"--pairs {pairs} is under {2 * FOLDS}, one of each kind in each of {FOLDS} folds")
    source, target = _open(input, out), kind_of(out)
    if not len(source) and not source.refused:
        raise InputError(no_faces(source, "--in takes a dataset or a verification pack"))
    if pairs is not None and (isinstance(source, PackSource) or target != "pack"):
        raise UsageError("--pairs samples pairs for a .bin or pairs.txt out of faces that have none; leave it out here")
    job = _Job(source, threads, progress, as_paths(audit) or [])
    job.check_audits(published=out.suffix.lower() != ".bin")
    _require_as_many(source)
    if overwrite:
        place = out.parent if out.name == "pairs.txt" else out
        warn_of_return(place, taken_out(job.manifest(0, [])), progress)
    paired: _Pairs | None = None
    if target == "pack" and out.name != "pairs.txt":
        _refuse_existing(input, out, overwrite, resume)
        paired = _Pairs.of(source, pairs, seed)
        written = job.write_bin(out, paired)
    else:
        if target == "pack" or (target == "folder" and isinstance(source, PackSource)):
            paired = _Pairs.of(source, pairs, seed)
        written = job.copy(out.parent if target == "pack" else out, paired, overwrite, resume)
    notes = [*_lost_pairs(source, target), *(paired.notes if paired else ()), *written.notes]
    refused = [*source.refused, *written.refused]
    faces = len(source) + len(source.refused)
    return ConvertResult(
        input, out, source.kind, target, faces, written.faces, written.pairs, notes, refused, NotRead.of(source)
    )


def _require_as_many(source: FaceSource) -> None:
    """Raises InputError for masked and released datasets with more faces than facemae wrote: the card would say of any
    photo that was put there that it is reconstructed."""
    manifest = None if isinstance(source, PackSource) else read_manifest(source.path)
    made = None if manifest is None or manifest.mask_ratio is None else manifest.counts.get("out")
    if isinstance(made, int) and len(source) > made:
        raise InputError(
            f"{source.path} holds {len(source)} faces, and facemae wrote {made} of them: take out those that were added"
        )


def _lost_pairs(source: FaceSource, target: str) -> list[str]:
    """What a person might miss in the output."""
    if isinstance(source, PackSource):
        alone = "of a pack the faces of its pairs alone are copied: give the folder itself for all of its photos"
        return [alone] if source.path.name == "pairs.txt" and target != "pack" else []
    if target != "pack" and (source.path / "pairs.txt").is_file():
        return [f"its pairs.txt is not copied: --in {source.path / 'pairs.txt'} copies pairs with their faces"]
    return []


def _open(input: Path, out: Path) -> FaceSource:
    """The input; a folder with a `pairs.txt` counts as a pack where a pack is made of it."""
    if input.is_dir() and (input / "pairs.txt").is_file() and kind_of(out) == "pack":
        return open_pack(input / "pairs.txt")
    return open_pack(input) if input.exists() and kind_of(input) == "pack" else open_source(input)


def _refuse_existing(input: Path, out: Path, overwrite: bool, resume: bool) -> None:
    check_free(out, input, overwrite=True)
    if out.exists() and resume and not overwrite:
        raise UsageError(f"--resume: {out} is complete already; --overwrite recreates it")
    check_free(out, input, overwrite)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a source's faces: `faces` (n, 2) int64 indexes, `same` (n,) bool; `photos`: how each face is called;
    `notes`: how they were chosen, where they were."""

    faces: NDArray[np.int64]
    same: NDArray[np.bool_]
    photos: Sequence[Photo | None]
    notes: Sequence[str] = ()

    @classmethod
    def of(cls, source: FaceSource, count: int | None, seed: int) -> _Pairs:
        """A pack's own, or else sampled ones. Raises InputError."""
        if isinstance(source, PackSource):
            return cls(source.pairs, source.same, [source.photo(index) for index in range(len(source))])
        identities = [source.name(index).identity for index in range(len(source))]
        faces, same = sample_pairs(identities, count or PAIRS, seed)
        few = f", as many as its people allow of {count or PAIRS}" if len(same) < (count or PAIRS) else ""
        numbers: Counter[str] = Counter()
        photos = []
        for identity in identities:
            numbers[identity or ""] += 1
            photos.append(None if identity is None else Photo(identity, numbers[identity]))
        return cls(faces, same, photos, [f"sampled {counted(len(same), 'pair')} from seed {seed}{few}"])

    def text(self, left: NDArray[np.int64]) -> str:
        """The `pairs.txt` of the pairs that are numbers `left`."""
        rows = zip(self.faces[left].tolist(), self.same[left].tolist(), strict=True)
        return format_pairs([(self.photos[first], self.photos[second], one) for (first, second), one in rows])


@dataclass(frozen=True)
class _Written:
    """What a run wrote: `faces`, and of its pairs, where it has any, how many, and how many it left out."""

    faces: int
    refused: Sequence[Refusal]
    pairs: int | None = None
    left_out: int = 0

    @property
    def notes(self) -> list[str]:
        """What a person should know of it."""
        return [f"{counted(self.left_out, 'pair')} left out for a face that is refused"] if self.left_out else []


@dataclass(frozen=True)
class _Job:
    """One run: what is read, and by how many threads."""

    source: FaceSource
    workers: int
    progress: Progress
    audits: Sequence[Path] = ()

    def check_audits(self, published: bool) -> None:
        """Before any work. Raises InputError and UsageError for audits that no card can repeat."""
        manifest = self.manifest(0, [])
        if self.audits and not (published and manifest.mask_ratio is not None):
            raise UsageError(
                "--audit goes into the card of a masked or released dataset, and none is written here: leave it out"
            )
        read_figures(self.audits, manifest)

    def _digest(self) -> str:
        return faces_digest(self.source, range(len(self.source)), self.workers, self.progress)

    def write_bin(self, out: Path, pairs: _Pairs) -> _Written:
        """A `.bin` of the pairs, and its manifest beside it as `X.bin.facemae.json`."""
        made = write_bin(
            out, self.source, pairs.faces, pairs.same, command="convert", threads=self.workers, progress=self.progress
        )
        return _Written(made.faces, made.refused, made.pairs, made.left_out)

    def copy(self, out: Path, pairs: _Pairs | None, overwrite: bool, resume: bool) -> _Written:
        """Every face into a folder or `.rec`. Into a folder with `pairs`, each is called as LFW calls its own, and a
        `pairs.txt` makes the folder a pack."""
        source = self.source
        plan = self.plan() | {"called": "as they are" if pairs is None else "as LFW calls its photos"}
        if self.audits:
            check_output(out, overwrite=overwrite, resume=resume, inputs=(source.path,))  # before every face is read
            require_same_faces(self.audits, self._digest)
        with open_output(out, plan=plan, overwrite=overwrite, resume=resume, inputs=(source.path,)) as output:
            self._write_faces(output, source.name if pairs is None else lambda index: _photo_name(pairs.photos[index]))
            refused = [*source.refused, *output.refused]
            manifest = self.manifest(output.faces, refused)
            beside = self._published(manifest, out) if manifest.mask_ratio is not None else None
            if pairs is None:
                output.finish(manifest, refused=refused, beside=beside)
                return _Written(output.faces, output.refused)
            left = partial(whole_pairs, source.path, pairs.faces, self._lost(refused))
            output.finish(manifest, refused=refused, pairs=lambda: pairs.text(left()), beside=beside)
            return _Written(output.faces, output.refused, len(left()), len(pairs.same) - len(left()))

    def _write_faces(self, output: Output, name: Callable[[int], Name]) -> None:
        """What is not there yet, a unit at a time."""
        start = min(output.units_done * UNIT, len(self.source))
        self.progress.start("convert", len(self.source), done=start)
        with closing(ordered_map(self._face, range(start, len(self.source)), self.workers)) as faces:
            for first in range(start, len(self.source), UNIT):
                output.write_unit(
                    self._made(index, face, name) for index, face in enumerate(islice(faces, UNIT), first)
                )

    def _published(self, manifest: Manifest, out: Path) -> dict[str, str]:
        """The card of what facemae masked or released, and Croissant; of other datasets nothing is known."""
        return published_files(facts_of(self.source, manifest, out, self._suffix(), audits=self.audits), out)

    def _suffix(self) -> str:
        """What the first whole images are."""
        firsts = (self._face(index) for index in range(len(self.source)))
        return next((suffix_of(face) for face in firsts if not isinstance(face, FaceError)), ".jpg")

    def _lost(self, refused: Sequence[Refusal]) -> set[int]:
        """The faces that are refused."""
        source, places = self.source, {item.where for item in refused}
        return {index for index in range(len(source)) if source.where(index) in places} if places else set()

    def _face(self, index: int) -> bytes | FaceError:
        """The bytes of a face, or why there are none."""
        return whole_face(self.source, index)

    def _made(self, index: int, face: bytes | FaceError, name: Callable[[int], Name]) -> Made:
        where = self.source.where(index)
        self.progress.advance()
        try:
            if isinstance(face, FaceError):
                raise face
            return Made(where, name(index), face)
        except FaceError as error:
            return Made(where, error=error)

    def plan(self) -> dict[str, Any]:
        """What a resumed run must have in common with the stopped one."""
        return {
            "command": "convert",
            "version": __version__,
            "unit": UNIT,
            **input_plan(self.source),
        }

    def manifest(self, faces: int, refused: Sequence[Refusal]) -> Manifest:
        """What the input's manifest says of its faces."""
        return copied_manifest(self.source, "convert", faces, refused)


def _photo_name(photo: Photo | None) -> Name:
    """The file of a photo in LFW's layout. Raises FaceError where a `pairs.txt` could not name it."""
    if photo is None:
        raise FaceError("no-identity", "a face without identity has no place in a pairs.txt")
    if photo.name != photo.name.strip() or not photo.name.isprintable():
        raise FaceError("bad-name", f"{photo.name[:80]!r} cannot stand in a pairs.txt: rename the person's folder")
    identity, _, stem = photo.stem.rpartition("/")
    return Name(identity, stem)
