"""`facemae train-recognizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.console import Console
from facemae_cli.commands.options import (
    Architecture,
    Cache,
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
    app.command("train-recognizer")(train_recognizer)


def train_recognizer(
    data: Annotated[
        Path, typer.Option("--data", help="Faces to learn: a folder of folders or a .rec; masked ones too.")
    ] = Path("released"),
    out: ModelFolder = None,
    model: Architecture = "r50",
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="Verify on this pack after each epoch: a .bin, or a folder with pairs.txt."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="Learn the features of this embedder too: a name, a folder, .onnx, .pth."),
    ] = None,
    recipe: RecipeFile = None,
    init: Init = None,
    margin: Annotated[
        str | None,
        typer.Option("--margin", metavar="arcface|cosface|none", help="What labels teach; none: a teacher alone."),
    ] = None,
    m: Annotated[float | None, typer.Option("--m", help="The margin: an angle in radians, or a cosine.")] = None,
    scale: Annotated[float | None, typer.Option("--scale", help="What cosines are multiplied by.")] = None,
    sample_rate: Annotated[
        float | None, typer.Option("--sample-rate", help="Share of the people compared with in a step (PartialFC).")
    ] = None,
    teacher_weight: Annotated[
        float | None, typer.Option("--teacher-weight", help="Weight of the distance to the teacher.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="steps|poly|cosine", help="How the learning rate falls.")
    ] = None,
    epochs: Epochs = None,
    warmup: Warmup = None,
    batch_size: StepSize = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate for 512 faces a step.")] = None,
    validation: Annotated[
        int | None, typer.Option("--validation", help="Hold out people with about so many faces, and verify on them.")
    ] = None,
    seed: RunSeed = None,
    export: Annotated[
        list[str] | None, typer.Option("--export", metavar="onnx|pth", help="Write the recogniser in this form too.")
    ] = None,
    cache: Cache = None,
    precision: Precision = "auto",
    device: Device = "auto",
    overwrite: Overwrite = False,
    resume: Resume = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    json: Json = False,
    refused: RefusedFile = None,
) -> int:
    """Train a recogniser on released, original or masked faces.

    People and faces are counted from --data. Fields that no option and no --recipe names come from the model card's
    own recipe.
    """
    from facemae_cli.tasks.train_recognizer import train_recognizer as run

    with Console(json=json, refused=refused) as console:
        result = run(
            data=data,
            out=out,
            model=model,
            pairs=pairs,
            teacher=teacher,
            recipe=recipe,
            init=init,
            margin=margin,
            m=m,
            scale=scale,
            sample_rate=sample_rate,
            teacher_weight=teacher_weight,
            schedule=schedule,
            epochs=epochs,
            warmup=warmup,
            batch_size=batch_size,
            lr=lr,
            validation=validation,
            seed=seed,
            export=export,
            cache=cache,
            precision=precision,
            device=device,
            overwrite=overwrite,
            resume=resume,
            progress=console,
        )
        return console.finish(result)
