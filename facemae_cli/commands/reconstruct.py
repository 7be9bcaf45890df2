"""`facemae reconstruct`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import (
    BatchSize,
    Device,
    Json,
    MaskColor,
    MaxPixels,
    Overwrite,
    Precision,
    RefusedFile,
    Resume,
    Workers,
)
from facemae_cli.data.images.header import MAX_PIXELS


def register(app: typer.Typer) -> None:
    app.command("reconstruct")(reconstruct)


def reconstruct(
    input: Annotated[Path, typer.Option("--in", help="The masked faces: a folder or a .rec.")] = Path("masked"),
    out: Annotated[Path, typer.Option("--out", help="Where the released faces go: a folder or a .rec.")] = Path(
        "released"
    ),
    model: Annotated[
        str, typer.Option("--model", help="A fitted autoencoder: a bundled name, a folder, or hf-hub:owner/name.")
    ] = "facemae-v1",
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    format: Annotated[str, typer.Option("--format", metavar="jpg|png", help="What released faces are.")] = "jpg",
    quality: Annotated[int, typer.Option("--quality", help="JPEG quality, 1 to 100; chroma is never halved.")] = 95,
    mask_color: MaskColor = None,
    mask_tolerance: Annotated[
        int, typer.Option("--mask-tolerance", help="How far, 0 to 255, a hidden pixel may be from --mask-color.")
    ] = 8,
    preview: Annotated[
        Path | None, typer.Option("--preview", metavar="FILE", help="Write a contact sheet of the first faces (PNG).")
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Draw every masked face anew with a fitted model: the dataset to release.

    No pixel of a masked face is copied: all are the model's prediction, unless its card says otherwise. Faces that
    are not masked are refused. Names are copied from the masked dataset.
    """
    from facemae_cli.tasks.reconstruct import reconstruct as run

    with Console(json=json, refused=refused, outputs=(out,)) as console:
        result = run(
            input=input,
            out=out,
            model=model,
            batch_size=batch_size,
            precision=precision,
            device=device,
            format=format,
            quality=quality,
            mask_color=mask_color,
            mask_tolerance=mask_tolerance,
            preview=preview,
            overwrite=overwrite,
            resume=resume,
            workers=workers,
            progress=console,
        )
        return console.finish(result)
