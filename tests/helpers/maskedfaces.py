"""Small masked faces, and chunks of them."""

from __future__ import annotations

import numpy as np
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.faces import FaceChunk
from facemae_cli.data.images.codec import encode_png
from facemae_cli.masking import patches


def random_mask(count: int, seed: int = 0) -> np.ndarray:
    """(196,) bool, `count` of them hidden."""
    mask = np.zeros(196, dtype=np.bool_)
    mask[np.random.default_rng(seed).permutation(196)[:count]] = True
    return mask


def masked_png(number: int = 0, hidden: int = 147, size: int = 112) -> bytes:
    """The smooth face of that number, `hidden` of its patches gone."""
    return encode_png(patches.apply(smooth_face(number, size), random_mask(hidden, number)))


def chunk_of(*images: bytes) -> FaceChunk:
    """A dataset of these images, read together."""
    source = MemorySource([(None, str(at), data) for at, data in enumerate(images)])
    return FaceChunk(source, range(len(images)))
