"""An attacker by thumbnails who knows how the release spreads: in which directions its thumbnails differ, and how far.

All directions count alike to them (PCA whitening), so that what every face has in common does not drown what only one
has. They need nothing but the release, and photos to ask with, of which they take the mean. Measured, K = 2, on 600 of
6,731 photos, by the very photo: of three people a face, warped, three copies, thumbnails find 21.0 %, correlated 23.7,
whitened 44.8 (two people: 52, 58 and 81.5); by other photos of mae-v1's reconstructions 9.5, 12 and 17.
"""

from __future__ import annotations

from facemae_cli.evaluation.leakage.fingerprints import SIDE
from facemae_cli.evaluation.leakage.side_maps import SideMaps
from facemae_cli.evaluation.leakage.spread import Spread
from facemae_cli.evaluation.leakage.thumbnails import VALUES, Thumbnails, by_distance
from facemae_cli.inference.embed import Embeddings

OF = "thumbnail"  # the attacker whose features are whitened
COMPUTED = f"correlation of {SIDE} x {SIDE} means, whitened as the release spreads"
WHITENED = Thumbnails("thumbnail-whitened", by_distance, VALUES + 1, COMPUTED)
RIDGE = 0.3  # of the mean variance, added to each direction's


def whitening(real: Embeddings, released: Embeddings) -> SideMaps:
    """What whitens thumbnails' features, of the originals and of the release, each less its own mean."""
    spread = Spread.of(released)
    root = spread.axes(released).inverse_root(RIDGE)
    return SideMaps(Spread.of(real).mean, spread.mean, root, root)
