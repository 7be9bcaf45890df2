"""`facemae fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import (
    Architecture,
    Device,
    Epochs,
    Init,
    Json,
    MaxPixels,
    ModelFolder,
    Overwrite,
    Precision,
    RecipeFile,
    RefusedFile,
    Resume,
    RunSeed,
    StepSize,
    Warmup,
)
from facemae_cli.data.images.header import MAX_PIXELS


def register(app: typer.Typer) -> None:
    app.command("fit")(fit)


def fit(
    data: Annotated[Path, typer.Option("--data", help="Faces of other people: a folder or a .rec.")] = Path("public"),
    out: ModelFolder = None,
    model: Architecture = "facemae-tiny",
    embedder: Annotated[
        list[str] | None,
        typer.Option(
            "--embedder",
            help="The frozen embedder to match: a name, a folder, .onnx, .pth or hf-hub:ID; may be said again.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    init: Init = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", metavar="irm|mse|mixed", help="Relation matching, pixels (a plain MAE), or both."),
    ] = None,
    beta: Annotated[float | None, typer.Option("--beta", help="Weight of relation matching.")] = None,
    pixel_weight: Annotated[
        float | None, typer.Option("--pixel-weight", help="Weight of the pixel error under --loss mixed.")
    ] = None,
    privacy_margin: Annotated[
        float | None,
        typer.Option(
            "--privacy-margin", help="Push each face's cosine to its own original, as phi sees it, below this."
        ),
    ] = None,
    view_shift: Annotated[
        int | None, typer.Option("--view-shift", help="Shift what the embedder sees by up to so many pixels of 112.")
    ] = None,
    view_blur: Annotated[
        float | None, typer.Option("--view-blur", help="Blur what the embedder sees by up to this sigma, in pixels.")
    ] = None,
    ratio: Annotated[float | None, typer.Option("--ratio", help="Share of the patches hidden.")] = None,
    epochs: Epochs = None,
    warmup: Warmup = None,
    batch_size: StepSize = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate for 256 faces a step.")] = None,
    seed: RunSeed = None,
    precision: Precision = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Fit a masked autoencoder on other people's faces.

    Fields that no option and no --recipe names come from the model card's own recipe.
    """
    from facemae_cli.tasks.fit import fit as run

    with Console(json=json, refused=refused) as console:
        result = run(
            data=data,
            out=out,
            model=model,
            embedder=embedder,
            recipe=recipe,
            init=init,
            loss=loss,
            beta=beta,
            pixel_weight=pixel_weight,
            privacy_margin=privacy_margin,
            view_shift=view_shift,
            view_blur=view_blur,
            ratio=ratio,
            epochs=epochs,
            warmup=warmup,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            precision=precision,
            device=device,
            overwrite=overwrite,
            resume=resume,
            progress=console,
        )
        return console.finish(result)
