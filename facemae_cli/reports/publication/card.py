"""The card of a dataset: a README.md with the YAML header that the Hugging Face hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from facemae_cli.reports.publication import words
from facemae_cli.reports.publication.facts import Facts, Figure

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
NOTHING = "Nothing was measured, or no result was given when the card was written."


def dataset_card(facts: Facts) -> str:
    """The text of README.md. Equal facts give equal text; it names nobody."""
    header = yaml.safe_dump(_header(facts), sort_keys=False, allow_unicode=True, width=120)
    return f"---\n{header}---\n\n" + "\n".join(_body(facts))


def _header(facts: Facts) -> dict[str, Any]:
    size = next((label for limit, label in SIZES if facts.faces < limit), "10M<n<100M")
    header: dict[str, Any] = {
        "license": "other",
        "license_name": "stated-by-the-publisher",
        "pretty_name": words.title(facts),
        "task_categories": ["image-feature-extraction"],
        "size_categories": [size],
        "tags": ["face-recognition", "privacy", "facemae", *(["synthetic"] if facts.reconstructed else [])],
        "annotations_creators": ["no-annotation"],
    }
    return header


def _body(facts: Facts) -> Iterator[str]:
    yield f"# {words.title(facts)}\n"
    yield f"{words.summary(facts)}\n"
    yield from _section("What was done", words.processing(facts))
    yield from _section("Risks, as measured", [*map(str, facts.figures.risks), *facts.figures.remarks])
    yield from _section("Use, as measured", _lines(facts.figures.utility))
    yield from _section("Personal data", [words.sensitive(facts)])
    yield from _section("Not for", words.NOT_FOR)
    yield from _section("Limits", words.limits(facts))
    yield from _section("Withdrawal", [words.MAINTENANCE])
    yield from _section(
        "Licence and contact", ["To be stated by whoever publishes the dataset, with the consent it rests on."]
    )
    yield f"Written by facemae {facts.manifest.version} from facemae.json; croissant.json tells the same to loaders.\n"


def _lines(figures: Sequence[Figure]) -> list[str]:
    return [str(figure) for figure in figures]


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"## {heading}\n"
    yield "".join(f"- {line}\n" for line in lines or [NOTHING])
