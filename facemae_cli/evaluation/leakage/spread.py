"""How features spread: by their mean and covariance, what undoes it, and what is learnt with a penalty by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, Features

BLOCK = 4096  # faces held in float64 at a time
TINY = float(np.finfo(np.float32).tiny)  # keeps an inverse finite where nothing differs
NOISE = 1e-12  # of the largest square, below which a direction is rounding


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

    def axes(self, gallery: Embeddings) -> Axes:
        """The principal axes of the gallery that it is of; by its faces where these are fewer than their values."""
        if gallery.valid.sum() < len(self.mean):
            return Axes.of_rows(gallery.features[gallery.valid] - self.mean)
        return Axes.of_covariance(self.covariance)

    def deviations(self, queries: Features) -> Floats:
        """(n,) the standard deviation of each query's similarities; 0 where all are alike."""
        wide = queries.astype(np.float64)
        return np.asarray(np.sqrt(np.maximum(np.einsum("nd,nd->n", wide @ self.covariance, wide), 0)), np.float64)


@dataclass(frozen=True)
class Axes:
    """The principal axes of rows of `dim` values: orthonormal `directions`, (dim, r), in which they differ, and their
    `variances`, (r,); in no other direction do they differ."""

    dim: int
    directions: Floats
    variances: Floats

    @classmethod
    def of_covariance(cls, covariance: Floats) -> Axes:
        """Those of a (D, D) covariance."""
        variances, directions = np.linalg.eigh(covariance)
        return cls(len(covariance), directions, np.clip(variances, 0, None))

    @classmethod
    def of_rows(cls, rows: Floats) -> Axes:
        """Those of (n, D) rows about zero, from the smaller of their two Gram matrices."""
        count, dim = rows.shape
        if count >= dim:
            return cls.of_covariance(rows.T @ rows / count)
        squares, among = np.linalg.eigh(rows @ rows.T)
        kept = squares > NOISE * max(float(squares.max(initial=0)), TINY)
        return cls(dim, rows.T @ among[:, kept] / np.sqrt(squares[kept]), squares[kept] / count)

    def inverse_root(self, ridge: float) -> Floats:
        """(D, D) the inverse root of the covariance, every variance raised by `ridge` of their mean."""
        raised_by = ridge * max(float(self.variances.sum()) / self.dim, TINY)
        elsewhere = 1 / np.sqrt(raised_by)
        change = 1 / np.sqrt(self.variances + raised_by) - elsewhere
        return np.asarray((self.directions * change) @ self.directions.T + elsewhere * np.eye(self.dim), np.float64)


def ridge(x: Floats, y: Floats, strength: float) -> Floats:
    """(D, C) what turns (n, D) rows into (n, C) by least squares, with a penalty on its size: `strength` times the mean
    over directions of the rows' sum of squares."""
    penalty = strength * max(float(np.square(x).sum()) / x.shape[1], np.finfo(float).tiny)
    return np.asarray(np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y), np.float64)
