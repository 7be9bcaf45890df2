"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.data.images.header import allow_pixels


def _allow(pixels: int) -> int:
    allow_pixels(pixels)
    return pixels


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else there.")]
RefusedFile = Annotated[
    Path | None,
    typer.Option("--refused", metavar="FILE", help="Write what was refused, and why, to FILE (it names people)."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a stopped run of the same command ended.")]
KeyFile = Annotated[
    Path,
    typer.Option("--key", metavar="FILE", help="The steward's secret key; made when absent. Never inside a dataset."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", help="Derive masks from this number and names, not the key: for experiments, it is no secret."
    ),
]
MaskColor = Annotated[
    str | None,
    typer.Option(
        "--mask-color", metavar="RRGGBB", help="Colour of the hidden patches where faces were masked elsewhere."
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="What the network runs on.")]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="auto|bf16|fp32", help="bf16 where the hardware computes in it, or fp32."),
]
Workers = Annotated[
    int | None, typer.Option("--workers", help="Threads that read and write images.", show_default="one a CPU core")
]
# Of all that decode images, and of no task in particular: it holds for the process.
MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels",
        min=1,
        callback=_allow,
        help="Refuse larger images before they are decoded, and files of over 4 bytes a pixel (64 MiB at least).",
    ),
]
# Of the two commands that train.
ModelFolder = Annotated[
    Path | None, typer.Option("--out", help="The model folder to write.", show_default="runs/<model>")
]
Architecture = Annotated[
    str, typer.Option("--model", help="The card that says what is built, and its recipe: a name or a folder.")
]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", metavar="FILE", help="YAML with any fields of a recipe.")]
Init = Annotated[
    str | None,
    typer.Option("--init", help="Start from the weights of this trained model.", show_default="fresh"),
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Passes over the faces.")]
Warmup = Annotated[float | None, typer.Option("--warmup", help="Epochs of rising learning rate.")]
StepSize = Annotated[int | None, typer.Option("--batch-size", help="Faces a step, over all processes.")]
RunSeed = Annotated[int | None, typer.Option("--seed", help="Where all random choices come from.")]
# Of the commands that embed faces.
Cache = Annotated[
    Path | None, typer.Option("--cache", metavar="DIR", help="Keep features here, for the next run to use again.")
]
BatchSize = Annotated[str, typer.Option("--batch-size", metavar="auto|N", help="Faces the device computes at a time.")]
