"""`facemae mask`: remove most of each face for good."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import Json, KeyFile, MaxPixels, Overwrite, RefusedFile, Resume, Seed, Workers
from facemae_cli.data.images.header import MAX_PIXELS


class Strategy(StrEnum):
    """Which patches go first."""

    random = "random"
    eyes = "eyes"
    mouth = "mouth"
    parts = "parts"


def mask(
    input: Annotated[Path, typer.Option("--in", help="Raw faces: a folder of images, or a .rec.")] = Path("raw"),
    out: Annotated[Path, typer.Option("--out", help="Masked faces: a folder, or X.rec.")] = Path("masked"),
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", help="Share of each face to hide, of 196 patches.", show_default="0.75; parts: 0.816"),
    ] = None,
    strategy: Annotated[
        Strategy,
        typer.Option(
            "--strategy",
            help="What is always hidden: nothing special, the eyes or the mouth; parts hides all but these.",
        ),
    ] = Strategy.random,
    key: KeyFile = Path("facemae.key"),
    seed: Seed = None,
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Keep names and order instead of pseudonyms and an order by key.")
    ] = False,
    size: Annotated[
        int | None,
        typer.Option("--size", help="Resize each whole face to this many pixels a side first; 14 must divide it."),
    ] = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
) -> int:
    """Remove most of each face for good: raw faces in, masked faces (RGBA PNG) out."""
    from facemae_cli.tasks.mask import mask as task

    with Console(json=json, refused=refused, outputs=(out,)) as console:
        result = task(
            input,
            out,
            ratio=ratio,
            strategy=strategy.value,
            key=key,
            seed=seed,
            keep_names=keep_names,
            size=size,
            overwrite=overwrite,
            resume=resume,
            workers=workers,
            progress=console,
        )
        return console.finish(result)


def register(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("mask")(mask)
