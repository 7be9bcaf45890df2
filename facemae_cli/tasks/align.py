"""From photos to aligned crops: the faces of each photo found, turned upright, and cut out on the ArcFace template."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from facemae_cli import __version__
from facemae_cli.data.alignment.crop import Choice, Crop, Rules, find_crops
from facemae_cli.data.alignment.detector import Detector, load_detector
from facemae_cli.data.alignment.template import SIZE
from facemae_cli.data.faces import FaceSource, Name, NotRead, Refusal, count_reasons, fingerprint, first, no_faces
from facemae_cli.data.images.codec import decode, encode_jpeg, encode_png, probe, suffix_of
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.names import with_suffix_of
from facemae_cli.data.output.output import Made, Output, check_output, open_output
from facemae_cli.data.output.taken_out import taken_out, warn_of_return
from facemae_cli.data.side_files import SideFile
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.masking.pseudonyms import without_suffix
from facemae_cli.reports import pictures
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

UNIT = 64  # photos made durable together
QUALITY = 95  # of JPEG, chroma at full size
SHOWN = 60  # crops on the sheet of doubtful ones
_DOUBT_OF, _FINE = "doubt of:", 1e6  # in the journal: a photo's number and its face's, and how doubtful, in millionths


@dataclass(frozen=True)
class AlignResult:
    """What `align` did: `faces` crops of `photos` photos are in `out`.

    `several`: photos in which more than one face was seen. `doubts`: crops by what speaks against them (`unsure`: the
    detector is; `near-border`; `soft`; `from-the-side`), of which `doubtful` have at least one.
    """

    out: Path
    photos: int
    faces: int
    several: int
    doubtful: int
    doubts: dict[str, int]
    choice: str
    detector_sha256: str
    not_read: NotRead
    sheet: Path | None
    refused: list[Refusal]

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "schema": 1,
            "command": "align",
            "out": str(self.out),
            "photos": {"in": self.photos, "several_faces": self.several, "refused": count_reasons(self.refused)},
            "faces": {"out": self.faces, "doubtful": self.doubtful, "doubts": self.doubts},
            "chosen": self.choice,
            "size": SIZE,
            "detector": {"name": "yunet", "sha256": self.detector_sha256},
            **self.not_read.as_json(),
            "sheet": None if self.sheet is None else str(self.sheet),
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [("aligned", f"{self.faces} faces of {self.photos} photos -> {self.out}, {SIZE}x{SIZE} pixels each")]
        if self.several:
            taken = {"all": "all were taken", "refuse": "these were refused"}.get(self.choice, f"the {self.choice} one")
            rows.append(("several faces", f"in {self.several} photos: {taken}"))
        if self.doubtful:
            listed = ", ".join(f"{count} {code}" for code, count in self.doubts.items())
            where = f", see {self.sheet}" if self.sheet else "; --doubtful FILE shows them"
            rows.append(("doubtful", f"{self.doubtful} ({listed}){where}"))
        return rows + self.not_read.rows()


def align(
    input: str | Path = Path("photos"),
    out: str | Path = Path("raw"),
    *,
    faces: Choice = "largest",
    detector: str | Path | None = None,
    min_side: int = 48,
    min_sharpness: float = 0.07,
    format: str = "jpg",
    doubtful: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> AlignResult:
    """Finds the faces in the photos of `input` and writes each as a crop of 112x112 pixels on the ArcFace template.

    input: a folder of photos, one folder a person, nested or not; or anything else that holds images.
    out: a folder, `.rec` or Parquet. Names and nesting are kept; further faces of a photo are called `photo.face-2`...
    faces: which of several in a photo: "largest", "centre", "all", or "refuse" the photo.
    detector: YuNet's ONNX file; None: `hf-hub:opencv/face_detection_yunet`, checked against its sha256.
    min_side: pixels a side that a crop must have in the photo.
    min_sharpness: 0 to 1, see `data.alignment.crop.sharpness`; 0 takes any face.
    format: "jpg" (quality 95, 4:4:4) or "png". No metadata of a photo is kept.
    doubtful: a PNG that gets the most doubtful crops. It shows faces, so only its owner may read it (0600).
    overwrite: whether an output that exists is replaced; False: it is refused.
    resume: whether to go on where a stopped run of the same arguments ended; False: start over.
    workers: threads; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError. Photos and faces that cannot be used are refused and listed:
    `no-face`, `several-faces`, `too-small`, `cut-off`, `blurred`, and what decoding refuses.
    """
    input, out = Path(input), Path(out)
    sheet = None if doubtful is None else SideFile(Path(doubtful), "--doubtful", "picture")
    threads = thread_count(workers)
    if format not in ("jpg", "png"):
        raise UsageError(f"--format {format!r} is not known: give jpg or png")
    rules = Rules(faces, min_side, min_sharpness)
    if sheet is not None:
        sheet.check(overwrite=overwrite, resume=resume, places=(input, out))
    check_output(out, overwrite=overwrite, resume=resume, inputs=(input,))
    source = open_source(input)
    _check_input(source, progress)
    warn_of_return(out, taken_out(read_manifest(source.path)), progress)
    job = _Job(
        source, load_detector(None if detector is None else Path(detector)), rules, format, sheet, _Names(source)
    )
    with (
        _single_threaded_opencv(),
        open_output(out, plan=job.plan(), overwrite=overwrite, resume=resume, inputs=(input,)) as output,
    ):
        job.run(output, threads, progress)
        result = job.result(output, out)
        job.finish(output, result, overwrite)
    return result


def _check_input(source: FaceSource, progress: Progress) -> None:
    """Nothing to do for no photos; what is masked has no faces to find; crops are aligned again, with a notice."""
    if not len(source) and not source.refused:
        raise InputError(no_faces(source, "--in takes a folder of photos"))
    manifest = read_manifest(source.path)
    if manifest is not None and manifest.command == "mask":
        raise UsageError(f"{source.path} is a masked dataset, in which no face is left to find; --in takes photos")
    sizes = {_size(source, index) for index in first(source)}
    if sizes == {(SIZE, SIZE)}:
        progress.notice(f"{source.path} holds crops of {SIZE}x{SIZE} pixels, which look aligned: mask takes them as is")


def _size(source: FaceSource, index: int) -> tuple[int, int] | None:
    try:
        info = probe(source.read(index))
    except FaceError:
        return None
    return info.width, info.height


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Photos are spread over threads already."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class _Face(NamedTuple):
    """An encoded crop, and the crop itself where it may come onto the sheet."""

    image: bytes
    crop: Crop


class _Photo(NamedTuple):
    """The faces that are wanted of a photo, or why one is not taken; `seen`: how many are in it."""

    faces: list[_Face | FaceError]
    seen: int


@dataclass
class _Job:
    """One run: what is read, how it is judged, called and written."""

    source: FaceSource
    detector: Detector
    rules: Rules
    format: str
    sheet: SideFile | None
    names: _Names

    def plan(self) -> dict[str, Any]:
        """All that decides on the output's bytes: what a resumed run must have in common with the stopped one."""
        return {
            "command": "align",
            "version": __version__,
            "opencv": cv2.__version__,
            "detector": self.detector.sha256,
            "faces": self.rules.choice,
            "min_side": self.rules.min_side,
            "min_sharpness": self.rules.min_sharpness,
            "format": self.format,
            "unit": UNIT,
            "photos": len(self.source),
            "input": fingerprint(self.source),
        }

    def photo(self, index: int) -> _Photo | FaceError:
        """The faces of one photo, or why there are none. Called from many threads."""
        try:
            found = find_crops(decode(self.source.read(index)), self.detector, self.rules)
        except FaceError as error:
            return error
        faces = [each if isinstance(each, FaceError) else _Face(self._encode(each), each) for each in found.wanted]
        return _Photo(faces, found.seen)

    def _encode(self, crop: Crop) -> bytes:
        return encode_png(crop.image) if self.format == "png" else encode_jpeg(crop.image, QUALITY)

    def run(self, output: Output, workers: int, progress: Progress) -> None:
        """Aligns, unit by unit, what an interrupted run has not."""
        total = len(self.source)
        start = min(output.units_done * UNIT, total)
        progress.start("align", total, "photos", start)
        with closing(ordered_map(self.photo, range(start, total), workers)) as photos:
            for first in range(start, total, UNIT):
                unit = []
                for photo in islice(photos, UNIT):
                    unit.append(photo)
                    progress.advance()
                self._write(output, first, unit)

    def _write(self, output: Output, first: int, photos: Sequence[_Photo | FaceError]) -> None:
        """Writes the faces of the photos from number `first` on."""
        made = (
            self._made(index, number, face)
            for index, photo in enumerate(photos, first)
            for number, face in enumerate([photo] if isinstance(photo, FaceError) else photo.faces, 1)
        )
        output.write_unit(made, {"several": sum(map(_has_several, photos))})

    def _made(self, index: int, number: int, face: _Face | FaceError) -> Made:
        where = self.source.where(index) + (f", face {number}" if number > 1 else "")
        if isinstance(face, FaceError):
            return Made(where, error=face)
        counts = {f"doubt:{code}": 1 for code in face.crop.doubts}
        if counts:  # for the sheet, also after a stop
            counts |= {"doubtful": 1, f"{_DOUBT_OF}{index}:{number}": round(_FINE * face.crop.doubt)}
        name = self.names.of(self.source.name(index), number, face.image)
        return Made(where, name, face.image, counts)

    def finish(self, output: Output, result: AlignResult, overwrite: bool) -> None:
        """The sheet, then the faces: what is there when they are, was written before."""
        if self.sheet is not None and result.sheet is not None:
            self.sheet.write(encode_png(self._contact_sheet(output.tally)), overwrite=overwrite)
        output.finish(_manifest(result), refused=result.refused)

    def _contact_sheet(self, tally: Counter[str]) -> pictures.Face:
        """The most doubtful crops, the worst first, under what speaks most against each. They are found again."""
        columns: dict[str, list[pictures.Face]] = {}
        doubtful = Counter({key: doubt for key, doubt in tally.items() if key.startswith(_DOUBT_OF)})
        for key, _ in doubtful.most_common(SHOWN):
            index, number = map(int, key.removeprefix(_DOUBT_OF).split(":"))
            if isinstance(photo := self.photo(index), _Photo) and isinstance(face := photo.faces[number - 1], _Face):
                columns.setdefault(face.crop.doubts[0], []).append(face.crop.image)
        return pictures.contact_sheet([*zip_longest(*columns.values())], list(columns))

    def result(self, output: Output, out: Path) -> AlignResult:
        """What was done, by this run and by those it went on from."""
        tally = output.tally
        doubts = {key.partition(":")[2]: count for key, count in sorted(tally.items()) if key.startswith("doubt:")}
        return AlignResult(
            out=out,
            photos=len(self.source) + len(self.source.refused),
            faces=output.faces,
            several=tally["several"],
            doubtful=tally["doubtful"],
            doubts=doubts,
            choice=self.rules.choice,
            detector_sha256=self.detector.sha256,
            not_read=NotRead.of(self.source),
            sheet=self.sheet.path if self.sheet and tally["doubtful"] else None,
            refused=[*self.source.refused, *output.refused],
        )


def _has_several(photo: _Photo | FaceError) -> bool:
    """Whether more than one face was seen in it."""
    return photo.reason == "several-faces" if isinstance(photo, FaceError) else photo.seen > 1


class _Names:
    """What faces are called, so that no two photos of one person become one."""

    def __init__(self, source: FaceSource) -> None:
        """Of every photo's name without its suffix the hash is kept."""
        counts = Counter(hash(without_suffix(source.name(index))) for index in range(len(source)))
        self._taken = frozenset(counts)
        self._twins = frozenset(each for each, count in counts.items() if count > 1)  # `1.jpg` and `1.png`

    def of(self, name: Name, number: int, image: bytes) -> Name:
        """The name of the `number`th face, `image`, of a photo: the photo's own for the first. A twin keeps the suffix
        that its face loses."""
        photo = with_suffix_of(name.photo, image)
        if photo != name.photo and hash(without_suffix(name)) in self._twins:
            photo = f"{name.photo}{suffix_of(image)}"
        if number == 1:
            return Name(name.identity, photo)
        stem, suffix = os.path.splitext(photo)
        stem = f"{stem}.face-{number}"
        while hash(Name(name.identity, stem)) in self._taken:
            stem += "_"
        return Name(name.identity, stem + suffix)


def _manifest(result: AlignResult) -> Manifest:
    return Manifest(
        command="align",
        model={"kind": "detector", "sha256": result.detector_sha256},
        counts={"in": result.photos, "out": result.faces, "refused": count_reasons(result.refused)},
        names="copied",
        extra={"faces": result.choice, "size": SIZE, "several_faces": result.several, "doubtful": result.doubtful},
    )
