"""`facemae train-recognizer`: a recogniser from released, original or masked faces."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    Architecture,
    Cache,
    Device,
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
    from_card,
    model,
)


@task_command(example="facemae train-recognizer -i released -m r50 -o runs/r50 --pairs lfw.bin --export onnx")
def train_recognizer(
    data: Annotated[
        Path,
        files(
            "--data",
            "-i",
            metavar="DATA",
            help="Faces to learn, masked ones too: a folder of images, a .rec, .parquet, .zip or .tar.",
        ),
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
    model: Architecture = "r50",
    init: Annotated[
        str | None,
        model(
            "--init", metavar="MODEL", help="Start from this trained model's weights.", show_default="random weights"
        ),
    ] = None,
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
        from_card(
            "--margin",
            metavar="arcface|cosface|none",
            help="Loss on identity labels; none: learn from the teacher alone.",
        ),
    ] = None,
    m: Annotated[
        float | None, from_card("--m", metavar="NUMBER", help="The margin: an angle in radians, or a cosine.")
    ] = None,
    scale: Annotated[
        float | None, from_card("--scale", metavar="NUMBER", help="What cosines are multiplied by.")
    ] = None,
    sample_rate: Annotated[
        float | None,
        from_card("--sample-rate", metavar="SHARE", help="Share of the people compared with per step (PartialFC)."),
    ] = None,
    teacher_weight: Annotated[
        float | None, from_card("--teacher-weight", metavar="WEIGHT", help="Weight of the distance to the teacher.")
    ] = None,
    schedule: Annotated[
        str | None, from_card("--schedule", metavar="steps|poly|cosine", help="How the learning rate falls.")
    ] = None,
    epochs: Annotated[int | None, from_card("--epochs", metavar="N", help="Passes over the faces.")] = None,
    warmup: Warmup = None,
    batch_size: StepSize = None,
    lr: Annotated[float | None, from_card("--lr", metavar="RATE", help="Learning rate for 512 faces per step.")] = None,
    validation: Annotated[
        int | None,
        from_card("--validation", metavar="N", help="Hold out people with about N faces, and verify on them."),
    ] = None,
    seed: RunSeed = None,
    cache: Cache = None,
    precision: Precision = "auto",
    device: Device = "auto",
) -> None:
    """Train a recogniser on released, original or masked faces.

    People and faces are counted from --data. What no option and no --recipe sets comes from the recipe in the model's
    card, and else from the paper.
    """
