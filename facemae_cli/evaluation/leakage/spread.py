"""How features spread: by their mean and covariance, and what undoes it."""

from __future__ import annotations

import numpy as np

from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, Features

BLOCK = 4096  # faces held in float64 at a time
TINY = float(np.finfo(np.float32).tiny)  # keeps an inverse finite where nothing differs


class Spread:
    """How far features, and so the similarities of a query to a gallery, spread: by their mean, (D,), and their
    covariance, (D, D)."""

    def __init__(self, mean: Floats, covariance: Floats) -> None:
        self.mean, self.covariance = mean, covariance

    @classmethod
    def of(cls, gallery: Embeddings) -> Spread:
        """By the faces of a gallery that have a feature."""
        count, dim = max(int(gallery.valid.sum()), 1), gallery.features.shape[1]
        total, square = np.zeros(dim), np.zeros((dim, dim))
        rows = np.flatnonzero(gallery.valid)
        for first in range(0, len(rows), BLOCK):
            wide = gallery.features[rows[first : first + BLOCK]].astype(np.float64)
            total += wide.sum(axis=0)
            square += wide.T @ wide
        mean = total / count
        return cls(mean, square / count - np.outer(mean, mean))

    def deviations(self, queries: Features) -> Floats:
        """(n,) the standard deviation of each query's similarities; 0 where all are alike."""
        wide = queries.astype(np.float64)
        return np.asarray(np.sqrt(np.maximum(np.einsum("nd,nd->n", wide @ self.covariance, wide), 0)), np.float64)


def inverse_root(covariance: Floats, ridge: float) -> Floats:
    """(D, D) the inverse root of a covariance, every variance raised by `ridge` of their mean."""
    variance, axes = np.linalg.eigh(covariance)
    raised = np.clip(variance, 0, None) + ridge * max(float(variance.mean()), TINY)
    return np.asarray((axes / np.sqrt(raised)) @ axes.T, np.float64)
