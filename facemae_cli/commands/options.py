"""Options that several commands share, so that they read the same everywhere, and the groups that help shows them in.

In help a dataset is DATA, a file FILE, a folder DIR, a model MODEL, a whole number N, a share of 1 SHARE. Where a flag
has two long names, the second is an old spelling, which works and is not shown.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.data.images.headers.header import allow_pixels

# One maker of options a group of the help.
files = partial(typer.Option, rich_help_panel="Input and output")
model = partial(typer.Option, rich_help_panel="Model")
privacy = partial(typer.Option, rich_help_panel="Privacy")
training = partial(typer.Option, rich_help_panel="Training")
from_card = partial(training, show_default="the card's")
attack = partial(typer.Option, rich_help_panel="Attack")
gates = partial(typer.Option, rich_help_panel="Gates: exit code 1 where one does not pass")
machine = partial(typer.Option, rich_help_panel="Machine")


def _allow(pixels: int) -> int:
    allow_pixels(pixels)
    return pixels


Json = Annotated[bool, files("--json", help="Print the result as JSON on stdout, and nothing else there.")]
RefusedFile = Annotated[
    Path | None, files("--refused", metavar="FILE", help="Write what was refused, and why, to FILE; it names people.")
]
AuditFiles = Annotated[
    list[Path] | None,
    files(
        "--audit",
        metavar="FILE",
        help="JSON of `leakage --json` or `verify --json`, for the card beside the dataset; repeatable.",
    ),
]
Overwrite = Annotated[bool, files("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[bool, files("--resume", help="Go on where a stopped run of the same command ended.")]
KeyFile = Annotated[
    Path,
    privacy("--key", "-k", metavar="FILE", help="The steward's secret key; made when absent, never inside a dataset."),
]
MaskedKey = Annotated[
    Path, privacy("--key", "-k", metavar="FILE", help="The secret key that the faces were masked with.")
]
Seed = Annotated[
    int | None,
    privacy(
        "--seed",
        metavar="N",
        help="Derive masks from this number and the names, not from the key: for experiments; it is not a secret.",
    ),
]
MaskColor = Annotated[
    str | None,
    files(
        "--mask-color", metavar="RRGGBB", help="Colour of the hidden patches where faces were masked by other tools."
    ),
]
Autoencoder = Annotated[
    str,
    model(
        "--model", "-m", metavar="MODEL", help="A fitted autoencoder: a bundled name, a folder or hf-hub:OWNER/NAME."
    ),
]
Device = Annotated[str, machine("--device", metavar="auto|cpu|cuda", help="What the networks run on.")]
Precision = Annotated[
    str,
    machine(
        "--precision",
        metavar="auto|bf16|fp32",
        help="Number format in which networks compute; auto: bf16 if the hardware does.",
    ),
]
Backend = Annotated[
    str,
    machine(
        "--backend",
        metavar="auto|torch|onnxruntime|openvino",
        help="What computes networks on a CPU; auto: torch, or onnxruntime for an autoencoder in fp32. An .onnx file "
        "runs in onnxruntime on a CPU in fp32.",
    ),
]
Workers = Annotated[
    int | None,
    machine(
        "--workers", metavar="N", help="Processes or threads that read and write images.", show_default="one a CPU core"
    ),
]
# Of all that decode images, and of no task in particular: it holds for the process.
MaxPixels = Annotated[
    int,
    machine(
        "--max-pixels",
        metavar="N",
        min=1,
        callback=_allow,
        help="Refuse larger images before they are decoded, and files of over 4 bytes a pixel (64 MiB at least).",
    ),
]
# Of the two commands that train.
ModelFolder = Annotated[
    Path | None, files("--out", "-o", metavar="DIR", help="The model folder to write.", show_default="runs/MODEL")
]
Architecture = Annotated[
    str,
    model(
        "--model", "-m", metavar="MODEL", help="The card of what is built, and its recipe: a bundled name or a folder."
    ),
]
RecipeFile = Annotated[
    Path | None, training("--recipe", metavar="FILE", help="YAML with fields of a recipe, which win over the card's.")
]
Warmup = Annotated[float | None, from_card("--warmup", metavar="EPOCHS", help="How long the learning rate rises.")]
StepSize = Annotated[int | None, from_card("--batch-size", metavar="N", help="Faces per step, over all processes.")]
RunSeed = Annotated[int | None, from_card("--seed", metavar="N", help="Where all random choices come from.")]
# Of the commands that embed faces.
Groups = Annotated[
    Path | None,
    files("--groups", metavar="FILE", help="A CSV with a column name or photo, and columns of groups to report by."),
]
Cache = Annotated[Path | None, machine("--cache", metavar="DIR", help="Keep features here, for the next run to use.")]
BatchSize = Annotated[str, machine("--batch-size", metavar="auto|N", help="Faces the device computes at a time.")]
