"""`facemae demo`: the whole way on synthetic people."""

from pathlib import Path
from typing import Annotated

from facemae_cli.commands.command import task_command
from facemae_cli.commands.options import Autoencoder, Overwrite, files, training


@task_command(example="facemae demo -o facemae-demo")
def demo(
    out: Annotated[Path, files("--out", "-o", metavar="DIR", help="The folder to make.")] = Path("facemae-demo"),
    people: Annotated[int, files("--people", metavar="N", help="How many synthetic people.")] = 40,
    photos: Annotated[int, files("--photos", metavar="N", help="Photos of each of them.")] = 5,
    seed: Annotated[int, files("--seed", metavar="N", help="Which people: another number gives others.")] = 0,
    model: Autoencoder = "facemae-v1",
    epochs: Annotated[int, training("--epochs", metavar="N", help="How long the small recognisers learn.")] = 10,
    overwrite: Overwrite = False,
) -> None:
    """Go the whole way with synthetic people: mask, reconstruct, train, verify, attack, and a report."""
