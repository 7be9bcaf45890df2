"""Turn a dataset of faces, or a verification pack, into any other format; the images stay the bytes they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli import __version__
from facemae_cli.data.faces import FaceSource, Name, NotRead, Refusal, count_reasons, input_plan
from facemae_cli.data.images.codec import suffix_of
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.output.output import Made, open_output
from facemae_cli.data.packs.pairs import FOLDS, Photo, format_pairs, sample_pairs
from facemae_cli.data.packs.source import PackSource, open_pack
from facemae_cli.data.packs.writer import check_free, copied_manifest, whole_face, whole_pairs, write_bin
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking.levels import measured_elsewhere
from facemae_cli.networks.zoo import bundled
from facemae_cli.reports.publication.facts import Facts, ModelFacts, read_figures
from facemae_cli.reports.publication.files import format_of, published_files
from facemae_cli.runtime.paths import as_paths
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

UNIT = 512  # faces made durable together
PROBED = 8  # faces looked at to tell whether there are people
PAIRS = 6000  # as LFW has


@dataclass
class ConvertResult:
    """What `convert` did: `faces` of `faces_in` are in `out` now, and `pairs` where it is a verification pack."""

    input: Path
    out: Path
    format_in: str
    format_out: str
    faces_in: int
    faces: int = 0
    pairs: int | None = None
    notes: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "command": "convert",
            "in": str(self.input),
            "out": str(self.out),
            "format": {"in": self.format_in, "out": self.format_out},
            "faces": {"in": self.faces_in, "out": self.faces, "refused": count_reasons(self.refused)},
            "pairs": self.pairs,
            "notes": self.notes,
            **self.not_read.as_json(),
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [("converted", f"{self.faces} of {self.faces_in} faces -> {self.out}")]
        rows += [] if self.pairs is None else [("pairs", str(self.pairs))]
        rows += self.not_read.rows()
        return rows + [("note", note) for note in self.notes]

    def count_pairs(self, pairs: int, left_out: int) -> None:
        """Takes in how many pairs were written, and how many were not."""
        self.pairs = pairs
        if left_out:
            self.notes.append(f"{left_out} pairs are left out, since a face of theirs is refused")


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

    input: the faces, a folder, a `.rec`, a `.bin`, or a folder with `pairs.txt`.
    out: what to write, of any of these formats.
    pairs: pairs sampled by LFW's protocol where a pack is made of faces that have no `pairs.txt`; None: 6000.
    seed: where the samples of pairs come from.
    audit: files with the JSON of `leakage` and `verify`, whose figures the card beside the output repeats; None: none.
    overwrite: whether an output that exists is replaced; False: it is refused.
    resume: whether to go on where a stopped run of the same arguments ended; False: start anew.
    workers: threads that read and write images; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; a face whose image is damaged is refused and listed in the result.
    """
    input, out = Path(input), Path(out)
    threads = thread_count(workers)
    if pairs is not None and pairs < 2 * FOLDS:
        raise UsageError(f"--pairs {pairs} is under {2 * FOLDS}, one of each kind in each of {FOLDS} folds")
    source, target = _open(input, out), kind_of(out)
    if pairs is not None and (isinstance(source, PackSource) or target != "pack"):
        raise UsageError("--pairs samples pairs for a .bin or pairs.txt out of faces that have none; leave it out here")
    faces = len(source) + len(source.refused)
    result = ConvertResult(input, out, source.kind, target, faces, not_read=NotRead.of(source))
    result.refused += source.refused
    job = _Job(source, result, threads, progress, as_paths(audit) or [])
    read_figures(job.audits, job.manifest())  # before any work
    if target == "pack" and out.name != "pairs.txt":
        _refuse_existing(input, out, overwrite, resume)
        job.write_bin(_Pairs.of(source, pairs, seed, result))
    elif target == "pack" or (target == "folder" and isinstance(source, PackSource)):
        job.write_folder(
            out if target == "folder" else out.parent, _Pairs.of(source, pairs, seed, result), overwrite, resume
        )
    else:
        job.copy(out, source.name, overwrite, resume)
    return result


def _open(input: Path, out: Path) -> FaceSource:
    """The input; a folder with a `pairs.txt` counts as a pack where a pack is made of it."""
    if input.is_dir() and (input / "pairs.txt").is_file() and kind_of(out) == "pack":
        return open_pack(input / "pairs.txt")
    return open_pack(input) if input.exists() and kind_of(input) == "pack" else open_source(input)


def _refuse_existing(input: Path, out: Path, overwrite: bool, resume: bool) -> None:
    check_free(out, input, overwrite=True)
    if out.exists() and resume and not overwrite:
        raise UsageError(f"--resume: {out} is complete already; --overwrite makes it anew")
    check_free(out, input, overwrite)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a source's faces: `faces` (n, 2) int64 indexes, `same` (n,) bool; `photos`: how each face is called."""

    faces: NDArray[np.int64]
    same: NDArray[np.bool_]
    photos: list[Photo | None]

    @classmethod
    def of(cls, source: FaceSource, count: int | None, seed: int, result: ConvertResult) -> _Pairs:
        """A pack's own, or else drawn ones, of which `result` gets a note. Raises InputError."""
        if isinstance(source, PackSource):
            return cls(source.pairs, source.same, [source.photo(index) for index in range(len(source))])
        identities = [source.name(index).identity for index in range(len(source))]
        faces, same = sample_pairs(identities, count or PAIRS, seed)
        few = f", as many as its people allow of {count or PAIRS}" if len(same) < (count or PAIRS) else ""
        result.notes.append(f"{len(same)} pairs were sampled from seed {seed}{few}")
        numbers: Counter[str] = Counter()
        photos = []
        for identity in identities:
            numbers[identity or ""] += 1
            photos.append(None if identity is None else Photo(identity, numbers[identity]))
        return cls(faces, same, photos)

    def without(self, lost: Collection[int], result: ConvertResult) -> _Pairs:
        """The pairs both of whose faces are left; `result` gets their number. Raises InputError where none are."""
        left = whole_pairs(result.input, self.faces, lost)
        result.count_pairs(len(left), len(self.same) - len(left))
        return _Pairs(self.faces[left], self.same[left], self.photos)


@dataclass
class _Job:
    """One run: what is read, by how many threads, and the result that is filled in."""

    source: FaceSource
    result: ConvertResult
    workers: int
    progress: Progress
    audits: Sequence[Path] = ()

    def face(self, index: int) -> bytes | FaceError:
        """The bytes of a face, or why there are none."""
        return whole_face(self.source, index)

    def refusal(self, index: int, error: FaceError) -> Refusal:
        return Refusal(self.source.where(index), error.reason, error.detail)

    def write_bin(self, pairs: _Pairs) -> None:
        """A `.bin` of the pairs, and its manifest beside it as `X.bin.facemae.json`."""
        made = write_bin(
            self.result.out,
            self.source,
            pairs.faces,
            pairs.same,
            command="convert",
            threads=self.workers,
            progress=self.progress,
        )
        self.result.faces = made.faces
        self.result.refused += made.refused
        self.result.count_pairs(made.pairs, made.left_out)

    def write_folder(self, folder: Path, pairs: _Pairs, overwrite: bool, resume: bool) -> None:
        """A folder of images as LFW calls them, with the `pairs.txt` that makes it a pack."""

        def text() -> str:
            left = pairs.without(self._lost(), self.result)
            rows = zip(left.faces.tolist(), left.same.tolist(), strict=True)
            return format_pairs([(left.photos[first], left.photos[second], one) for (first, second), one in rows])

        self.copy(folder, lambda index: _photo_name(pairs.photos[index]), overwrite, resume, text)

    def copy(
        self,
        out: Path,
        name: Callable[[int], Name],
        overwrite: bool,
        resume: bool,
        pairs: Callable[[], str] | None = None,
    ) -> None:
        """Every face into a folder or `.rec` under `name`; `pairs`, asked last, gives the text of a `pairs.txt`."""
        source = self.source
        inputs = (source.path.parent if source.path.name == "pairs.txt" else source.path,)
        with open_output(out, plan=self.plan(), overwrite=overwrite, resume=resume, inputs=inputs) as output:
            start = min(output.units_done * UNIT, len(source))
            self.progress.start("convert", len(source), done=start)
            with closing(ordered_map(self.face, range(start, len(source)), self.workers)) as faces:
                for first in range(start, len(source), UNIT):
                    output.write_unit(
                        self._made(index, face, name) for index, face in enumerate(islice(faces, UNIT), first)
                    )
            self.result.faces = output.faces
            self.result.refused += output.refused
            manifest = self.manifest()
            beside = self._published(manifest, out) if manifest.mask_ratio is not None else None
            output.finish(manifest, refused=self.result.refused, pairs=pairs, beside=beside)

    def _published(self, manifest: Manifest, out: Path) -> dict[str, str]:
        """The card of what facemae masked or released, and Croissant; of other datasets nothing is known."""
        known = bundled((manifest.model or {}).get("sha256", ""))
        facts = Facts(
            manifest,
            format_of(out),
            self._suffix(),
            any(self.source.name(index).identity is not None for index in range(min(PROBED, len(self.source)))),
            ModelFacts.of(manifest, known.name if known else None, known.card if known else None),
            read_figures(self.audits, manifest),
            elsewhere=measured_elsewhere(manifest),
        )
        return published_files(facts, out)

    def _suffix(self) -> str:
        """What the first whole images are."""
        firsts = (self.face(index) for index in range(len(self.source)))
        return next((suffix_of(face) for face in firsts if not isinstance(face, FaceError)), ".jpg")

    def _lost(self) -> set[int]:
        """The faces that are refused."""
        source, refused = self.source, {item.where for item in self.result.refused}
        return {index for index in range(len(source)) if source.where(index) in refused} if refused else set()

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

    def manifest(self) -> Manifest:
        """What the input's manifest says of its faces."""
        return copied_manifest(self.source, "convert", self.result.faces, self.result.refused)


def _photo_name(photo: Photo | None) -> Name:
    """The file of a photo in LFW's layout. Raises FaceError where a `pairs.txt` could not name it."""
    if photo is None:
        raise FaceError("no-identity", "a face without identity has no place in a pairs.txt")
    if photo.name != photo.name.strip() or not photo.name.isprintable():
        raise FaceError("bad-name", f"{photo.name[:80]!r} cannot stand in a pairs.txt: rename the person's folder")
    identity, _, stem = photo.stem.rpartition("/")
    return Name(identity, stem)
