"""`facemae demo`: the whole way on drawn people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import Json, Overwrite


def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("facemae-demo"),
    people: Annotated[int, typer.Option("--people", help="How many people to draw.")] = 40,
    photos: Annotated[int, typer.Option("--photos", help="Photos of each of them.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Which people: another number draws others.")] = 0,
    model: Annotated[
        str, typer.Option("--model", help="A fitted autoencoder: a bundled name, a folder, or hf-hub:owner/name.")
    ] = "facemae-v1",
    epochs: Annotated[int, typer.Option("--epochs", help="How long the small recognisers learn.")] = 10,
    overwrite: Overwrite = False,
    json: Json = False,
) -> int:
    """Go the whole way with drawn people who do not exist: mask, reconstruct, train, verify, attack, and a report."""
    from facemae_cli.tasks.demo import demo as task

    with Console(json=json, outputs=(out,)) as console:
        result = task(
            out,
            people=people,
            photos=photos,
            seed=seed,
            model=model,
            epochs=epochs,
            overwrite=overwrite,
            progress=console,
        )
        return console.finish(result)


def register(app: typer.Typer) -> None:
    """Adds the command to the app."""
    app.command("demo")(demo)
