"""Measure how much a release still gives its people away, with its uncertainty, and judge it (design section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from facemae_cli import __version__
from facemae_cli.data.side_files import SideFile, check_report_and_cache, report_page
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.attackers import Origin, load_attackers, warnings
from facemae_cli.evaluation.leakage.audit import (
    AttackSettings,
    Datasets,
    embed_all,
    expose,
    imitated_by,
    measure_all,
    require_imitator,
    who_attacked,
)
from facemae_cli.evaluation.leakage.identification import Plan, parse_identities, parse_ks
from facemae_cli.evaluation.leakage.imitation import Imitator, Recipe
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.evaluation.leakage.verdict import judge
from facemae_cli.evaluation.retrieval import choose_backend, faiss_clash
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import choose_device, choose_precision, keep_freed_memory
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import cores


def leakage(
    original: Path = Path("raw"),
    released: Path = Path("released"),
    *,
    attacker: Sequence[str] | None = None,
    k: str = "2",
    identities: str = "all",
    trials: int = 5,
    seed: int = 0,
    imitation_model: Sequence[str] | None = None,
    imitations: int = 1,
    non_members: Path | None = None,
    adapt: Path | None = None,
    max_leakage: float | None = None,
    max_tpr: float | None = None,
    min_attacker: float = 0.6,
    allow_shared_ancestor: bool = False,
    key: Path | None = None,
    cache: Path | None = None,
    report: Path | None = None,
    show_faces: bool = False,
    batch_size: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    overwrite: bool = False,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> LeakageResult:
    """Attacks the faces of `released` with the real ones of `original`, folders or `.rec`, by each embedder `attacker`.

    `attacker` None: the bundled ones. `k`: "2" or "1,2,3"; `identities`: "all" or "100,300,all", each number in
    `trials` draws. `imitation_model`: what draws the attacker's own release, under `imitations` masks a photo; None:
    the release's own model, where it is known; 0 imitations: none. `non_members`: faces of people who are not in the
    release; None: half of the people are left out of it. `adapt`: faces of the attacker's own to learn from.
    `max_leakage`, `max_tpr`: gates on the upper ends of 95 % intervals, carried by attackers whose real -> real reaches
    `min_attacker` and who, unless `allow_shared_ancestor`, share no ancestor with the release's model. `key` tells who
    is who under pseudonyms; None: `facemae.key`, if it is there. `cache`: a folder that keeps features. `report`: an
    HTML page, with faces if `show_faces`.
    Raises UsageError, InputError and OutputError; what could not be measured, and failed gates, are in the result.
    """
    shares = {"--max-leakage": max_leakage, "--max-tpr": max_tpr, "--min-attacker": min_attacker}
    _check_numbers(shares, {"--trials": trials, "--workers": workers}, imitations, seed)
    datasets = [Path(path) for path in (original, released, non_members, adapt) if path is not None]
    if show_faces and report is None:
        raise UsageError("--show-faces is about the page that --report FILE writes: say that too")
    page = report_page(report)
    check_report_and_cache(page, cache, datasets, overwrite=overwrite)
    chosen, threads, ks = choose_device(device), workers or cores(), parse_ks(k)
    result = LeakageResult(Path(original), Path(released), seed=seed)
    data = Datasets.open(result, key=key, non_members=non_members, adapt=adapt, progress=progress)
    plan = Plan(ks, parse_identities(identities, data.matching.names.people), trials, seed, str(chosen))
    models = [resolve(each, "mae") for each in imitation_model or ()]
    keep_freed_memory()
    attackers, origin = load_attackers(attacker, device, precision), Origin.of(data.manifest, models)
    for name, each in attackers.items():
        data.note(*warnings(name, each, origin))
    how_precise, recipe = choose_precision(precision, chosen), Recipe.of(data.manifest, data.original)
    reconstructed_by = imitated_by(models, origin, data, imitations)
    imitators = [Imitator(model, recipe, chosen, how_precise, batch_size) for model in reconstructed_by]
    require_imitator(adapt, imitators)
    settings = AttackSettings(attackers, imitators, imitations, seed, batch_size, threads, cache)
    result.settings = _settings(plan, settings, recipe, str(min_attacker), allow_shared_ancestor)
    data.note(*filter(None, (faiss_clash(),)))
    with distributed.process_group(chosen):
        data.digest(threads)
        seen = embed_all(data, settings)
        measure_all(data, seen, plan)
        expose(data, seen, plan, threads, show_faces)
        result.attackers = who_attacked(data, seen, origin, min_attacker, allow_shared_ancestor)
        limits = {"max_leakage": max_leakage, "max_tpr": max_tpr}
        result.verdict = judge(result.findings, result.memberships, result.attackers, **limits)
        if page is not None and distributed.rank() == 0:
            _write_report(page, result, overwrite)
    return result


def _check_numbers(
    shares: Mapping[str, float | None], counts: Mapping[str, int | None], imitations: int, seed: int
) -> None:
    for option, share in shares.items():
        if share is not None and 1 < share <= 100:
            raise UsageError(f"{option} {share:g} is over 1: it is a share, so say {share / 100:g} for {share:g} %")
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"{option} {share:g} is no share: give a number from 0 to 1")
    for option, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"{option} {count} measures nothing; give 1 or more")
    if imitations < 0:
        raise UsageError(f"--imitations {imitations}: give 0 for none, 1, or more")
    if seed < 0:
        raise UsageError(f"--seed {seed}: give a number from 0")


def _settings(
    plan: Plan, settings: AttackSettings, recipe: Recipe, min_attacker: str, allow_shared_ancestor: bool
) -> dict[str, str]:
    """How it is measured, for who wants to repeat it."""
    imitated = [
        f"{each.name} ({each.digest.partition(' ')[0][:12]}..., {each.precision})" for each in settings.imitators
    ]
    rows = {
        "K": ", ".join(map(str, plan.ks)),
        "people": ", ".join("all" if count is None else str(count) for count in plan.identities),
        "draws of people": str(plan.trials),
        "seed": str(plan.seed),
        "imitated by": "; ".join(imitated) or "nothing",
        "imitations a photo": str(settings.times),
        "masks of imitations": str(recipe),
        "least real -> real": min_attacker,
        "ancestors shared with the release allowed": "yes" if allow_shared_ancestor else "no",
        "bootstrap resamples": str(plan.resamples),
        "search": f"exact, {choose_backend(plan.device)} on {plan.device}",
        "facemae": __version__,
    }
    return rows | {f"attacker {name}": str(each) for name, each in settings.attackers.items()}


def _write_report(page: SideFile, result: LeakageResult, overwrite: bool) -> None:
    """The page for a person: it tells who is exposed, so it is its owner's alone (0600)."""
    from facemae_cli.evaluation.leakage.page import audit_page  # brings matplotlib and jinja2

    page.write(audit_page(result), overwrite=overwrite)
    result.report = page.path
