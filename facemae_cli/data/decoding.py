"""Whole faces decoded at one size, a chunk at a time, in this process or in another one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np

from facemae_cli.data.faces import FaceChunk
from facemae_cli.data.images.codec import decode_visible, resize
from facemae_cli.data.images.headers.header import limits_in_use, use_limits
from facemae_cli.data.images.pixels import Pixels
from facemae_cli.errors import FaceError
from facemae_cli.runtime.worker_pool import open_pool


def open_image_pool(workers: int, faces: float) -> AbstractContextManager[Executor]:
    """`workers` processes, or threads where they are few, that read and write so many faces' images within the limits
    that this process holds to."""
    return open_pool(workers, faces, partial(use_limits, limits_in_use()))


@dataclass(frozen=True)
class DecodedFaces:
    """(n, H, W, 3) uint8 RGB `images`, black where there is an error; `errors`: of each face why it is not there, or
    None; `resized`: whether it was stored at another size."""

    images: Pixels
    errors: list[FaceError | None]
    resized: list[bool]


@dataclass(frozen=True)
class FaceDecoder:
    """Decodes chunks of faces at `sides`, height and width; `decode` makes (h, w, 3) uint8 RGB of an encoded image."""

    sides: tuple[int, int]
    decode: Callable[[bytes], Pixels] = decode_visible

    def __call__(self, chunk: FaceChunk) -> DecodedFaces:
        images = np.zeros((len(chunk.indexes), *self.sides, 3), np.uint8)
        errors: list[FaceError | None] = [None] * len(images)
        resized = [False] * len(images)
        for at, data in enumerate(chunk.images()):
            try:
                if isinstance(data, FaceError):
                    raise data
                image = self.decode(data)
            except FaceError as error:
                errors[at] = error
                continue
            images[at] = resize(image, *self.sides)
            resized[at] = image.shape[:2] != self.sides
        return DecodedFaces(images, errors, resized)
