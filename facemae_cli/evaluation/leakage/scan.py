"""One reading of every face of a dataset: the digest of its bytes and a thumbnail of its picture.

Both are cheap, and both see what no embedder does: a face that is there byte for byte, or as a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode_visible, resize
from facemae_cli.errors import FaceError
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map

SIDE = 14  # of a thumbnail: as many as the mask's grid has patches a side

Pixels = NDArray[np.uint8]


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


def scan(source: FaceSource, threads: int, progress: Progress, label: str) -> Scan:
    """Look at each face of a dataset once; names do not count. Raises OutputError where the disk fails."""

    def of_face(index: int) -> tuple[bytes | None, Pixels | None]:
        try:
            data = source.read(index)
        except FaceError:
            return None, None
        digest = hashlib.sha256(data).digest()
        try:
            return digest, thumbnail(decode_visible(data))
        except FaceError:
            return digest, None

    whole, found = hashlib.sha256(), []
    thumbnails, valid = np.zeros((len(source), SIDE, SIDE, 3), np.uint8), np.zeros(len(source), np.bool_)
    progress.start(label, len(source))
    with closing(ordered_map(of_face, range(len(source)), threads)) as faces:
        for at, (digest, small) in enumerate(faces):
            found.append(digest)
            whole.update(b"-" if digest is None else b"+" + digest)
            if small is not None:
                thumbnails[at], valid[at] = small, True
            progress.advance()
    return Scan(found, whole.hexdigest(), thumbnails, valid)


def thumbnail(image: Pixels) -> Pixels:
    """(H, W, 3) uint8 to (SIDE, SIDE, 3) uint8: the mean of each part, where the sides divide."""
    return resize(image, SIDE, SIDE)
