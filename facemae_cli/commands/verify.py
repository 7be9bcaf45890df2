"""`facemae verify`."""

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
    app.command("verify")(verify)


def verify(
    pairs: Annotated[
        list[Path],
        typer.Option("--pairs", metavar="PACK", help="A .bin, or a folder of images with a pairs.txt; repeatable."),
    ],
    model: Annotated[
        str | None,
        typer.Option("--model", help="A folder, a bundled name (default: embedder-v1), .onnx, .pth or hf-hub:ID."),
    ] = None,
    min_accuracy: Annotated[
        list[str] | None,
        typer.Option(
            "--min-accuracy",
            metavar="[PACK=]SHARE",
            help="Exit with 1 where a pack's accuracy is under SHARE, such as 0.99; repeatable.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write an HTML page for people; it shows faces.")
    ] = None,
    cache: Cache = None,
    write_pack: Annotated[
        Path | None,
        typer.Option("--write-pack", metavar="FILE", help="Write the folder of --pairs as a .bin; needs no --model."),
    ] = None,
    trained_on: Annotated[
        Path | None,
        typer.Option("--trained-on", metavar="DATA", help="The training faces, to count people who are in both."),
    ] = None,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Measure how well a recogniser tells people apart, and gate on it.

    InsightFace's protocol: ten folds, mirrored images added. Pairs of which a face cannot be read are left out,
    counted and listed.
    """
    from facemae_cli.tasks.verify import verify as run

    outputs = tuple(path for path in (write_pack, cache) if path is not None)
    with Console(json=json, refused=refused, outputs=outputs) as console:
        result = run(
            pairs=pairs,
            model=model,
            min_accuracy=min_accuracy,
            report=report,
            cache=cache,
            write_pack=write_pack,
            trained_on=trained_on,
            batch_size=batch_size,
            precision=precision,
            device=device,
            overwrite=overwrite,
            workers=workers,
            progress=console,
        )
        return console.finish(result)
