"""Small datasets in memory, for tests of what reads faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from facemae_cli.data.faces import FaceSource, Name
from facemae_cli.data.images.codec import encode_png


def smooth_face(number: int, size: int = 112) -> np.ndarray:
    """A blurred random picture, (size, size, 3) uint8: each number another, neighbours of pixels alike."""
    coarse = np.random.default_rng(number).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


class MemorySource(FaceSource):
    """Encoded images by (identity, photo), kept in memory."""

    def __init__(self, faces: list[tuple[str | None, str, bytes]]) -> None:
        self.path, self.kind, self.refused, self.ignored = Path("memory"), "folder", [], 0
        self.faces = faces

    def __len__(self) -> int:
        return len(self.faces)

    def name(self, index: int) -> Name:
        return Name(*self.faces[index][:2])

    def where(self, index: int) -> str:
        return f"memory/{self.faces[index][0]}/{self.faces[index][1]}"

    def read(self, index: int) -> bytes:
        return self.faces[index][2]


def memory_source(people: int, photos: int, size: int = 112) -> MemorySource:
    """`people` identities of `photos` PNG faces each."""
    return MemorySource(
        [
            (f"p{person}", f"{photo}.png", encode_png(smooth_face(100 * person + photo, size)))
            for person in range(people)
            for photo in range(photos)
        ]
    )
