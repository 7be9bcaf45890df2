"""Reconstruct each masked face with a fitted model: masked faces in, released faces out (FaceMAE, section 3.4)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from facemae_cli import __version__
from facemae_cli.data.faces import (
    CHUNK,
    FaceChunk,
    FaceSource,
    NotRead,
    Refusal,
    chunks,
    count_reasons,
    first,
    input_plan,
    no_faces,
)
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest, code_of, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import Made, Output, check_output, open_output
from facemae_cli.data.output.taken_out import taken_out, warn_of_return
from facemae_cli.data.side_files import SideFile
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.publication import facts_of
from facemae_cli.inference.masked_reader import MaskedReader, VisibleFaces
from facemae_cli.inference.pipeline import Runner, choose_batch_size, open_codecs, pipeline_in
from facemae_cli.inference.reconstruct import Reconstructor, release
from facemae_cli.inference.released_writer import PredictedFaces, ReleasedFaces, ReleasedWriter
from facemae_cli.masking import patches as masking
from facemae_cli.masking.mask_color import MaskColor, least_hidden
from facemae_cli.masking.mixing import Mixing, warp_of
from facemae_cli.networks.backends import choose_backend, compile_autoencoder
from facemae_cli.networks.card import Model
from facemae_cli.networks.loading import load_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports import pictures
from facemae_cli.reports.publication.files import published_files
from facemae_cli.runtime import launcher, shared_output
from facemae_cli.runtime.choices import check_batch_size
from facemae_cli.runtime.device import choose_device
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import thread_count

WINDOW = 4  # batches made durable together, and within which faces are sorted by their number of visible patches
LARGE = 128  # faces a message where a unit has eight such: of 64, messages take a twentieth of the host's time
SHOWN = 12  # faces on a preview
PREVIEWED = 16 * SHOWN  # the first faces, whose pictures are kept until enough of them were released


@dataclass(frozen=True)
class ReconstructResult:
    """What `reconstruct` did: `faces` of `faces_in` released, by which model, on what.

    `not_read`: what of the input's place is not part of it."""

    out: Path
    faces_in: int
    faces: int
    refused: list[Refusal]
    ratio: float | None
    model: str
    model_sha256: str
    device: str
    precision: str
    backend: str
    batch_size: int
    halved: bool
    pasted: bool
    license: str | None = None
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "schema": 1,
            "command": "reconstruct",
            "out": str(self.out),
            "faces": {"in": self.faces_in, "out": self.faces, "refused": count_reasons(self.refused)},
            **self.not_read.as_json(),
            "mask_ratio": self.ratio,
            "model": {"name": self.model, "sha256": self.model_sha256, "license": self.license},
            "device": self.device,
            "precision": self.precision,
            "backend": self.backend,
            "batch_size": self.batch_size,
            "batch_size_was_halved": self.halved,
            "visible_patches_pasted": self.pasted,
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        rows = [
            ("reconstructed", f"{self.faces} of {self.faces_in} faces -> {self.out}"),
            ("hidden", f"{100 * (self.ratio or 0):.1f} % of each face, as measured"),
            ("model", f"{self.model} (sha256 {self.model_sha256[:12]}...)"),
            ("computed", f"on {self.device} in {self.precision} by {self.backend}, {self.batch_size} faces at a time"),
        ]
        if self.license:
            rows.append(("licence of the model", self.license))
        if self.pasted:
            rows.append(("note", "the model's card pastes visible patches: real pixels are in the release"))
        return rows + self.not_read.rows()


def reconstruct(
    input: str | Path = Path("masked"),
    out: str | Path = Path("released"),
    *,
    model: str = "facemae-v1",
    batch_size: int | str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    device: str = "auto",
    format: str = "jpg",
    quality: int = 95,
    mask_color: str | None = None,
    mask_tolerance: int = 8,
    min_hidden: float | None = None,
    preview: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> ReconstructResult:
    """Reconstructs every masked face of `input` into `out`. Names are copied; mixtures (`mask --protect`) are warped.

    input: the masked faces: a folder of images, a .rec, .parquet, .zip or .tar.
    out: the released faces, a folder, `.rec` or Parquet.
    model: a fitted autoencoder; every pixel is its prediction unless its card says `paste_visible`.
    batch_size: faces that the device computes at a time, or "auto".
    precision: what networks compute in: "fp32", "bf16" or "auto", bf16 if the hardware does.
    backend: what computes on a CPU: "torch", "onnxruntime", "openvino", or "auto": torch, or
        onnxruntime for an autoencoder in fp32.
    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one.
    format: "jpg" (4:4:4) or "png".
    quality: of a JPEG, 1 to 100.
    mask_color: where faces masked elsewhere are hidden, as RRGGBB; None: where they are transparent.
    mask_tolerance: how far a hidden pixel may be from `mask_color`, 0 to 255.
    min_hidden: faces of which a smaller share is hidden are refused; None: 0.5 with `mask_color`, else 0.2.
    preview: a PNG file to write, a contact sheet of the first faces; None: none.
    overwrite: whether an output that exists is replaced; False: it is refused.
    resume: whether to go on where a stopped run of the same arguments ended; False: start over.
    workers: processes that read and write images, threads where these are few; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; a face that is not masked, or cannot be read, is refused and listed.
    """
    color = MaskColor.parse(mask_color, mask_tolerance) if mask_color is not None else None
    least = least_hidden(min_hidden, by_color=color is not None)
    writer = ReleasedWriter(format, quality)
    check_batch_size(batch_size)
    threads = thread_count(workers)
    sheet = None if preview is None else SideFile(Path(preview), "--preview", "picture")
    if sheet is not None:
        sheet.check(overwrite=overwrite, resume=resume, places=(Path(input), Path(out)))
    placed: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "inputs": (Path(input),)}
    check_output(Path(out), **placed)
    found = resolve(model, "mae")
    source = open_source(Path(input))
    chosen = choose_device(device)
    keep_freed_memory()
    share = len(source) / launcher.world_size()
    with open_codecs(threads, share, chosen) as pool:  # while they start, the network is loaded
        by, computed = choose_backend(backend, precision, chosen, len(source), autoencoder=True)
        network = Reconstructor(compile_autoencoder(load_mae(found, chosen), by, computed))
        reader = MaskedReader(network.patch, color, least)
        _refuse_raw(source, reader)
        masked = read_manifest(source.path)
        warn_of_return(Path(out), taken_out(masked), progress)
        warp = warp_of(Mixing.of(masked))
        runner = Runner(network, chosen, computed, 1)
        with shared_output.process_group(chosen.type):
            runner.batch_size = shared_output.broadcast(choose_batch_size(str(batch_size), runner, network.example()))
            plan = _plan(source, found, runner, writer, color) | {"min_hidden": least, "backend": by, "warp": warp}
            shown, paste = PREVIEWED if preview is not None else 0, found.card.paste_visible
            reader = replace(reader, kept=len(source) if paste else shown, digests=warp > 0)
            writer = replace(writer, paste=paste, warp=warp, shown=shown)
            job = _Job(source, masked, found, reader, runner, writer, plan, shown)
            with shared_output.rank_zero_context(lambda: open_output(Path(out), plan=job.plan, **placed)) as output:
                job.run(output, pool, progress)
                result = shared_output.broadcast(job.result(output, Path(out)) if output else None)
                assert result is not None
                # The release is whole before any rank says so.
                shared_output.rank_zero_first(lambda: job.finish(output, result, sheet, overwrite))
    return result


@dataclass
class _Job:
    """One run: what reads, computes and writes; and what the preview shows, of the first `previewed` faces.

    `masked`: what the masked dataset says of itself."""

    source: FaceSource
    masked: Manifest | None
    model: Model
    reader: MaskedReader
    runner: Runner
    writer: ReleasedWriter
    plan: dict[str, Any]
    previewed: int
    shown: list[tuple[Any, Any]] = field(default_factory=list)

    def run(self, output: Output | None, pool: Executor, progress: Progress) -> None:
        """Release, unit by unit, what an interrupted run has not. The first rank has the output."""
        unit = int(self.plan["unit"])
        start = min(shared_output.broadcast(output.units_done if output else 0) * unit, len(self.source))
        progress.start("reconstruct", len(self.source), done=start)
        # What an interrupted run has done is done again where the preview shows it.
        begins = [*range(0, min(start, self.previewed), unit), *range(start, len(self.source), unit)]
        units = [range(at, min(at + unit, len(self.source))) for at in begins]
        with closing(shared_output.run_sharded(units, partial(self._released, pool))) as released:
            for faces, halvings in released:
                assert output is not None
                self.shown += [row for chunk in faces for row in chunk.shown][: SHOWN - len(self.shown)]
                if faces[0].indexes[0] >= start:
                    output.write_unit(self._made(faces), {"halvings": halvings})
                    progress.advance(sum(len(chunk.indexes) for chunk in faces))

    def _released(
        self, pool: Executor, units: Sequence[range]
    ) -> Generator[tuple[list[ReleasedFaces], int], None, None]:
        """The faces of each unit, and how often the batch was halved for it."""
        size = LARGE if int(self.plan["unit"]) >= 8 * LARGE else CHUNK
        parts = (chunks(self.source, unit, size) for unit in units)
        with closing(pipeline_in(pool, parts, self.reader, self._compute, self.writer)) as stages:
            for released in stages:
                halvings, self.runner.halvings = self.runner.halvings, 0
                yield released, halvings

    def _compute(self, faces: list[VisibleFaces]) -> list[PredictedFaces]:
        return release(faces, self.runner)

    def _made(self, faces: Sequence[ReleasedFaces]) -> Iterator[Made]:
        for chunk in faces:
            for index, error, hidden, encoded in chunk:
                where = self.source.where(index)
                if error is not None:
                    yield Made(where, error=error)
                else:
                    yield Made(where, self.source.name(index), encoded, {"hidden": hidden})

    def finish(self, output: Output | None, result: ReconstructResult, sheet: SideFile | None, overwrite: bool) -> None:
        """The preview, then the release itself: what is there when it is, was written before."""
        assert output is not None
        if sheet is not None and self.shown:
            picture = encode_png(pictures.contact_sheet(self.shown, ["masked", "released"]))
            sheet.write(picture, overwrite=overwrite)
        manifest = _manifest(result, self.masked)
        output.finish(manifest, refused=result.refused, beside=self._published(manifest, result.out))

    def _published(self, manifest: Manifest, out: Path) -> dict[str, str]:
        """The card of the release and Croissant, for whoever is handed it."""
        suffix = f".{self.writer.format}"
        facts = facts_of(self.source, manifest, out, suffix, card=self.model.card)
        return published_files(facts, out)

    def result(self, output: Output, out: Path) -> ReconstructResult:
        faces, hidden = output.tally.get("out", 0), output.tally.get("hidden", 0)
        return ReconstructResult(
            out=out,
            faces_in=len(self.source) + len(self.source.refused),
            faces=faces,
            refused=[*self.source.refused, *output.refused],
            ratio=hidden / (masking.TOKENS * faces) if faces else None,
            model=self.model.name,
            model_sha256=self.model.digest or "",
            device=str(self.runner.device),
            precision=self.runner.precision,
            backend=str(self.plan["backend"]),
            batch_size=int(self.plan["batch_size"]),
            halved=output.tally.get("halvings", 0) > 0,
            pasted=self.model.card.paste_visible,
            license=self.model.card.license,
            not_read=NotRead.of(self.source),
        )


def _refuse_raw(source: FaceSource, reader: MaskedReader) -> None:
    """A dataset whose first faces carry no mask at all is refused as a whole: it is raw, or its colour is not said."""
    if not len(source) and not source.refused:
        raise InputError(no_faces(source, "--in takes what `facemae mask` wrote"))
    errors = reader(FaceChunk(source, first(source))).errors if len(source) else []
    if errors and all(error is not None and error.reason == "no-mask" for error in errors):
        raise UsageError(
            f"{source.path} holds faces without a mask: a raw face must never pass through. Run `facemae mask` on it "
            "first; for faces masked elsewhere use --mask-color RRGGBB"
        )


def _plan(
    source: FaceSource, model: Model, runner: Runner, writer: ReleasedWriter, color: MaskColor | None
) -> dict[str, Any]:
    """All that decides on the output's bytes: what a resumed run must have in common with the stopped one."""
    return {
        "command": "reconstruct",
        "version": __version__,
        "torch": torch.__version__,
        "model": model.digest,
        "device": runner.device.type,
        "precision": runner.precision,
        "batch_size": runner.batch_size,
        "unit": WINDOW * runner.batch_size,
        "format": writer.format,
        "quality": writer.quality,
        "mask_color": str(color) if color else None,
        "paste_visible": model.card.paste_visible,
        **input_plan(source),
    }


def _manifest(result: ReconstructResult, masked: Manifest | None) -> Manifest:
    """The release's manifest; key id and strategy are those of the masked dataset, where it says."""
    mixed = {key: masked.extra[key] for key in ("mixing", "level") if masked and key in masked.extra}
    licence = {"license": code_of(result.license)} if result.license and code_of(result.license) else {}
    return Manifest(
        command="reconstruct",
        model={"kind": "mae", "sha256": result.model_sha256, **licence},
        grid=masking.GRID,
        mask_ratio=result.ratio,
        counts={"in": result.faces_in, "out": result.faces, "refused": count_reasons(result.refused)},
        key_id=masked.key_id if masked else None,
        strategy=masked.strategy if masked else None,
        seed=masked.seed if masked else False,
        names="copied",
        extra={
            "precision": result.precision,
            "backend": result.backend,
            "visible_patches_pasted": result.pasted,
            "batch_size_was_halved": result.halved,
            **mixed,
        },
    )
