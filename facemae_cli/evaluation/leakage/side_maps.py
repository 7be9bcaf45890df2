"""Affine maps of real and of reconstructed faces' features to where the two meet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, Features, normalised


@dataclass(frozen=True)
class SideMaps:
    """Of each side, features less a mean (D,), times a matrix (D, dim)."""

    real_mean: Floats
    reconstructed_mean: Floats
    real_map: Floats
    reconstructed_map: Floats

    @property
    def dim(self) -> int:
        """Directions that are kept."""
        return self.real_map.shape[1]

    def of_real(self, seen: Embeddings) -> Embeddings:
        """Features of real faces where the two meet, rows of length 1."""
        return _applied(seen, self.real_mean, self.real_map)

    def of_reconstructed(self, seen: Embeddings) -> Embeddings:
        """Features of reconstructed faces where the two meet, rows of length 1."""
        return _applied(seen, self.reconstructed_mean, self.reconstructed_map)

    def of_sets(self, sets: FeatureSets, attacker: str) -> FeatureSets:
        """All that an attacker sees, as the one called `attacker` sees it who maps it; imitations are reconstructed."""
        non_members = sets.non_members
        return FeatureSets(
            attacker,
            self.of_real(sets.real),
            self.of_reconstructed(sets.released),
            {by: self.of_reconstructed(seen) for by, seen in sets.imitated.items()},
            None if non_members is None else self.of_real(non_members),
        )


def _applied(seen: Embeddings, mean: Floats, directions: Floats) -> Embeddings:
    made: Features = ((seen.features - mean) @ directions).astype(np.float32)
    features, valid = normalised(np.where(seen.valid[:, None], made, np.float32(0)))
    return Embeddings(features, valid & seen.valid, [])
