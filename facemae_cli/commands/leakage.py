"""`facemae leakage`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import (
    BatchSize,
    Cache,
    Device,
    Json,
    MaxPixels,
    Overwrite,
    Precision,
    RefusedFile,
    Workers,
)
from facemae_cli.data.images.header import MAX_PIXELS


def register(app: typer.Typer) -> None:
    app.command("leakage")(leakage)


def leakage(
    original: Annotated[
        Path, typer.Option("--original", metavar="DATA", help="The real faces: a folder or a .rec.")
    ] = Path("raw"),
    released: Annotated[
        Path, typer.Option("--released", metavar="DATA", help="What is attacked: a folder or a .rec.")
    ] = Path("released"),
    attacker: Annotated[
        list[str] | None,
        typer.Option(
            "--attacker",
            metavar="MODEL",
            help="An embedder: a bundled name (unless said, embedder-v1 and probe-v1), a folder, .onnx, .pth or "
            "hf-hub:ID; may be said again.",
        ),
    ] = None,
    k: Annotated[
        str, typer.Option("--k", metavar="K[,K...]", help="Among how many nearest faces a person counts as found.")
    ] = "2",
    identities: Annotated[
        str,
        typer.Option("--identities", metavar="N[,N...],all", help="Among how many people, such as 100,1000,all."),
    ] = "all",
    trials: Annotated[int, typer.Option("--trials", help="Draws of people for each number of --identities.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="What draws of people, masks and intervals start from.")] = 0,
    imitation_model: Annotated[
        list[str] | None,
        typer.Option(
            "--imitation-model",
            metavar="MODEL",
            help="What draws the attacker's own release; by default the model of this one; may be said again.",
        ),
    ] = None,
    imitations: Annotated[
        int, typer.Option("--imitations", help="Masks a photo in the attacker's own release; 0 leaves it out.")
    ] = 1,
    non_members: Annotated[
        Path | None,
        typer.Option(
            "--non-members",
            metavar="DATA",
            help="Faces of people who are not in the release; by default half of the people are left out of it.",
        ),
    ] = None,
    adapt: Annotated[
        Path | None,
        typer.Option("--adapt", metavar="DATA", help="Other faces, on which each attacker learns to see through it."),
    ] = None,
    max_leakage: Annotated[
        float | None,
        typer.Option(
            "--max-leakage", metavar="SHARE", help="Exit with 1 unless the risk's upper end is at most SHARE."
        ),
    ] = None,
    max_tpr: Annotated[
        float | None,
        typer.Option(
            "--max-tpr",
            metavar="SHARE",
            help="Exit with 1 unless the share of members told at 1 % false positives is, at its upper end, within it.",
        ),
    ] = None,
    min_attacker: Annotated[
        float,
        typer.Option("--min-attacker", metavar="SHARE", help="The least real -> real of who carries a verdict."),
    ] = 0.6,
    allow_shared_ancestor: Annotated[
        bool,
        typer.Option(
            "--allow-shared-ancestor",
            help="Let an attacker that shares an ancestor with the release's model carry a verdict.",
        ),
    ] = False,
    allow_phi: Annotated[bool, typer.Option("--allow-phi", hidden=True, help="What it was called before.")] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="The key that pseudonyms came from.", show_default="facemae.key, if there"
        ),
    ] = None,
    cache: Cache = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page for people.")
    ] = None,
    show_faces: Annotated[bool, typer.Option("--show-faces", help="Show faces of exposed people in --report.")] = False,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Attack a release: how often real photos still find their people in it, and gate on it.

    Shown together: real photos against the release, against each other, imitations of the release against it, chance,
    and whether it can be told who is in it at all.
    """
    from facemae_cli.tasks.leakage import leakage as run

    with Console(json=json, refused=refused, outputs=(original, released)) as console:
        result = run(
            original=original,
            released=released,
            attacker=attacker,
            k=k,
            identities=identities,
            trials=trials,
            seed=seed,
            imitation_model=imitation_model,
            imitations=imitations,
            non_members=non_members,
            adapt=adapt,
            max_leakage=max_leakage,
            max_tpr=max_tpr,
            min_attacker=min_attacker,
            allow_shared_ancestor=allow_shared_ancestor or allow_phi,
            key=key,
            cache=cache,
            report=report,
            show_faces=show_faces,
            batch_size=batch_size,
            precision=precision,
            device=device,
            overwrite=overwrite,
            workers=workers,
            progress=console,
        )
        return console.finish(result)
