"""`facemae convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import Json, MaxPixels, Overwrite, RefusedFile, Resume, Workers
from facemae_cli.data.images.header import MAX_PIXELS


def register(app: typer.Typer) -> None:
    app.command("convert")(convert)


def convert(
    input: Annotated[Path, typer.Option("--in", help="A folder of images, a .rec, a .bin or a pairs.txt.")],
    out: Annotated[Path, typer.Option("--out", help="What to make of it: a folder, X.rec, X.bin or DIR/pairs.txt.")],
    pairs: Annotated[
        int | None,
        typer.Option(
            "--pairs", metavar="N", help="Pairs to draw for a pack of faces that have none.", show_default="6000"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="What pairs are drawn from.")] = 0,
    overwrite: Overwrite = False,
    resume: Resume = False,
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Turn a dataset or a verification pack into another format.

    Images are copied byte for byte, with the metadata in them, and names are copied as they are: nothing is made
    harder to find by this command.
    """
    from facemae_cli.tasks.convert import convert as run

    with Console(json=json, refused=refused, outputs=(out,)) as console:
        result = run(
            input=input,
            out=out,
            pairs=pairs,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            workers=workers,
            progress=console,
        )
        return console.finish(result)
