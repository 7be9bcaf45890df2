"""`facemae names`: who is who, for the owner of the key."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import MaskedKey, Overwrite, files


@task_command(example="facemae names -i raw -k facemae.key -o names.csv")
def names(
    input: Annotated[
        Path, files("--in", "-i", metavar="DATA", help="The raw faces, as `facemae mask` was given them.")
    ] = Path("raw"),
    out: Annotated[
        Path, files("--out", "-o", metavar="FILE", help="The CSV file to write; only its owner may read it.")
    ] = Path("names.csv"),
    key: MaskedKey = Path("facemae.key"),
    overwrite: Overwrite = False,
) -> None:
    """Say who is who: each person and photo beside the pseudonym that the key gives them.

    Only who holds the key and the raw names can do so. The file undoes the pseudonyms: keep it as you keep the key.
    """
