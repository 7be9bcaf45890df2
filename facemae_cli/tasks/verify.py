"""Measure how well an embedder tells people apart, on packs of pairs, by InsightFace's protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facemae_cli.data.attributes import Attributes, read_attributes
from facemae_cli.data.faces import NotRead, Refusal, once
from facemae_cli.data.open import open_source
from facemae_cli.data.packs.people import names_in, shared_people
from facemae_cli.data.packs.source import PackSource, open_packs
from facemae_cli.data.packs.writer import SIDE, WrittenPack, check_free, write_bin
from facemae_cli.data.side_files import SideFile, check_report_and_cache, report_page
from facemae_cli.errors import AllRefused, InputError, UsageError
from facemae_cli.evaluation.groups import group_lines
from facemae_cli.evaluation.metrics import FARS
from facemae_cli.evaluation.verification.gates import AccuracyGate, check_options, listed_gates, parse_gates
from facemae_cli.evaluation.verification.results import VerifiedPack, cells, judge, warning_lines
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.zoo import EMBEDDER
from facemae_cli.reports.text import counted, decimal
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import choose_device
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.runtime.paths import as_path, as_paths
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import thread_count


@dataclass(frozen=True)
class VerifyResult:
    """What `verify` found: figures by pack, gates and whether they passed, and what must be known to read them.

    `recognizer` is None where only a pack was `written`, of which `packed` tells the counts.
    `not_read`: what of the place of `--trained-on` is not part of that dataset; of a pack all is read, or refused.
    """

    recognizer: Recognizer | None = None
    packs: dict[str, VerifiedPack] = field(default_factory=dict)
    gates: list[AccuracyGate] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    not_read: Mapping[str, NotRead] = field(default_factory=dict)
    report: Path | None = None
    written: Path | None = None
    packed: WrittenPack | None = None

    @property
    def failed_gates(self) -> list[str]:
        """A line for each gate that did not pass."""
        return [str(gate) for gate in self.gates if not gate.passed]

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        packed = self.packed
        return {
            "schema": 1,
            "command": "verify",
            **(self.recognizer.as_json() if self.recognizer else {"model": None}),
            "packs": {name: pack.as_json() for name, pack in self.packs.items()},
            "gates": [gate.as_json() for gate in self.gates],
            "not_read": {option: each.as_json() for option, each in self.not_read.items()},
            "notices": self.notices,
            "report": None if self.report is None else str(self.report),
            "written": packed and {"out": str(self.written), "faces": packed.faces, "pairs": packed.pairs},
        }

    def measured(self) -> list[list[str]]:
        """A row of figures a pack, below a row of headings."""
        heads = ["pack", "accuracy", "95 % interval", *(f"TAR at FAR {decimal(far)}" for far in FARS)]
        rows = [
            [name, *cells(pack.verification, FARS, "+-"), str(pack.verification.pairs)]
            for name, pack in self.packs.items()
        ]
        return [[*heads, "threshold", "pairs"], *rows] if rows else []

    def summary(self) -> list[tuple[str, str]]:
        """What else a person should see."""
        rows = []
        if self.packed is not None:
            pairs, faces = counted(self.packed.pairs, "pair"), counted(self.packed.faces, "face")
            rows.append(("written", f"{pairs} of {faces} -> {self.written}"))
            if self.packed.left_out:
                rows.append(("left out", f"{counted(self.packed.left_out, 'pair')} of which a face was refused"))
        if self.recognizer is not None:
            model = self.recognizer.model
            assumed = ", its card assumed" if model.card.assumed else ""
            rows.append(("model", f"{model.name} (sha256 {(model.digest or '')[:12]}...){assumed}"))
            rows.append(("computed", str(self.recognizer)))
        for name, pack in self.packs.items():
            if pack.left_out:
                pairs = counted(pack.left_out, "pair")
                rows.append(("left out", f"{name}: {pairs} of which a face is missing or was refused"))
            rows += [("note", f"{name}: {note}") for note in pack.verification.notes]
            rows += [("groups", f"{name}: {line}") for line in group_lines(pack.groups)]
        rows += [("gate", str(gate)) for gate in self.gates]
        return rows + ([("report", str(self.report))] if self.report else [])


def verify(
    pairs: str | Path | Sequence[str | Path],
    *,
    model: str | None = None,
    min_accuracy: float | str | Mapping[str, float] | Sequence[str | float] | None = None,
    report: str | Path | None = None,
    cache: str | Path | None = None,
    write_pack: str | Path | None = None,
    trained_on: str | Path | None = None,
    groups: str | Path | None = None,
    batch_size: int | str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    device: str = "auto",
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> VerifyResult:
    """Verifies packs of pairs with an embedder. Pairs with a refused face are left out and counted.

    pairs: the packs, each a `.bin` or a folder with a `pairs.txt`.
    model: the embedder, by name, path or hub id; None: the bundled one, or with `write_pack` none.
    min_accuracy: gates, shares: 0.99 for all packs, {"lfw": 0.99}, or as typed, ["0.99", "lfw=0.99"]; None: no gate.
    report: an HTML page to write, which shows faces; None: none.
    cache: a folder that keeps features between runs; None: they are not kept.
    write_pack: a `.bin` to make of the one folder in `pairs`; None: none.
    trained_on: the faces the embedder was trained on, to count people in both; None: nobody is counted.
    groups: a CSV file of people or photos and their groups (`data.attributes`), for the accuracy of each; None: none.
    batch_size: faces that the device computes at a time, or "auto".
    precision: what networks compute in: "fp32", "bf16" or "auto", bf16 if the hardware does.
    backend: what computes on a CPU: "torch", "onnxruntime", "openvino", or "auto": torch.
    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one.
    overwrite: whether `report` and `write_pack` may replace a file; False: they are refused.
    workers: processes that read images, threads where these are few; None: one a CPU core.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; a failed gate is in the result.
    """
    threads = thread_count(workers)
    places = map(as_path, (report, cache, write_pack, trained_on, groups))
    report, cache, write_pack, trained_on, groups = places
    check_options({
        "model": model, "min_accuracy": min_accuracy, "report": report, "cache": cache, "write_pack": write_pack,
        "trained_on": trained_on, "groups": groups, "batch_size": batch_size,
    })  # fmt: skip
    if write_pack is None:
        model = model or EMBEDDER
    packs = open_packs(as_paths(pairs) or [])
    result = VerifyResult(gates=parse_gates(listed_gates(min_accuracy), list(packs)))
    page = report_page(report)
    _check_places(packs, page, cache, write_pack, trained_on, overwrite)
    attributes, lines = ({}, []) if groups is None else _read_groups(groups, packs)
    result = _noted(result, progress, lines)
    if model is not None:
        keep_freed_memory()
        recognizer = Recognizer.load(model, device, precision, backend, sum(map(len, packs.values())))
        result = _noted(replace(result, recognizer=recognizer), progress, recognizer.notices())
    how = {"batch_size": batch_size, "cache": cache, "workers": threads}
    with distributed.process_group(choose_device(device)):
        if result.recognizer is not None:
            result = _measured(result, packs, result.recognizer, attributes, trained_on, how, progress)
        if distributed.rank() == 0:
            if write_pack is not None:
                result = _with_pack(result, packs, write_pack, threads, progress)
            if page is not None and result.recognizer is not None:
                result = _with_report(result, packs, page, result.recognizer, overwrite)
    return result


def _noted(result: VerifyResult, progress: Progress, lines: Iterable[str]) -> VerifyResult:
    """The result with these lines, which the person who waits sees now."""
    said = list(lines)
    for line in said:
        progress.notice(line)
    return replace(result, notices=[*result.notices, *said])


def _check_places(
    packs: Mapping[str, PackSource],
    report: SideFile | None,
    cache: Path | None,
    write_pack: Path | None,
    trained_on: Path | None,
    overwrite: bool,
) -> None:
    """Raises UsageError unless what is to be written may stand where it shall."""
    datasets = [pack.path.parent if _in_folder(pack) else pack.path for pack in packs.values()]
    places = [*datasets, *(path for path in (trained_on, write_pack) if path is not None)]
    check_report_and_cache(report, cache, places, overwrite=overwrite)
    if write_pack is not None:
        first, *more = packs.values()
        if more or not _in_folder(first):
            raise UsageError("--write-pack makes a .bin of one folder with a pairs.txt: give that alone as --pairs")
        check_free(write_pack, first.path, overwrite, "--write-pack")


def _read_groups(path: Path, packs: Mapping[str, PackSource]) -> tuple[dict[str, Attributes], list[str]]:
    """What the file says of each pack, by name, and lines on that. Raises InputError where it names nobody of any."""
    table = read_attributes(path, "--groups")
    attributes: dict[str, Attributes] = {}
    lines: list[str] = []
    for name, pack in packs.items():
        try:
            attributes[name] = table.of([pack.name(index) for index in range(len(pack))])
        except InputError as error:
            if name == list(packs)[-1] and not attributes:
                raise
            lines.append(f"{name}: {error}")
        else:
            lines += [f"{name}: {line}" for line in attributes[name].lines()]
    return attributes, lines


def _measured(
    result: VerifyResult,
    packs: Mapping[str, PackSource],
    recognizer: Recognizer,
    attributes: Mapping[str, Attributes],
    trained_on: Path | None,
    how: Mapping[str, Any],
    progress: Progress,
) -> VerifyResult:
    """The result with every pack in its turn: its faces embedded (`how` says how), its pairs verified."""
    names = None
    if trained_on is not None:
        training = open_source(trained_on)
        names, not_read = names_in(training), NotRead.of(training)
        result = replace(result, not_read={"--trained-on": not_read})
        result = _noted(result, progress, not_read.lines("--trained-on"))
    for name, pack in packs.items():
        made = recognizer.embed(pack, label=f"embed {name}", progress=progress, **how)
        shared = None if names is None else shared_people(pack, names)
        found = VerifiedPack.of(pack, made, shared, attributes.get(name))
        lines = warning_lines(name, found, recognizer.model.card)
        if names is not None and shared is None:
            lines.insert(0, f"{name}: names are not known on both sides, so neither is who is among the training faces")
        refused = once([*result.refused, *pack.refused, *made.refused])
        result = _noted(replace(result, packs={**result.packs, name: found}, refused=refused), progress, lines)
    if not any(found.faces for found in result.packs.values()):
        raise AllRefused("not one face of --pairs has a feature, so nothing is measured: see why above", result.refused)
    return replace(result, gates=judge(result.gates, result.packs))


def _with_pack(
    result: VerifyResult, packs: Mapping[str, PackSource], out: Path, threads: int, progress: Progress
) -> VerifyResult:
    """The result with the one pack written as a `.bin`."""
    (pack,) = packs.values()
    made = write_bin(out, pack, pack.pairs, pack.same, command="verify", threads=threads, progress=progress)
    lines = []
    if made.other_size:
        which = f"{counted(made.other_size, 'face')} {'is' if made.other_size == 1 else 'are'}"
        lines = [f"{out}: {which} not {SIDE} x {SIDE} pixels, as InsightFace's packs are"]
    refused = once([*result.refused, *pack.refused, *made.refused])
    return _noted(replace(result, written=out, packed=made, refused=refused), progress, lines)


def _with_report(
    result: VerifyResult, packs: Mapping[str, PackSource], file: SideFile, recognizer: Recognizer, overwrite: bool
) -> VerifyResult:
    """Writes the page for a person, with the worst misjudged pairs: photos, so it is its owner's alone (0600)."""
    from facemae_cli.evaluation.verification.page import pack_report, verification_page
    from facemae_cli.reports.html import Callout  # these bring matplotlib and jinja2

    model, failed = recognizer.model, result.failed_gates
    words = "; ".join(failed or map(str, result.gates))
    worst = [f"{name}: {line}" for name, pack in result.packs.items() for line in group_lines(pack.groups)]
    each = map(str, result.gates) if len(result.gates) > 1 else ()
    verdict = Callout("failed" if failed else "passed", words, [*each, *worst])
    page = verification_page(
        title="Verification",
        model={"name": model.name, "sha256": model.digest or "", "card": recognizer.card},
        packs=[pack_report(name, packs[name], verified) for name, verified in result.packs.items()],
        settings={"computed": str(recognizer)},
        notes=result.notices,
        verdict=verdict if result.gates else None,
    )
    file.write(page, overwrite=overwrite)
    return replace(result, report=file.path)


def _in_folder(pack: PackSource) -> bool:
    return pack.path.name == "pairs.txt"
