"""Say what a dataset or a verification pack is: format, faces, people, sizes, masks, and what is wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facemae_cli.data.faces import FaceSource, NotRead, Refusal, count_reasons, unopened
from facemae_cli.data.images.codec import ImageInfo, decode, decode_masked, probe
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import kind_of, open_source
from facemae_cli.data.packs.source import PackSource, open_pack
from facemae_cli.data.recordio import sidecars
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import FaceError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.crops import MAX_SIDE, can_be_crop
from facemae_cli.masking.levels import measured_elsewhere
from facemae_cli.reports.text import counted
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import ordered_map, thread_count

ALIGNED = "112x112"
SHOWN = 5  # sizes in the summary


@dataclass
class InspectResult:
    """What stands at `path`, which is of a `kind` as `data.open` tells them apart.

    `faces` were readable (`refused` lists what was not), of `people` identities; `loose` faces have none.
    `photos`: people by how many photos they have. `sizes` ("WxH", in pixels), `formats`: faces by what they are.
    `hidden`: masked faces by how many of their 196 patches are hidden. `pairs`: of a verification pack, (of one
    person, of two), else None. `subsampled`: faces in JPEGs whose pixels share samples of colour; `not_crops`: faces
    that by their size cannot be aligned crops. `about`: what the format itself says. `not_read`: what of its place is
    not part of it.
    """

    path: Path
    kind: str
    faces: int = 0
    people: int = 0
    loose: int = 0
    photos: Counter[int] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    hidden: Counter[int] = field(default_factory=Counter)
    subsampled: int = 0
    not_crops: int = 0
    image_bytes: int = 0
    not_read: NotRead = field(default_factory=NotRead)
    pairs: tuple[int, int] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    manifest: Manifest | None = None
    notes: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "schema": 1,
            "command": "inspect",
            "path": str(self.path),
            "format": self.kind,
            **self.about,
            "faces": {"readable": self.faces, "refused": count_reasons(self.refused)},
            "people": self.people,
            "faces_without_identity": self.loose,
            "people_by_photos": {str(count): people for count, people in sorted(self.photos.items())},
            "sizes": dict(self.sizes.most_common()),
            "image_formats": dict(self.formats.most_common()),
            "subsampled": self.subsampled,
            "not_crops": self.not_crops,
            "image_bytes": self.image_bytes,
            "masked": {"faces": self.hidden.total(), "ratio": self.ratios()},
            "pairs": None if self.pairs is None else dict(zip(("same", "different"), self.pairs, strict=True)),
            **self.not_read.as_json(),
            "manifest": None if self.manifest is None else json.loads(self.manifest.as_json()),
            "notes": self.notes,
        }

    def ratios(self) -> dict[str, float] | None:
        """The least, mean and greatest share of patches hidden in a masked face; None where no face is masked."""
        if not self.hidden:
            return None
        mean = sum(count * faces for count, faces in self.hidden.items()) / self.hidden.total()
        values = {"min": min(self.hidden), "mean": mean, "max": max(self.hidden)}
        return {name: value / masking.TOKENS for name, value in values.items()}

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        kind = {
            "folder": "a folder of images",
            "rec": "RecordIO",
            "pack": "a verification pack",
            "parquet": "Parquet",
            "archive": "an archive of images",
        }[self.kind]
        layout = f", {self.about['layout']}'s layout" if "layout" in self.about else ""
        rows = [("format", kind + layout), ("faces", f"{self.faces} readable, {len(self.refused)} refused")]
        if self.pairs is not None:
            rows.append(("pairs", f"{self.pairs[0]} of one person, {self.pairs[1]} of two"))
        rows.append(("people", self._people()))
        rows.append(("images", f"{_counts(self.formats)}; {_counts(self.sizes)}; {self.image_bytes} bytes in all"))
        rows.append(("masked", self._masked()))
        if self.manifest is not None:
            if people := self.manifest.mixed_people:
                rows.append(("mixed", f"{people} people in each face; what counts as people above are mixtures"))
            if elsewhere := measured_elsewhere(self.manifest):
                rows.append(("protection", f"measured {elsewhere}"))
            rows.append(("made by", f"facemae {self.manifest.version} {self.manifest.command}"))
        rows += self.not_read.rows()
        return rows + [("note", note) for note in self.notes]

    def _people(self) -> str:
        loose = f", {self.loose} faces without identity" if self.loose else ""
        if not self.photos:
            return f"none named{loose}"
        known = " as far as its pairs tell" if self.kind == "pack" else ""
        spread = f"{min(self.photos)} to {max(self.photos)} photos each"
        return f"{self.people}{known}, {spread}, {self.people - self.photos[1]} with two or more{loose}"

    def _masked(self) -> str:
        ratios = self.ratios()
        if ratios is None:
            return "no"
        of = "all" if self.hidden.total() == self.faces else f"{self.hidden.total()} of {self.faces}"
        low, high = 100 * ratios["min"], 100 * ratios["max"]
        spread = f"{low:.1f} %" if low == high else f"{low:.1f} to {high:.1f} %"
        return f"{of}, {spread} of each hidden"


def inspect(path: str | Path, *, workers: int | None = None, progress: Progress = SILENT) -> InspectResult:
    """Opens a dataset and decodes every face in it.

    path: a folder of images, a .rec, .parquet, .zip or .tar, or a pack (.bin or pairs.txt).
    workers: threads that read and decode images; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; what is broken inside is refused and listed in the result.
    """
    threads = thread_count(workers)
    path = Path(path)
    source = open_pack(path) if path.exists() and kind_of(path) == "pack" else open_source(path, whole=True)
    result = InspectResult(path, source.kind, not_read=NotRead.of(source), refused=list(source.refused))
    progress.start("inspect", len(source))
    examined = ordered_map(lambda index: _examine(source, index), range(len(source)), threads)
    people: Counter[str] = Counter()
    with closing(examined):
        for index, seen in enumerate(examined):
            if isinstance(seen, FaceError):
                result.refused.append(Refusal(source.where(index), seen.reason, seen.detail))
            else:
                _count(result, seen)
                people.update(_identity(source, index))
            progress.advance()
    result.people = len(people)
    result.loose = result.faces - people.total()
    result.photos = Counter(people.values())
    _describe(result, source)
    return result


@dataclass(frozen=True, slots=True)
class _Seen:
    """One face: its header, its bytes, and how many patches are hidden (None: not masked)."""

    info: ImageInfo
    size: int
    hidden: int | None


def _examine(source: FaceSource, index: int) -> _Seen | FaceError:
    try:
        data = source.read(index)
        info = probe(data)
        if info.has_alpha:
            return _Seen(info, len(data), _hidden(data))
        decode(data)  # only to learn whether it can be: a flipped bit inside an image shows nowhere else
        return _Seen(info, len(data), None)
    except FaceError as error:
        return error


def _hidden(data: bytes) -> int | None:
    """Patches hidden in an image with an alpha channel; None where the channel hides nothing. Raises FaceError."""
    rgba = decode_masked(data)
    if (rgba[..., 3] == np.uint8(255)).all():
        return None
    return int(masking.read_mask(rgba).sum())


def _count(result: InspectResult, seen: _Seen) -> None:
    result.faces += 1
    result.sizes[f"{seen.info.width}x{seen.info.height}"] += 1
    result.formats[seen.info.format] += 1
    result.image_bytes += seen.size
    result.subsampled += seen.info.subsampled
    result.not_crops += not can_be_crop(seen.info.width, seen.info.height)
    if seen.hidden is not None:
        result.hidden[seen.hidden] += 1


def _identity(source: FaceSource, index: int) -> Sequence[str]:
    identity = source.name(index).identity
    return () if identity is None else (identity,)


def _describe(result: InspectResult, source: FaceSource) -> None:
    """What the format, its sidecars and all faces together say."""
    if isinstance(source, PackSource):
        same = int(source.same.sum())
        result.pairs = same, len(source.same) - same
        result.notes += [f"{counted(source.missing, 'pair')} without a photo left out"] if source.missing else []
    result.manifest = read_manifest(source.path.parent if source.path.name == "pairs.txt" else source.path)
    if isinstance(source, RecSource):
        _describe_rec(result, source)
    if result.kind == "folder" and (source.path / "pairs.txt").is_file():
        result.notes.append("it holds a pairs.txt: inspect that to see the pairs")
    result.notes += ["it holds no faces"] if not result.faces and not result.refused else []
    result.notes += [note] if (note := unopened(source)) else []
    result.notes += _notes_on_faces(result)


def _notes_on_faces(result: InspectResult) -> Iterator[str]:
    """What a steward should know of the faces before masking them, or training on them."""
    unaligned = result.faces - result.sizes[ALIGNED]
    if unaligned:
        yield f"{unaligned} faces are not {ALIGNED}: recognisers expect faces aligned to that size"
    if result.not_crops:
        yield (
            f"{result.not_crops} are not aligned face crops, which are square within an eighth and at most {MAX_SIDE} "
            "pixels a side: `facemae mask` refuses them, `facemae align` makes crops of photos"
        )
    if len(result.sizes) > 1:
        yield f"faces have {len(result.sizes)} sizes: crops of one aligner have one size"
    if result.people == 1 and result.faces > 1 and not result.loose:
        yield f"one person has all {result.faces} photos: a folder is a person"
    if result.subsampled:
        yield (
            f"{result.subsampled} faces are JPEGs with subsampled colour (such as 4:2:0): masked, colours of a visible "
            "patch are rounded together with those of hidden ones beside it"
        )
    if 0 < result.hidden.total() < result.faces:
        yield "masked and bare faces are mixed: `facemae reconstruct` refuses the bare ones"


def _describe_rec(result: InspectResult, source: RecSource) -> None:
    there = [kind for kind in ("idx", "lst", "property") if sidecars.sidecar(source.rec, kind).is_file()]
    result.about = {"layout": source.layout, "sidecars": there}
    if "idx" not in there:
        result.notes.append("it has no .idx: keys and offsets come from the records themselves")
    if source.remarks:
        first = source.remarks[0]
        says = f"its .idx and the file disagree in {len(source.remarks)} places ({first.where}: {first.detail})"
        result.notes.append(f"{says}: the file is believed, and no face is lost by it")
    if "lst" in there:
        unnamed = sum(not source.is_named(index) for index in range(len(source)))
        rest = f"its .lst does not name {unnamed} of {len(source)} faces, which are called by label and key"
        result.notes += [rest] if unnamed else []
    if "property" not in there:
        result.notes.append("it has no property file: its numbers are those found here")
        return
    stated = sidecars.parse_property(sidecars.read_sidecar(source.rec, "property") or b"")
    if stated is None:
        result.notes.append("the first line of its property file is not `identities,height,width`")
        return
    result.about["property"] = {"identities": stated.identities, "height": stated.height, "width": stated.width}
    sizes = set(result.sizes) or {f"{stated.width}x{stated.height}"}
    if stated.identities != result.people or sizes != {f"{stated.width}x{stated.height}"}:
        claim = f"{stated.identities} people of {stated.width}x{stated.height} pixels"
        found = ", ".join(size for size, _ in result.sizes.most_common(SHOWN))
        result.notes.append(f"its property file says {claim}, the images say {result.people} of {found}")


def _counts(counter: Counter[str]) -> str:
    """The most frequent values and how often they occur."""
    most = counter.most_common(SHOWN)
    if len(counter) == 1:
        return f"all {most[0][0]}"
    more = f" and {len(counter) - SHOWN} more" if len(counter) > SHOWN else ""
    return ", ".join(f"{count} {value}" for value, count in most) + more if most else "none"
