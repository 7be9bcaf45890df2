"""Remove most of each face for good: raw faces in, masked faces out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import FaceSource, NotRead, Refusal, count_reasons, first, no_faces
from facemae_cli.data.files import require_outside
from facemae_cli.data.images.codec import decode
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import ACCEPTED, open_source
from facemae_cli.data.output.output import Output, check_output, open_output
from facemae_cli.data.output.taken_out import require_list, taken_out, warn_of_return
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.job import SIZE, Masker, MaskJob, require_no_stopped_run
from facemae_cli.masking.key import DEFAULT_KEY_FILE, Key
from facemae_cli.masking.key_file import check_makeable
from facemae_cli.masking.levels import Level, level_called
from facemae_cli.masking.mask_jobs import MaskJobs
from facemae_cli.masking.mix_job import MixJob
from facemae_cli.masking.mixing import Mixing
from facemae_cli.masking.people_list import without_people
from facemae_cli.masking.sources_list import SourcesList
from facemae_cli.reports.text import counted
from facemae_cli.runtime import shared_output
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import thread_count

DEFAULT_SOURCES = Path("facemae.sources.csv")
SHOWN = 5  # sizes in a note


@dataclass(frozen=True)
class MaskResult:
    """What `mask` did.

    `faces` of `faces_in` were masked, of `identities` people; `refused` lists the others, and `excluded` more were left
    out on request. `ratio` is the share of
    patches hidden, as measured (None without faces). `key_id` is None where neither names nor masks needed the key;
    `seed` is None where masks came from the key. `names` is "keyed" or "kept". `resized` faces went through `size`.
    `subsampled` faces come from JPEGs whose pixels share samples of colour. `sizes`: raw faces by WxH pixels.
    `mixing` says how faces were mixed, at which `level`, and `sources` where it is written of whom; `faces` are then
    mixtures. `not_read`: what of the input's place is not part of it.
    """

    out: Path
    faces_in: int
    faces: int
    excluded: int
    identities: int
    refused: list[Refusal]
    not_read: NotRead
    strategy: str
    ratio: float | None
    names: str
    key_id: str | None
    seed: int | None
    size: int | None
    resized: int
    subsampled: int
    sizes: Mapping[str, int]
    mixing: Mixing | None = None
    level: str | None = None
    sources: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "schema": 1,
            "command": "mask",
            "out": str(self.out),
            "faces": {"in": self.faces_in, "out": self.faces, "refused": count_reasons(self.refused)},
            "excluded": self.excluded,
            "identities": self.identities,
            **self.not_read.as_json(),
            "strategy": self.strategy,
            "mask_ratio": self.ratio,
            "names": self.names,
            "key_id": self.key_id,
            "masks_from": self._masks_from(),
            "seed": self.seed,
            "size": self.size,
            "resized": self.resized,
            "subsampled": self.subsampled,
            "sizes": dict(self.sizes),
            "mixing": self.mixing.as_json() if self.mixing else None,
            "level": self.level,
            "sources": str(self.sources) if self.sources else None,
            "notes": self.notes(),
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        who = "1 person" if self.identities == 1 else f"{self.identities} people"
        given = f"{counted(self.faces_in, 'face')} " + (f"of {who}" if self.identities else "without identities")
        masked = f"{self.faces} of {given}"
        if self.mixing:
            masked = f"{counted(self.faces, 'mixture')} of {self.faces_in - len(self.refused)} of {given}"
        rows = [
            ("masked", f"{masked} -> {self.out}"),
            ("hidden", f"{100 * (self.ratio or 0):.1f} % of each face ({self.strategy}, by {self._masks_from()})"),
            ("names", "pseudonyms, in a keyed order" if self.names == "keyed" else "kept, in their order"),
        ]
        if self.mixing:
            level = f"level {self.level}: " if self.level else ""
            rows.append(("mixed", f"{level}{self.mixing}; of whom: {self.sources}, which only you may read"))
        rows += [("key_id", self.key_id)] if self.key_id else []
        rows += [("excluded", f"{counted(self.excluded, 'face')}, as asked")] if self.excluded else []
        rows += self.not_read.rows()
        return rows + [("note", note) for note in self.notes()]

    def notes(self) -> list[str]:
        """What a reader of the result must know to judge it."""
        notes = []
        if self.resized:
            notes.append(
                f"{counted(self.resized, 'face')} resized to {self.size} pixels first: visible pixels mix across patch "
                "edges"
            )
        if self.subsampled:
            notes.append(
                f"{counted(self.subsampled, 'face')} from JPEGs with subsampled colour (such as 4:2:0): colours of a "
                "visible patch are rounded together with those of hidden ones beside it; 4:4:4 JPEG or PNG keeps them "
                "apart"
            )
        if len(self.sizes) > 1:
            most = ", ".join(f"{count} of {size}" for size, count in Counter(self.sizes).most_common(SHOWN))
            notes.append(f"raw faces have {len(self.sizes)} sizes ({most}): crops of one aligner have one size")
        if self.identities == 1 and self.faces > 1:
            notes.append(
                f"one person has all {self.faces} photos: a folder is a person, so photos of several people belong in "
                "a folder each"
            )
        return notes

    def _masks_from(self) -> str:
        return "strategy" if self.strategy == "parts" else "key" if self.seed is None else "seed"


def mask(
    input: str | Path = Path("raw"),
    out: str | Path = Path("masked"),
    *,
    ratio: float | None = None,
    strategy: str = "random",
    key: str | Path = DEFAULT_KEY_FILE,
    seed: int | None = None,
    keep_names: bool = False,
    size: int | None = None,
    exclude: str | Path | None = None,
    allow_unaligned: bool = False,
    protect: str | Level | None = None,
    sources: str | Path = DEFAULT_SOURCES,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> MaskResult:
    """Masks every face of `input` into `out`, as RGBA PNG.

    Masks come from the key and the stored pixels, so that every release of one photo hides the same patches first, at
    any ratio and size; under a `seed`, from the seed and the photo's name in `input`, and never from pixels. A seed is
    not secret: who guesses it and a name can confirm the name by its mask.

    input: the raw faces: a folder of images, a .rec, .parquet, .zip or .tar.
    out: the masked faces, a folder, `.rec` or Parquet.
    ratio: share of the 196 patches to hide, 0.2 or more and under 1; None: 0.75 (`parts` always hides 160 of 196).
    strategy: how patches are chosen, by a name of `masking.patches`.
    key: the file of the steward's secret key, made where it is absent.
    seed: a number to derive masks from instead of the key; None: the key.
    keep_names: whether names and order are kept; False: names become pseudonyms and the order means nothing.
    size: pixels a side that each whole face is resized to first; None: as it is.
    exclude: a text file of people and photos to leave out, a line each (`masking.people_list`); None: nobody.
    allow_unaligned: whether pictures are masked that cannot be aligned crops, where a patch may show a whole face.
    protect: a level of `masking.levels`, at which faces of several people are mixed; None: each face is one person's.
    sources: the file, readable by its owner alone, that says of whom each mixed face was made.
    overwrite: whether an output that exists is replaced; False: it is refused.
    resume: whether to go on where a stopped run of the same arguments ended; False: start over.
    workers: processes that read and write images, threads where these are few; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; a face that cannot be masked is refused and listed in the result.
    """
    threads = thread_count(workers)
    Masker(strategy, ratio, None, seed or 0, size)  # so that a wrong option makes no key
    mixing, ratio = _mixing_and_ratio(protect, ratio, strategy, keep_names)
    if mixing is None and Path(sources) != DEFAULT_SOURCES:
        raise UsageError(f"--sources {sources} is written with --protect alone: add that, or leave --sources out")
    source, excluded = open_source(Path(input)), 0
    _refuse_masked(source, progress)
    if exclude is not None:
        require_outside(Path(exclude), (Path(input), Path(out)), "--exclude")
        source, excluded = without_people(source, Path(exclude), "--exclude")
    else:
        require_list(Path(out), taken_out(read_manifest(source.path)))
    with shared_output.process_group("cpu"):
        placed: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "inputs": (Path(input),)}
        whom = SourcesList(Path(sources), Path(out))
        if mixing:
            whom.check(overwrite=overwrite, resume=resume, places=(Path(input), Path(out), Path(key)))

        masker = partial(Masker, strategy, ratio, seed=seed, size=size, allow_unaligned=allow_unaligned)
        jobs = MaskJobs(source, lambda secret: masker(key=secret), keep_names, mixing, threads, progress)

        def new_key() -> Key:
            """The key that was not there: made once nothing is in the way, and not for faces that are all refused."""
            check_makeable(Path(key))
            check_output(Path(out), **placed)
            require_no_stopped_run(Path(out), Path(key), overwrite)
            return jobs.try_key(Path(out)).keep(Path(key), progress=progress)

        # Neither names nor masks need a key where both are given otherwise.
        keyed = not (keep_names and (seed is not None or strategy == "parts"))
        job = jobs.under(_key(Path(key), (Path(input), Path(out)), new_key, progress) if keyed else None)
        _warn(job, Path(out), excluded, progress)
        with shared_output.rank_zero_context(lambda: open_output(Path(out), plan=job.plan(), **placed)) as output:
            job.run(output, threads, progress)
            result = shared_output.broadcast(_result(job, output, Path(out), excluded) if output else None)
            assert result is not None
            result = _with_level(result, protect, whom)
            # The dataset is whole before any rank says so.
            shared_output.rank_zero_first(lambda: _finish(job, output, result, whom, overwrite))
    return result


def _with_level(result: MaskResult, protect: str | Level | None, whom: SourcesList) -> MaskResult:
    if result.mixing is None:
        return result
    return replace(result, level=protect if isinstance(protect, str) else None, sources=whom.path)


def _finish(job: MaskJob, output: Output | None, result: MaskResult, whom: SourcesList, overwrite: bool) -> None:
    """Puts the dataset in place, and in the last moment before it the list of whom its faces are made of."""
    assert output is not None
    table, code = job.sources() if isinstance(job, MixJob) else (None, None)
    manifest = _manifest(result, code)
    if table is not None and code is not None:
        output.finish(manifest, refused=result.refused, in_place=False)
        whom.write(table, code, overwrite=overwrite or output.replaces)  # as the run was begun
    output.finish(manifest, refused=result.refused)


def _mixing_and_ratio(
    protect: str | Level | None, ratio: float | None, strategy: str, keep_names: bool
) -> tuple[Mixing | None, float | None]:
    """How faces are mixed, where they are, and what is hidden. Raises UsageError for what does not go with a level."""
    if protect is None:
        return None, ratio
    if keep_names:
        raise UsageError("--protect gives mixtures names of their own: leave --keep-names out")
    if ratio is not None or strategy != "random":
        raise UsageError("--protect decides what is hidden, as it was measured: leave --ratio and --strategy out")
    level = level_called(protect) if isinstance(protect, str) else protect
    return level.mixing, level.ratio


def _key(path: Path, outside: Sequence[Path], new_key: Callable[[], Key], progress: Progress) -> Key:
    """The key at `path`, made by one rank where there is none, and read by the others."""

    def load() -> Key:
        return Key.find(path, outside=outside, progress=progress) or new_key()

    return shared_output.rank_zero_first(load) or load()


def _refuse_masked(source: FaceSource, progress: Progress) -> None:
    """What is masked already is not masked again: by its manifest, or because the first faces are transparent."""
    if not len(source) and not source.refused:
        raise InputError(no_faces(source, f"--in takes {ACCEPTED}"))
    manifest = read_manifest(source.path)
    seen = [_is_masked(source, index) for index in first(source)]
    masked = [verdict for verdict in seen if verdict is not None]
    if (manifest and manifest.command == "mask") or (masked and all(masked)):
        raise UsageError(f"{source.path} is masked already; --in takes the raw faces")
    if manifest and manifest.command == "reconstruct":
        progress.notice(f"{source.path} is a released dataset: masking it hides faces that a model made")


def _is_masked(source: FaceSource, index: int) -> bool | None:
    """None where the face cannot be read at all."""
    try:
        decode(source.read(index))
    except FaceError as error:
        return True if error.reason == "has-alpha" else None
    return False


def _warn(job: MaskJob, out: Path, excluded: int, progress: Progress) -> None:
    """Says where this release and another one of the same photos show more of a face together than either alone, and
    where it shows people whom the one that it replaces does not."""
    warn_of_return(out, excluded + taken_out(read_manifest(job.source.path)), progress)
    if job.masker.strategy != "random":
        progress.notice(
            f"strategy {job.masker.strategy!r} hides other patches than the other strategies do: do not release one "
            "photo under two of them, together they show more of the face"
        )
    if job.masker.seed is not None and job.key:
        progress.notice(
            f"masks follow seed {job.masker.seed} and the photos' names, and a seed is not secret: who guesses both "
            "can confirm a name by its mask; for a release leave --seed out"
        )
    before = read_manifest(out) if os.path.lexists(out) else None
    if before is None or before.command != "mask":
        return
    if before.key_id != job.masker.key_id:
        progress.notice(
            f"{out} was made with another key (key_id {before.key_id}): where both were released, their masks add up "
            "and names differ; --key FILE takes the earlier key"
        )
    if before.strategy != job.masker.strategy:
        progress.notice(
            f"{out} was made with strategy {before.strategy!r}: where both are released, they show more together"
        )


def _result(job: MaskJob, output: Output, out: Path, excluded: int) -> MaskResult:
    refused = [*job.source.refused, *output.refused]
    places = {item.where for item in output.refused}
    masked = (name for index, name in enumerate(job.names) if not places or job.source.where(index) not in places)
    faces, hidden = output.tally.get("out", 0), output.tally.get("hidden", 0)
    return MaskResult(
        out=out,
        faces_in=len(job.names) + len(job.source.refused),
        faces=faces,
        excluded=excluded,
        identities=len({name.identity for name in masked} - {None}),
        refused=refused,
        not_read=NotRead.of(job.source),
        strategy=job.masker.strategy,
        ratio=hidden / (masking.TOKENS * faces) if faces else None,
        names="keyed" if job.key else "kept",
        key_id=job.masker.key_id,
        seed=job.masker.seed,
        size=job.masker.size,
        resized=output.tally.get("resized", 0),
        subsampled=output.tally.get("subsampled", 0),
        sizes={key.removeprefix(SIZE): count for key, count in sorted(output.tally.items()) if key.startswith(SIZE)},
        mixing=job.mixing if isinstance(job, MixJob) else None,
    )


def _manifest(result: MaskResult, sources: str | None) -> Manifest:
    counts = {"in": result.faces_in, "out": result.faces, "refused": count_reasons(result.refused)}
    return Manifest(
        command="mask",
        grid=masking.GRID,
        mask_ratio=result.ratio,
        counts=counts,
        key_id=result.key_id,
        strategy=result.strategy,
        names=result.names,
        seed=result.seed is not None,
        extra={
            **({"size": result.size, "resized": result.resized} if result.size else {}),
            **({"mixing": result.mixing.as_json() | {"sources": sources}} if result.mixing else {}),
            **({"level": result.level} if result.level else {}),
            **({"excluded": result.excluded} if result.excluded else {}),
        },
    )
