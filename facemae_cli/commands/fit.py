"""`facemae fit`: a masked autoencoder."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    Architecture,
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


@task_command(example="facemae fit -i public -m facemae-small --embedder embedder-v1 -o runs/mine")
def fit(
    data: Annotated[
        Path,
        files(
            "--data",
            "-i",
            metavar="DATA",
            help="Faces of other people: a folder of images, a .rec, .parquet, .zip or .tar.",
        ),
    ] = Path("public"),
    out: ModelFolder = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    model: Architecture = "facemae-tiny",
    init: Annotated[
        list[str] | None,
        model(
            "--init",
            metavar="MODEL",
            help="Start from this trained model's weights; repeatable: from the mean of theirs.",
            show_default="random weights",
        ),
    ] = None,
    embedder: Annotated[
        list[str] | None,
        model(
            "--embedder",
            metavar="MODEL",
            help="The frozen embedder to match: a bundled name, a folder, .onnx, .pth or hf-hub:OWNER/NAME; "
            "repeatable.",
        ),
    ] = None,
    recipe: RecipeFile = None,
    loss: Annotated[
        str | None,
        from_card("--loss", metavar="irm|mse|mixed", help="Relation matching, pixels (a plain MAE), or both."),
    ] = None,
    beta: Annotated[float | None, from_card("--beta", metavar="WEIGHT", help="Weight of relation matching.")] = None,
    pixel_weight: Annotated[
        float | None,
        from_card("--pixel-weight", metavar="WEIGHT", help="Weight of the pixel error under --loss mixed."),
    ] = None,
    privacy_margin: Annotated[
        float | None,
        from_card(
            "--privacy-margin",
            metavar="COSINE",
            help="Push each face's cosine to its own original, as the embedder sees it, below this.",
        ),
    ] = None,
    view_shift: Annotated[
        int | None,
        from_card("--view-shift", metavar="N", help="Shift what the embedder sees by up to N pixels of 112."),
    ] = None,
    view_blur: Annotated[
        float | None,
        from_card("--view-blur", metavar="SIGMA", help="Blur what the embedder sees by up to SIGMA pixels of 112."),
    ] = None,
    ratio: Annotated[float | None, from_card("--ratio", metavar="SHARE", help="Share of the patches hidden.")] = None,
    epochs: Annotated[int | None, from_card("--epochs", metavar="N", help="Passes over the faces; 0: none.")] = None,
    warmup: Warmup = None,
    batch_size: StepSize = None,
    lr: Annotated[float | None, from_card("--lr", metavar="RATE", help="Learning rate for 256 faces per step.")] = None,
    seed: RunSeed = None,
    precision: Precision = "auto",
    device: Device = "auto",
) -> None:
    """Fit a masked autoencoder on other people's faces.

    What no option and no --recipe sets comes from the recipe in the model's card, and else from the paper.
    """
