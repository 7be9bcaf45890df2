"""All attackers as one: the sum of their similarities, each in standard deviations over the gallery (z-scores).

For a query q and a gallery of mean m and covariance S, a face g scores (q g - q m) / sqrt(q S q). That is linear in g,
so the ensemble is an attacker with features of its own: the members' gallery features side by side, and the queries',
each times its member's weight over its standard deviation. It finds exactly what adding up z-scores finds. A face that
a member does not see scores 0 there, as an average face does: a broken attacker does not blind the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facemae_cli.evaluation.leakage.identification import FeatureSets
from facemae_cli.evaluation.leakage.ranks import TIE
from facemae_cli.evaluation.leakage.spread import Spread
from facemae_cli.evaluation.leakage.thumbnails import THUMBNAILS
from facemae_cli.evaluation.leakage.whitened import WHITENED
from facemae_cli.inference.embed import Embeddings, Features, normalised

ENSEMBLE = "ensemble"
ALWAYS = (*THUMBNAILS, WHITENED.name)
WEIGHTS = dict.fromkeys(ALWAYS, 1 / len(ALWAYS))  # all thumbnails count as much as one embedder


def combine(members: Sequence[FeatureSets], weights: Sequence[float]) -> FeatureSets:
    """The ensemble of `members`, each with a weight; a face counts where any member sees it.

    A member without imitations by a model asks with the real photos there.
    """
    spreads = [Spread.of(each.released) for each in members]
    released = _side_by_side([each.released for each in members], spreads)
    models = dict.fromkeys(model for each in members for model in each.imitated)
    imitated = {
        model: _asking([each.imitated.get(model, each.real) for each in members], spreads, weights) for model in models
    }
    non_members = [each.non_members for each in members if each.non_members is not None]
    return FeatureSets(
        ENSEMBLE,
        _asking([each.real for each in members], spreads, weights),
        released,
        imitated,
        _asking(non_members, spreads, weights) if len(non_members) == len(members) else None,
        _among_real([each.among_real or (each.real, each.real) for each in members], weights),
    )


def _among_real(
    sides: Sequence[tuple[Embeddings, Embeddings]], weights: Sequence[float]
) -> tuple[Embeddings, Embeddings]:
    """The originals as they ask, and are asked, among themselves; `sides` are the members' queries and galleries."""
    queries, galleries = zip(*sides, strict=True)
    spreads = [Spread.of(each) for each in galleries]
    return _asking(queries, spreads, weights), _side_by_side(galleries, spreads)


def _asking(queries: Sequence[Embeddings], spreads: Sequence[Spread], weights: Sequence[float]) -> Embeddings:
    """Queries side by side, each member's weighed so that its similarities are z-scores."""
    parts = []
    for each, spread, weight in zip(queries, spreads, weights, strict=True):
        deviation = spread.deviations(each.features)
        known = each.valid & (deviation > TIE)  # who sees no face, or all alike, tells nothing
        parts.append(each.features * (weight * known / np.where(known, deviation, 1.0))[:, None])
    rest = np.zeros((len(queries[0].valid), 1))  # what the gallery's faces are lifted by tells nothing
    features, valid = normalised(np.concatenate([*parts, rest], axis=1).astype(np.float32))
    return Embeddings(features, valid, [])


def _side_by_side(galleries: Sequence[Embeddings], spreads: Sequence[Spread]) -> Embeddings:
    """Gallery features side by side, a member's mean where it sees nothing, and lifted to length 1."""
    valid = np.logical_or.reduce([each.valid for each in galleries])
    parts = [
        np.where(each.valid[:, None], each.features, spread.mean.astype(np.float32))
        for each, spread in zip(galleries, spreads, strict=True)
    ]
    features: Features = np.concatenate([*parts, np.zeros((len(valid), 1), np.float32)], axis=1)
    features /= np.float32(np.sqrt(len(galleries)))
    features[:, -1] = np.sqrt(np.maximum(1 - np.square(features).sum(axis=1), 0))
    features[~valid] = 0
    return Embeddings(features, valid, [])
