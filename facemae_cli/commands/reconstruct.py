"""`facemae reconstruct`: the dataset to release, from a masked one."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    Autoencoder,
    Backend,
    BatchSize,
    Device,
    MaskColor,
    Overwrite,
    Precision,
    RefusedFile,
    Resume,
    Workers,
    files,
)


@task_command(example="facemae reconstruct -i masked -o released -m facemae-v1 --preview preview.png")
def reconstruct(
    input: Annotated[
        Path,
        files("--in", "-i", metavar="DATA", help="Masked faces: a folder of images, a .rec, .parquet, .zip or .tar."),
    ] = Path("masked"),
    out: Annotated[
        Path, files("--out", "-o", metavar="DATA", help="Released faces: a folder, X.rec or X.parquet.")
    ] = Path("released"),
    format: Annotated[str, files("--format", metavar="jpg|png", help="What released faces are.")] = "jpg",
    quality: Annotated[
        int, files("--quality", metavar="N", help="JPEG quality, 1 to 100; chroma is never halved.")
    ] = 95,
    mask_color: MaskColor = None,
    mask_tolerance: Annotated[
        int,
        files("--mask-tolerance", metavar="N", help="How far, 0 to 255, a hidden pixel may be from --mask-color."),
    ] = 8,
    min_hidden: Annotated[
        float | None,
        files(
            "--min-hidden",
            metavar="SHARE",
            help="Refuse faces of which a smaller share is hidden.",
            show_default="0.5 with --mask-color, else 0.2",
        ),
    ] = None,
    preview: Annotated[
        Path | None, files("--preview", metavar="FILE", help="Write a contact sheet of the first faces (PNG).")
    ] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    model: Autoencoder = "facemae-v1",
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    device: Device = "auto",
    workers: Workers = None,
) -> None:
    """Reconstruct every masked face with a fitted model: the dataset to release.

    No pixel of a masked face is copied: all are the model's prediction, unless its card says otherwise. Faces that
    are not masked are refused. Names are copied from the masked dataset.
    """
