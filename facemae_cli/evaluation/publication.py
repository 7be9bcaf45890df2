"""What is known of a dataset that facemae wrote, gathered for its card and Croissant: from its faces, its manifest, the
zoo, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from facemae_cli.data.faces import FaceSource, has_people
from facemae_cli.data.manifest import Manifest
from facemae_cli.masking.levels import measured_elsewhere
from facemae_cli.networks.card import Card
from facemae_cli.networks.zoo import bundled
from facemae_cli.reports.publication.facts import Facts, ModelFacts, read_figures
from facemae_cli.reports.publication.files import format_of


def facts_of(
    source: FaceSource,
    manifest: Manifest,
    target: Path,
    suffix: str,
    *,
    card: Card | None = None,
    audits: Iterable[Path] = (),
) -> Facts:
    """What may be said of the dataset at `target`, which has the names of `source` and images of `suffix` (`.jpg`).

    `card`: that of the model its `manifest` names; None: as the zoo has it, if it does. `audits`: as `read_figures`,
    which says what is raised.
    """
    known = bundled((manifest.model or {}).get("sha256", ""))
    card = card or (known.card if known else None)
    model = ModelFacts.of(
        manifest, known.name if known else None, card.license if card else None, card.data if card else None
    )
    figures, elsewhere = read_figures(audits, manifest), measured_elsewhere(manifest)
    return Facts(manifest, format_of(target), suffix, has_people(source), model, figures, elsewhere)
