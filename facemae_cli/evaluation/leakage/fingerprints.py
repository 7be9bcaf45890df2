"""The faces of a dataset at first sight: the digest of each one's bytes and a thumbnail of its picture.

Both are cheap, and both see what no embedder does: a face that is there byte for byte, or as a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.images.codec import resize
from facemae_cli.data.images.pixels import Pixels

SIDE = 14  # of a thumbnail: as many as the mask's grid has patches a side


@dataclass(frozen=True)
class Scan:
    """What n faces are at first sight.

    `digests`: the sha256 of each face's bytes, None where it cannot be read; `whole`: of all of them in their order, in
    hex. `thumbnails`: (n, SIDE, SIDE, 3) uint8 means, black where `valid`, (n,) bool, is False: it cannot be decoded.
    """

    digests: Sequence[bytes | None]
    whole: str
    thumbnails: Pixels
    valid: NDArray[np.bool_]

    @property
    def known(self) -> set[bytes]:
        """The digests of the faces that can be read."""
        return {face for face in self.digests if face is not None}


def thumbnail(image: Pixels) -> Pixels:
    """(H, W, 3) uint8 to (SIDE, SIDE, 3) uint8: the mean of each part, where the sides divide."""
    return resize(image, SIDE, SIDE)
