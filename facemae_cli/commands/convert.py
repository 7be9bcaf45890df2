"""`facemae convert`: a dataset or a verification pack in another format."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import AuditFiles, Overwrite, RefusedFile, Resume, Workers, files


@task_command(example="facemae convert -i released -o insightface/train.rec")
def convert(
    input: Annotated[
        Path,
        files("--in", "-i", metavar="DATA", help="A folder of images, .rec, .parquet, .zip, .tar, .bin or pairs.txt."),
    ],
    out: Annotated[
        Path,
        files("--out", "-o", metavar="DATA", help="What to make: a folder, X.rec, X.parquet, X.bin or DIR/pairs.txt."),
    ],
    pairs: Annotated[
        int | None,
        files("--pairs", metavar="N", help="Pairs to sample for a pack of faces that have none.", show_default="6000"),
    ] = None,
    seed: Annotated[int, files("--seed", metavar="N", help="What pairs are sampled from.")] = 0,
    audit: AuditFiles = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
    refused: RefusedFile = None,
    workers: Workers = None,
) -> None:
    """Turn a dataset or a verification pack into another format.

    Images are copied byte for byte, with the metadata in them, and names are copied as they are: nothing is made
    harder to find by this command.
    """
