"""Measure how much a release still gives its people away, with its uncertainty, and judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from facemae_cli import __version__
from facemae_cli.data.side_files import SideFile, check_report_and_cache, report_page
from facemae_cli.evaluation.leakage.attackers import Origin, Trust, load_attackers
from facemae_cli.evaluation.leakage.audit import Audit
from facemae_cli.evaluation.leakage.autoencoders import Autoencoders
from facemae_cli.evaluation.leakage.datasets import match_people, open_datasets
from facemae_cli.evaluation.leakage.further_findings import plan_further
from facemae_cli.evaluation.leakage.identification import Plan
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.options import check_options, listed, parse_identities, parse_ks
from facemae_cli.evaluation.leakage.results import Photo
from facemae_cli.evaluation.leakage.verdict import Limits
from facemae_cli.evaluation.leakage.views import AttackSettings
from facemae_cli.evaluation.retrieval import choose_backend
from facemae_cli.networks import backends
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime import distributed
from facemae_cli.runtime.choices import texts
from facemae_cli.runtime.device import choose_device
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.runtime.paths import as_path
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import thread_count


def leakage(
    original: str | Path = Path("raw"),
    released: str | Path = Path("released"),
    *,
    attacker: str | Sequence[str] | None = None,
    k: int | str | Sequence[int] = "2",
    identities: int | str | Sequence[int | str] = "all",
    trials: int = 5,
    seed: int = 0,
    imitation_model: str | Sequence[str] | None = None,
    imitations: int = 1,
    non_members: str | Path | None = None,
    adapt: str | Path | None = None,
    known_members: int | str | Sequence[int] | None = None,
    groups: str | Path | None = None,
    attributes: str | Path | None = None,
    sources: str | Path | None = None,
    max_leakage: float | None = None,
    max_leakage_same: float | None = None,
    max_tpr: float | None = None,
    photo: Photo = "other",
    max_copies: int | None = None,
    min_attacker: float = 0.6,
    allow_shared_ancestor: bool = False,
    key: str | Path | None = None,
    cache: str | Path | None = None,
    report: str | Path | None = None,
    show_faces: bool = False,
    batch_size: int | str = "auto",
    precision: str = "auto",
    backend: str = "auto",
    device: str = "auto",
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> LeakageResult:
    """Attacks the faces of `released` with the real ones of `original`, by several attackers, and judges the release.

    Attackers are the bundled embedders, `attacker`, thumbnails, and all of these as one.

    original: the real faces, a folder or a `.rec`.
    released: what is attacked; masked faces are also attacked as bundled models and `imitation_model` reconstruct them.
    attacker: embedders beside the bundled ones, by name, path or hub id.
    k: among how many nearest faces a person counts as found: 2, [1, 2, 3] or "1,2,3".
    identities: among how many people: "all", 100, [100, "all"] or "100,300,all".
    trials: samples of people for each number of `identities`, 1 or more.
    seed: from which samples of people, masks and intervals start, 0 or more.
    imitation_model: autoencoders that imitate the release; None: its own, where it is known.
    imitations: masks a photo in the attacker's own release; 0: none is made.
    non_members: faces of people who are not in the release; None: half of the people are left out of it.
    adapt: faces of the attacker's own, to learn from; mixed, if the release is, so of several people then.
    known_members: how many people the attacker knows, real and released: 10, [10, 50] or "10,50,200"; None: nobody.
    groups: a CSV file of people or photos (`data.attributes`), and their groups, whose risk is measured.
    attributes: a CSV file of the same kind, of what might be inferred of released faces.
    sources: a CSV file of the people, and photos, that each released face was made of
        (`evaluation.leakage.sources`); None: it was made of the one whose name it has.
    max_leakage: gate on the risk by other photos of a person, a share, as all gates on the upper end of its interval;
        None: no gate.
    max_leakage_same: gate on the risk by the very photo, a share; None: no gate.
    max_tpr: gate on the share of members recognised at a 1 % false-positive rate; None: no gate.
    photo: by which photos `max_tpr` judges: "other" or "same".
    max_copies: gate on how many released faces may be real ones, exactly or nearly; None: 0, where another gate is
        asked for.
    min_attacker: real -> real, a share, that an attacker must reach to count.
    allow_shared_ancestor: whether a verdict may rest on an attacker that shares an ancestor with the release's model.
    key: tells who is who under pseudonyms; None: `facemae.key`, if it is there.
    cache: a folder that keeps features between runs; None: they are not kept.
    report: an HTML page to write; None: none.
    show_faces: whether `report` shows the faces of the people most exposed; False: it shows none.
    batch_size: faces that the device computes at a time, or "auto".
    precision: what networks compute in: "fp32", "bf16" or "auto", bf16 if the hardware does.
    backend: what computes on a CPU: "torch", "onnxruntime", "openvino", or "auto": torch, or
        onnxruntime for an autoencoder in fp32.
    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one.
    overwrite: whether `report` may replace a file; False: it is refused.
    workers: threads that read images; None: one a CPU core, of which the ranks of a machine each take a share.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError, InputError and OutputError; what could not be measured, and failed gates, are in the result.
    """
    check_options({
        "max_leakage": max_leakage, "max_leakage_same": max_leakage_same, "max_tpr": max_tpr,
        "min_attacker": min_attacker, "max_copies": max_copies, "photo": photo, "k": k, "identities": identities,
        "known_members": known_members, "trials": trials, "imitations": imitations, "seed": seed, "workers": workers,
        "show_faces": show_faces, "report": report, "batch_size": batch_size,
    })  # fmt: skip
    original, released = Path(original), Path(released)
    non_members, adapt, key, cache, report = map(as_path, (non_members, adapt, key, cache, report))
    sources, groups, attributes = map(as_path, (sources, groups, attributes))
    limits = Limits(max_leakage, max_leakage_same, max_tpr, photo, max_copies)
    paths = [path for path in (original, released, non_members, adapt) if path is not None]
    page = report_page(report)
    check_report_and_cache(page, cache, paths, overwrite=overwrite)
    chosen, ks = choose_device(device), parse_ks(listed(k))
    data = open_datasets(original, released, non_members, adapt)
    matching, unmeasured = match_people(data, key, sources)
    asked = None if known_members is None else listed(known_members)
    further = plan_further(data.original, matching, asked, groups, attributes)
    plan = Plan(ks, parse_identities(listed(identities), matching.names.people), trials, seed, str(chosen))
    models = [resolve(each, "mae") for each in texts(imitation_model)]
    keep_freed_memory()
    faces = len(data.original) + len(data.released)
    attackers = load_attackers(texts(attacker), device, precision, backend, faces)
    origin = Origin.of(data.manifest, models)
    by, computed = backends.choose_backend(backend, precision, chosen, faces, autoencoder=True)
    how = Autoencoders(models, computed, chosen, str(batch_size), by)
    imitators, why_none = how.imitators(origin, data, imitations)
    settings = AttackSettings(
        attackers, imitators, how.rebuilders(data), imitations, seed, str(batch_size), thread_count(workers), cache,
        how.adapter(origin, data),
    )  # fmt: skip
    trust = Trust(origin, min_attacker, allow_shared_ancestor)
    audit = Audit(
        data, matching, settings, plan, trust, limits, show_faces, _repeatable(plan, settings, trust), further
    )
    with distributed.process_group(chosen):
        result = audit.run(tuple(unmeasured), why_none, progress)
        if page is not None and distributed.rank() == 0:
            result = _with_report(page, result, overwrite)
    return result


def _repeatable(plan: Plan, settings: AttackSettings, trust: Trust) -> dict[str, str]:
    """How it is measured, for who wants to repeat it."""
    imitated = [
        f"{each.name} ({each.digest.partition(' ')[0][:12]}..., {each.precision} by {each.backend})"
        for each in settings.imitators
    ]
    rows = {
        "K": ", ".join(map(str, plan.ks)),
        "people": ", ".join("all" if count is None else str(count) for count in plan.identities),
        "samples of people": str(plan.trials),
        "seed": str(plan.seed),
        "imitated by": "; ".join(imitated) or "nothing",
        "imitations a photo": str(settings.times),
        "masks of imitations": str(settings.imitators[0].recipe) if settings.imitators else "none",
        "minimum real -> real": str(trust.min_attacker),
        "ancestors shared with the release allowed": "yes" if trust.allow_shared_ancestor else "no",
        "bootstrap resamples": str(plan.resamples),
        "search": f"exact, {choose_backend(plan.device)} on {plan.device}",
        "facemae": __version__,
    }
    if settings.adapter:
        rows["adapted to faces made by"] = f"{settings.adapter.name}, {settings.adapter.recipe}"
    return rows | {f"attacker {name}": str(each) for name, each in settings.attackers.items()}


def _with_report(page: SideFile, result: LeakageResult, overwrite: bool) -> LeakageResult:
    """Writes the page for a person: it tells who is exposed, so it is its owner's alone (0600)."""
    from facemae_cli.evaluation.leakage.page import audit_page  # brings matplotlib and jinja2

    page.write(audit_page(result), overwrite=overwrite)
    return replace(result, report=page.path)
