"""Attackers who have learnt nothing: two faces are as alike as their thumbnails of 14 x 14 means.

A release that looks like its originals from afar gives the very photo away to them, whatever it hides from networks.
Both give unit features, so that they are searched, ranked and judged as an embedder's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from facemae_cli.evaluation.leakage.fingerprints import SIDE, Pixels
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, Features, normalised

VALUES = SIDE * SIDE * 3


def by_distance(thumbnails: Pixels) -> Features:
    """(n, SIDE, SIDE, 3) to (n, VALUES + 1) unit rows whose inner product falls with the Euclidean distance.

    Values in [-0.5, 0.5] lie within a ball of radius sqrt(VALUES) / 2, and are lifted onto the sphere around it.
    """
    return lifted(_flat(thumbnails), VALUES / 4)


def by_correlation(thumbnails: Pixels) -> Features:
    """(n, SIDE, SIDE, 3) to (n, VALUES) rows, each less its mean: their cosine is the correlation of the values."""
    values = _flat(thumbnails)
    return (values - values.mean(axis=1, keepdims=True)).astype(np.float32)


def lifted(values: Floats, squared_radius: float) -> Features:
    """(n, d) rows of squared length up to `squared_radius`, with one value more that brings all to one length."""
    rest = np.sqrt(np.maximum(squared_radius - np.square(values).sum(axis=1, keepdims=True), 0.0))
    return (np.concatenate([values, rest], axis=1) / np.sqrt(squared_radius)).astype(np.float32)


def _flat(thumbnails: Pixels) -> Floats:
    return thumbnails.reshape(len(thumbnails), VALUES).astype(np.float64) / 255 - 0.5


@dataclass(frozen=True)
class Thumbnails:
    """An attacker by thumbnails, `metric` giving their features; it needs no network, device or card."""

    name: str
    metric: Callable[[Pixels], Features]
    dim: int
    computed: str

    def of(self, thumbnails: Pixels, valid: np.ndarray) -> Embeddings:
        """Features of thumbnails (n, SIDE, SIDE, 3); a constant one has no correlation, and is not valid there."""
        features, known = normalised(self.metric(thumbnails))
        features[~valid] = 0
        return Embeddings(features, known & valid, [])


THUMBNAILS: Mapping[str, Thumbnails] = {
    each.name: each
    for each in (
        Thumbnails("thumbnail", by_distance, VALUES + 1, f"distance of {SIDE} x {SIDE} means"),
        Thumbnails("thumbnail-correlation", by_correlation, VALUES, f"correlation of {SIDE} x {SIDE} means"),
    )
}
