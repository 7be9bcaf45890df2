"""An attacker who learns: linear maps of real and of reconstructed faces' features under which the two meet.

Several are learnt in closed form from faces of the attacker's own, real and reconstructed, and the one is taken that
finds most of those left out of the learning:

- `centred`: features less their means;
- `canonical`: regularised canonical correlation (Hotelling, Biometrika 28, 1936): a direction counts as much as it
  survives the reconstruction;
- `within`: both through the inverse root of the scatter within people, real and reconstructed together (WCCN, Hatch et
  al., 2006);
- `map`: ridge regression of real on reconstructed features; `map, within`: that, and then the former.

Measured on the 6,746 faces of even people, of facemae-v1's release of 1,529 odd ones: by other photos embedder-v1 finds
22.1 % as it is and 32.9 % by what left-out faces choose, probe-v1 25.4 and 28.1, EdgeFace-XS 43.4 and 44.5, thumbnails
9.8 and 18.0; all as one 47.3 and 51.3. On 1,044 of these faces: 28.0, 26.9, 43.5, 17.7; and 50.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, Features, normalised

FEWEST = 16  # faces; fewer teach nothing
RIDGES = (0.1, 0.3, 1.0)  # of the mean variance, added to each direction's
HELD_OUT = 4  # one person of so many chooses
K = 2

Maps = tuple[Floats, Floats]  # of real and of reconstructed features, (D, dim)
Method = Callable[[Floats, Floats, People], Maps]  # from both, centred, (n, D), and whose they are, (n,)


@dataclass(frozen=True)
class Adaptation:
    """Affine maps to `dim` directions, learnt from `faces`: features less a mean (D,), times a matrix (D, dim).

    `method`: which was taken; `held_out`: the share of left-out faces that it found, in [0, 1].
    """

    faces: int
    method: str
    held_out: float
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


def learn(real: Embeddings, reconstructed: Embeddings, people: People | None = None) -> Adaptation:
    """What n faces teach, `real` and `reconstructed`, of both of which the same rows are of the same photo; `people`:
    (n,) whose they are, None for each another's.

    Raises InputError where fewer than FEWEST have both features.
    """
    both = real.valid & reconstructed.valid
    count = int(both.sum())
    if count < FEWEST:
        raise InputError(
            f"{count} faces have a feature both real and reconstructed, too few to adapt to: give {FEWEST}"
        )
    x, y = real.features[both].astype(np.float64), reconstructed.features[both].astype(np.float64)
    whose = np.arange(count) if people is None else np.unique(people[both], return_inverse=True)[1]
    out = whose % HELD_OUT == 0
    scores = {}
    for name, method in METHODS.items():
        learnt = _Learnt.by(method, x[~out], y[~out], whose[~out])
        scores[name] = _found(*learnt.of(x[out], y[out]), whose[out])
    best = max(scores, key=lambda name: scores[name])
    return Adaptation(count, best, scores[best], *_Learnt.by(METHODS[best], x, y, whose).arrays)


@dataclass(frozen=True)
class _Learnt:
    """What a method learnt of real and of reconstructed features: their means, and maps of what is left."""

    arrays: tuple[Floats, Floats, Floats, Floats]

    @classmethod
    def by(cls, method: Method, x: Floats, y: Floats, whose: People) -> _Learnt:
        """From real and reconstructed features of the same faces, of these people."""
        means = x.mean(axis=0), y.mean(axis=0)
        return cls((*means, *method(x - means[0], y - means[1], whose)))

    def of(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Other faces, mapped."""
        x_mean, y_mean, x_map, y_map = self.arrays
        return (x - x_mean) @ x_map, (y - y_mean) @ y_map


def _centred(x: Floats, y: Floats, whose: People) -> Maps:
    return np.eye(x.shape[1]), np.eye(x.shape[1])


def _canonical(x: Floats, y: Floats, whose: People) -> Maps:
    white_x, white_y = (_inverse_root(side.T @ side / len(side), RIDGES[0]) for side in (x, y))
    left, correlation, right = np.linalg.svd(white_x @ (x.T @ y / len(x)) @ white_y)
    rank = max(min(len(correlation), len(x) - 1), 1)
    return white_x @ left[:, :rank], white_y @ right[:rank].T * np.clip(correlation[:rank], 0, 1)


def _whitened(ridge: float) -> Method:
    def method(x: Floats, y: Floats, whose: People) -> Maps:
        root = _within(x, y, whose, ridge)
        return root, root

    return method


def _mapped_back(x: Floats, y: Floats, whose: People) -> Maps:
    return np.eye(x.shape[1]), _regression(x, y)


def _mapped_and_whitened(x: Floats, y: Floats, whose: People) -> Maps:
    straight = _regression(x, y)
    root = _within(x, y @ straight, whose, RIDGES[1])
    return root, straight @ root


def _within(x: Floats, y: Floats, whose: People, ridge: float) -> Floats:
    """The inverse root of the scatter of faces, real and reconstructed, about their person's mean."""
    people = np.unique(whose, return_inverse=True)[1]
    counts = np.bincount(people)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, people, x + y)
    mean = (sums / (2 * counts[:, None]))[people]
    apart = np.concatenate([x - mean, y - mean])
    return _inverse_root(apart.T @ apart / len(apart), ridge)


def _regression(x: Floats, y: Floats) -> Floats:
    covariance = y.T @ y / len(y)
    raised = covariance + RIDGES[0] * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray(np.linalg.solve(raised + _TINY * np.eye(len(raised)), y.T @ x / len(y)), np.float64)


_TINY = float(np.finfo(np.float32).tiny)


def _inverse_root(covariance: Floats, ridge: float) -> Floats:
    """(D, D) the inverse root, every variance raised by `ridge` of their mean."""
    variance, axes = np.linalg.eigh(covariance)
    raised = np.clip(variance, 0, None) + ridge * max(float(variance.mean()), _TINY)
    return np.asarray((axes / np.sqrt(raised)) @ axes.T, np.float64)


def _found(real: Floats, reconstructed: Floats, whose: People) -> float:
    """The share of real faces with another face of their person among the K nearest reconstructed ones, their own left
    out; with their own where nobody has two."""
    x, y = (normalised(side.astype(np.float32))[0].astype(np.float64) for side in (real, reconstructed))
    scores = x @ y.T
    more = np.bincount(whose)[whose] > 1
    if more.any():
        np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    hits = (whose[nearest] == whose[:, None]) & np.isfinite(np.take_along_axis(scores, nearest, axis=1))
    found = hits.any(axis=1)
    return float(found[more].mean() if more.any() else found.mean()) if len(found) else 0.0


def _applied(seen: Embeddings, mean: Floats, directions: Floats) -> Embeddings:
    made: Features = ((seen.features - mean) @ directions).astype(np.float32)
    features, valid = normalised(np.where(seen.valid[:, None], made, np.float32(0)))
    return Embeddings(features, valid & seen.valid, [])


METHODS: dict[str, Method] = {
    "centred": _centred,
    "canonical": _canonical,
    **{f"within {ridge:g}": _whitened(ridge) for ridge in RIDGES},
    "map": _mapped_back,
    "map, within": _mapped_and_whitened,
}
