"""An attacker who learns: linear maps of real and of reconstructed faces' features under which the two meet.

Several are learnt in closed form from faces of the attacker's own, real and reconstructed, and the one is taken that
finds most of those left out of the learning:

- `centred`: features less their means;
- `canonical`: regularised canonical correlation (Hotelling, Biometrika 28, 1936): a direction counts as much as it
  survives the reconstruction;
- `within`: both through the inverse root of the scatter within people, real and reconstructed together (WCCN, Hatch et
  al., 2006);
- `map`: ridge regression of real on reconstructed features; `map, within`: that, and then the former.

Where the release is mixed, so are the attacker's faces: a mixture is learnt from as the reconstruction of its first
photo, and shows all the people in it.

Measured on the 6,746 faces of even people, of facemae-v1's release of 1,529 odd ones: by other photos embedder-v1 finds
22.1 % as it is and 32.9 % by what left-out faces choose, probe-v1 25.4 and 28.1, EdgeFace-XS 43.4 and 44.5, thumbnails
9.8 and 18.0; all as one 47.3 and 51.3. On 1,044 of these faces: 28.0, 26.9, 43.5, 17.7; and 50.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.side_maps import SideMaps
from facemae_cli.evaluation.leakage.spread import TINY, Axes
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.metrics import Floats
from facemae_cli.inference.embed import Embeddings, normalised

FEWEST = 16  # faces; fewer teach nothing
RIDGES = (0.1, 0.3, 1.0)  # of the mean variance, added to each direction's
HELD_OUT = 4  # one person of so many chooses
K = 2
BLOCK = 1024  # photos that ask together

Maps = tuple[Floats, Floats]  # of real and of reconstructed features, (D, dim)


@dataclass(frozen=True)
class Adaptation(SideMaps):
    """Maps learnt from `faces`.

    `method`: which was taken; `held_out`: the share of left-out faces that it found, in [0, 1].
    """

    faces: int
    method: str
    held_out: float


def learn(
    real: Embeddings, reconstructed: Embeddings, people: People | None = None, photos: People | None = None
) -> Adaptation:
    """What n real and m reconstructed faces teach; `people`: (n,) whose the real ones are, None for each another's.

    `photos`: (m, S) the real faces that each reconstructed one was made of, of the first of which it is a copy; None:
    face k was made of face k. Raises InputError where fewer than FEWEST are there both real and reconstructed, or all
    are of one person.
    """
    photos = np.arange(len(real.valid))[:, None] if photos is None else photos
    whose = np.arange(len(real.valid)) if people is None else people
    both = real.valid[photos[:, 0]] & reconstructed.valid
    if (count := int(both.sum())) < FEWEST:
        raise InputError(
            f"{count} faces have a feature both real and reconstructed, too few to adapt to: give {FEWEST}"
        )
    photos = photos[both]
    pairs = _Pairs(
        real.features[photos[:, 0]].astype(np.float64),
        reconstructed.features[both].astype(np.float64),
        photos,
        np.unique(whose[photos], return_inverse=True)[1].reshape(photos.shape),
    )
    out = pairs.whose % HELD_OUT == 0
    if out.all():
        raise InputError("all faces to adapt to are of one person; give those of 2 people or more")
    lessons, test = Centred.of(pairs.some(~out)), pairs.some(out)
    scores = {name: _found(_Learnt.by(method, lessons).of(test)) for name, method in METHODS.items()}
    best = max(scores, key=lambda name: scores[name])
    learnt = _Learnt.by(METHODS[best], Centred.of(pairs))
    return Adaptation(*learnt.arrays, len(np.unique(photos[:, 0])), best, scores[best])


@dataclass(frozen=True)
class _Pairs:
    """Real faces and reconstructed ones, row for row, (n, D): of which photos each of these was made, (n, S), the first
    of them being the real one; and of which people, (n, S)."""

    real: Floats
    reconstructed: Floats
    photos: People
    people: People

    @property
    def whose(self) -> People:
        """(n,) the person of the real face."""
        return np.asarray(self.people[:, 0], np.int64)

    def some(self, rows: NDArray[np.bool_]) -> _Pairs:
        """These rows alone."""
        return _Pairs(self.real[rows], self.reconstructed[rows], self.photos[rows], self.people[rows])


@dataclass(frozen=True)
class Centred:
    """What a method learns from: real and reconstructed features, `x` and `y`, (n, D), row for row, each less its mean,
    (D,), and `whose` they are, (n,)."""

    x: Floats
    y: Floats
    whose: People
    means: tuple[Floats, Floats]

    @classmethod
    def of(cls, pairs: _Pairs) -> Centred:
        """Pairs, centred."""
        means = pairs.real.mean(axis=0), pairs.reconstructed.mean(axis=0)
        return cls(pairs.real - means[0], pairs.reconstructed - means[1], pairs.whose, means)

    @cached_property
    def within(self) -> Axes:
        """How faces spread within people, as several methods ask."""
        return _within(self.x, self.y, self.whose)


Method = Callable[[Centred], Maps]


@dataclass(frozen=True)
class _Learnt:
    """What a method learnt of real and of reconstructed features: their means, and maps of what is left."""

    arrays: tuple[Floats, Floats, Floats, Floats]

    @classmethod
    def by(cls, method: Method, lessons: Centred) -> _Learnt:
        """From lessons."""
        return cls((*lessons.means, *method(lessons)))

    def of(self, pairs: _Pairs) -> _Pairs:
        """Other faces, mapped."""
        x_mean, y_mean, x_map, y_map = self.arrays
        return replace(pairs, real=(pairs.real - x_mean) @ x_map, reconstructed=(pairs.reconstructed - y_mean) @ y_map)


def _centred(lessons: Centred) -> Maps:
    return np.eye(lessons.x.shape[1]), np.eye(lessons.x.shape[1])


def _canonical(lessons: Centred) -> Maps:
    x, y = lessons.x, lessons.y
    white_x, white_y = (Axes.of_rows(side).inverse_root(RIDGES[0]) for side in (x, y))
    left, correlation, right = np.linalg.svd(white_x @ (x.T @ y / len(x)) @ white_y)
    rank = max(min(len(correlation), len(x) - 1), 1)
    return white_x @ left[:, :rank], white_y @ right[:rank].T * np.clip(correlation[:rank], 0, 1)


def _whitened(ridge: float) -> Method:
    def method(lessons: Centred) -> Maps:
        root = lessons.within.inverse_root(ridge)
        return root, root

    return method


def _mapped_back(lessons: Centred) -> Maps:
    return np.eye(lessons.x.shape[1]), _regression(lessons.x, lessons.y)


def _mapped_and_whitened(lessons: Centred) -> Maps:
    straight = _regression(lessons.x, lessons.y)
    root = _within(lessons.x, lessons.y @ straight, lessons.whose).inverse_root(RIDGES[1])
    return root, straight @ root


def _within(x: Floats, y: Floats, whose: People) -> Axes:
    """How faces, real and reconstructed, spread about their person's mean."""
    people = np.unique(whose, return_inverse=True)[1]
    counts = np.bincount(people)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, people, x + y)
    mean = (sums / (2 * counts[:, None]))[people]
    return Axes.of_rows(np.concatenate([x - mean, y - mean]))


def _regression(x: Floats, y: Floats) -> Floats:
    covariance = y.T @ y / len(y)
    raised = covariance + RIDGES[0] * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray(np.linalg.solve(raised + TINY * np.eye(len(raised)), y.T @ x / len(y)), np.float64)


def _found(pairs: _Pairs) -> float:
    """The share of real faces that have their person among those whom the K nearest reconstructed ones show, what was
    made of the very photo left out; with it where nobody has another photo."""
    x, y = (normalised(side.astype(np.float32))[0].astype(np.float64) for side in (pairs.real, pairs.reconstructed))
    asking = np.unique(pairs.photos[:, 0], return_index=True)[1]  # each photo once
    shown = np.unique(np.stack([pairs.people.ravel(), pairs.photos.ravel()]), axis=1)[0]
    more = np.bincount(shown)[pairs.whose[asking]] > 1 if len(asking) else np.zeros(0, np.bool_)
    asking = asking[more] if more.any() else asking
    found = 0
    for first in range(0, len(asking), BLOCK):
        rows = asking[first : first + BLOCK]
        scores = x[rows] @ y.T
        if more.any():
            scores[(pairs.photos == pairs.photos[rows, 0, None, None]).any(axis=2)] = -np.inf
        nearest = np.argpartition(-scores, min(K, len(y)) - 1, axis=1)[:, :K]
        own = (pairs.people[nearest] == pairs.whose[rows, None, None]).any(axis=2)
        found += int((own & np.isfinite(np.take_along_axis(scores, nearest, axis=1))).any(axis=1).sum())
    return found / len(asking) if len(asking) else 0.0


METHODS: dict[str, Method] = {
    "centred": _centred,
    "canonical": _canonical,
    **{f"within {ridge:g}": _whitened(ridge) for ridge in RIDGES},
    "map": _mapped_back,
    "map, within": _mapped_and_whitened,
}
