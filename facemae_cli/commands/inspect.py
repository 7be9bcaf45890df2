"""`facemae inspect`: what a dataset is, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import RefusedFile, Workers


@task_command(example="facemae inspect released")
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of images, .rec, .parquet, .zip, .tar, .bin or pairs.txt.",
            rich_help_panel="Input and output",
        ),
    ],
    refused: RefusedFile = None,
    workers: Workers = None,
) -> None:
    """Say what a dataset is: its format, faces, people, sizes and masks, and what is wrong with it.

    Every image is decoded, so a damaged one is found. Nothing is written.
    """
