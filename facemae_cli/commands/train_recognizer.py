"""`facemae train-recognizer`: a recogniser from released, original or masked faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    THE_CARDS,
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
    files,
    model,
    training,
)
from facemae_cli.data.images.header import MAX_PIXELS


@task_command(example="facemae train-recognizer -i released -m r50 -o runs/r50 --pairs lfw.bin --export onnx")
def train_recognizer(
    data: Annotated[
        Path,
        files("--data", "-i", metavar="DATA", help="Faces to learn: a folder of folders, or a .rec; masked ones too."),
    ] = Path("released"),
    out: ModelFolder = None,
    pairs: Annotated[
        list[Path] | None,
        files(
            "--pairs",
            metavar="PACK",
            help="Verify on this pack after each epoch: a .bin, or a folder with pairs.txt; repeatable.",
        ),
    ] = None,
    export: Annotated[
        list[str] | None,
        files("--export", metavar="onnx|pth", help="Write the recogniser in this form too; repeatable."),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    json: Json = False,
    model: Architecture = "r50",
    init: Init = None,
    teacher: Annotated[
        str | None,
        model(
            "--teacher",
            metavar="MODEL",
            help="Learn this embedder's features too: a bundled name, a folder, .onnx, .pth or hf-hub:OWNER/NAME.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    margin: Annotated[
        str | None,
        training(
            "--margin",
            metavar="arcface|cosface|none",
            help="What labels teach; none: a teacher alone.",
            show_default=THE_CARDS,
        ),
    ] = None,
    m: Annotated[
        float | None,
        training("--m", metavar="NUMBER", help="The margin: an angle in radians, or a cosine.", show_default=THE_CARDS),
    ] = None,
    scale: Annotated[
        float | None,
        training("--scale", metavar="NUMBER", help="What cosines are multiplied by.", show_default=THE_CARDS),
    ] = None,
    sample_rate: Annotated[
        float | None,
        training(
            "--sample-rate",
            metavar="SHARE",
            help="Share of the people compared with in a step (PartialFC).",
            show_default=THE_CARDS,
        ),
    ] = None,
    teacher_weight: Annotated[
        float | None,
        training(
            "--teacher-weight", metavar="WEIGHT", help="Weight of the distance to the teacher.", show_default=THE_CARDS
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        training(
            "--schedule", metavar="steps|poly|cosine", help="How the learning rate falls.", show_default=THE_CARDS
        ),
    ] = None,
    epochs: Epochs = None,
    warmup: Warmup = None,
    batch_size: StepSize = None,
    lr: Annotated[
        float | None,
        training("--lr", metavar="RATE", help="Learning rate for 512 faces a step.", show_default=THE_CARDS),
    ] = None,
    validation: Annotated[
        int | None,
        training(
            "--validation",
            metavar="N",
            help="Hold out people with about N faces, and verify on them.",
            show_default=THE_CARDS,
        ),
    ] = None,
    seed: RunSeed = None,
    cache: Cache = None,
    precision: Precision = "auto",
    device: Device = "auto",
    max_pixels: MaxPixels = MAX_PIXELS,
) -> None:
    """Train a recogniser on released, original or masked faces.

    People and faces are counted from --data. What no option and no --recipe sets comes from the recipe in the model's
    card, and else from the paper.
    """
