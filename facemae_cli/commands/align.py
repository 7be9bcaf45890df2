"""`facemae align`: from photos to aligned crops."""

from pathlib import Path
from typing import Annotated, Literal

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import Overwrite, RefusedFile, Resume, Workers, files, model


@task_command(example="facemae align -i photos -o raw --doubtful doubtful.png --refused refused.jsonl")
def align(
    input: Annotated[
        Path, files("--in", "-i", metavar="DATA", help="Photos: a folder, one folder per person, or what holds images.")
    ] = Path("photos"),
    out: Annotated[Path, files("--out", "-o", metavar="DATA", help="Aligned faces: a folder, or X.rec.")] = Path("raw"),
    faces: Annotated[
        Literal["largest", "centre", "all", "refuse"],
        files(
            "--faces",
            metavar="largest|centre|all|refuse",
            help="Of several faces in a photo: the largest, the one nearest the centre, all, or refuse the photo.",
        ),
    ] = "largest",
    min_side: Annotated[
        int, files("--min-side", metavar="N", help="Refuse faces whose crop is smaller than N x N pixels in the photo.")
    ] = 48,
    min_sharpness: Annotated[
        float,
        files(
            "--min-sharpness", metavar="SHARE", help="Refuse blurred faces: sharp ones have about 0.35; 0 refuses none."
        ),
    ] = 0.07,
    format: Annotated[
        Literal["jpg", "png"], files("--format", metavar="jpg|png", help="What crops are written as.")
    ] = "jpg",
    doubtful: Annotated[
        Path | None,
        files("--doubtful", metavar="FILE", help="Write a sheet of the most doubtful crops (PNG); it shows faces."),
    ] = None,
    detector: Annotated[
        Path | None,
        model(
            "--detector",
            metavar="FILE",
            help="YuNet's ONNX file.",
            show_default="fetched from hf-hub:opencv/face_detection_yunet",
        ),
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    workers: Workers = None,
) -> None:
    """Find the faces in photos and cut them out, upright and aligned, as the other commands expect them.

    Crops have 112x112 pixels, the eyes, nose and mouth where recognisers were trained to see them (the ArcFace
    template). Names and nesting are kept, metadata is not. What has no usable face is refused and counted.
    """
