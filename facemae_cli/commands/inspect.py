"""`facemae inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import Json, MaxPixels, RefusedFile, Workers
from facemae_cli.data.images.header import MAX_PIXELS


def register(app: typer.Typer) -> None:
    app.command("inspect")(inspect)


def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of images, a .rec, a .bin or a pairs.txt.")],
    workers: Workers = None,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Say what a dataset is: its format, faces, people, sizes and masks, and what is wrong with it.

    Every image is decoded, so a damaged one is found. Nothing is written.
    """
    from facemae_cli.tasks.inspect import inspect as run

    with Console(json=json, refused=refused, outputs=(path,)) as console:
        return console.finish(run(path, workers=workers, progress=console))
