"""`facemae verify`: how well a recogniser tells people apart."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import (
    Backend,
    BatchSize,
    Cache,
    Device,
    Groups,
    Overwrite,
    Precision,
    RefusedFile,
    Workers,
    files,
    gates,
    model,
)


@task_command(example="facemae verify -m runs/r50 --pairs lfw.bin --min-accuracy 0.99 --report lfw.html")
def verify(
    pairs: Annotated[
        list[Path], files("--pairs", metavar="PACK", help="A .bin, or a folder of images with a pairs.txt; repeatable.")
    ],
    model: Annotated[
        str | None,
        model(
            "--model",
            "-m",
            metavar="MODEL",
            help="An embedder: a bundled name, a folder, .onnx, .pth or hf-hub:OWNER/NAME.",
            show_default="embedder-v1",
        ),
    ] = None,
    min_accuracy: Annotated[
        list[str] | None,
        gates("--min-accuracy", metavar="[PACK=]SHARE", help="Least accuracy of a pack, such as 0.99; repeatable."),
    ] = None,
    report: Annotated[
        Path | None, files("--report", metavar="FILE", help="Write an HTML page for people; it shows faces.")
    ] = None,
    write_pack: Annotated[
        Path | None,
        files("--write-pack", metavar="FILE", help="Write the folder of --pairs as a .bin; needs no --model."),
    ] = None,
    trained_on: Annotated[
        Path | None, files("--trained-on", metavar="DATA", help="The training faces, to count people who are in both.")
    ] = None,
    groups: Groups = None,
    overwrite: Overwrite = False,
    refused: RefusedFile = None,
    cache: Cache = None,
    batch_size: BatchSize = "auto",
    precision: Precision = "auto",
    backend: Backend = "auto",
    device: Device = "auto",
    workers: Workers = None,
) -> None:
    """Measure how well a recogniser tells people apart, and gate on it.

    InsightFace's protocol: ten folds, mirrored images added. Pairs of which a face cannot be read are left out,
    counted and listed.
    """
