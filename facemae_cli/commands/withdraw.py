"""`facemae withdraw`: take people or photos out of datasets."""

from pathlib import Path
from typing import Annotated

import typer

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import MaskedKey, Workers, files, privacy


@task_command(example="facemae withdraw masked released --people withdrawn.txt -k facemae.key")
def withdraw(
    datasets: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            help="Datasets that facemae made, folders, .rec or .parquet: masked, released, converted.",
            rich_help_panel="Input and output",
        ),
    ],
    people: Annotated[
        Path,
        files(
            "--people",
            metavar="FILE",
            help="File listing the people to remove, one per line, as in the raw data: person, or person/photo.",
        ),
    ],
    key: MaskedKey = Path("facemae.key"),
    raw: Annotated[
        Path | None,
        privacy("--raw", metavar="DATA", help="The raw dataset: finds people in subfolders of a person, under a key."),
    ] = None,
    sources: Annotated[
        Path | None,
        privacy("--sources", metavar="FILE", help="Of whom mixed faces were made: what mask --protect wrote."),
    ] = None,
    workers: Workers = None,
) -> None:
    """Take people or photos out of masked, released and converted datasets, as if they had never been in them.

    Each dataset is replaced at once, and nothing of those withdrawn is left in any of its files; all other images keep
    their names and bytes. Raw photos, copies handed on, trained models, caches and reports are not touched.
    """
