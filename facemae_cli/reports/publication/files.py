"""The files that are published beside a dataset."""

from __future__ import annotations

from pathlib import Path

from facemae_cli.data.output.beside import CARD, CROISSANT
from facemae_cli.reports.publication.card import dataset_card
from facemae_cli.reports.publication.croissant import croissant
from facemae_cli.reports.publication.facts import Facts, Format


def format_of(out: Path) -> Format:
    """What an output at this path is."""
    suffix = out.suffix.lower()
    return "rec" if suffix == ".rec" else "parquet" if suffix == ".parquet" else "folder"


def published_files(facts: Facts, out: Path) -> dict[str, str]:
    """The texts of the card and of Croissant for the dataset at `out`, by what an `Output` calls them."""
    file = None if facts.format == "folder" else out.name
    return {CARD: dataset_card(facts), CROISSANT: croissant(facts, file)}
