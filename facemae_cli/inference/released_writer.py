"""Predicted faces finished and encoded, a chunk at a time; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from facemae_cli.data.images.codec import encode_jpeg, encode_png, resize
from facemae_cli.data.images.pixels import Pixels
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking.warp import warp


@dataclass(frozen=True)
class PredictedFaces:
    """What the autoencoder made of the faces `indexes` of a source.

    `errors`: of each face why it is not there, or None; `hidden`: how many of its patches were; `sizes`: height and
    width as stored; `masked`: its (H, W, 4) uint8 RGBA, or empty. `images`: (m, S, S, 3) uint8 RGB of those without an
    error, in order. `digests`: 32 bytes of what is visible of each face, where faces are warped.
    """

    indexes: Sequence[int]
    errors: list[FaceError | None]
    hidden: list[int]
    sizes: list[tuple[int, int]]
    masked: list[Pixels | None]
    images: Pixels
    digests: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class ReleasedFaces:
    """The faces `indexes` of a source, encoded: face k's file is `data` (uint8) from `ends[k - 1]` to `ends[k]`.

    `errors` and `hidden` are those of `PredictedFaces`; `shown`: of faces for a preview, masked and released pixels.
    """

    indexes: Sequence[int]
    errors: list[FaceError | None]
    hidden: list[int]
    data: Pixels
    ends: list[int]
    shown: list[tuple[Pixels, Pixels]]

    def __iter__(self) -> Iterator[tuple[int, FaceError | None, int, bytes]]:
        """Of each face its number, why it is not there, its hidden patches and its encoded image."""
        data, ends = self.data.data, [0, *self.ends]
        for at, (index, error, hidden) in enumerate(zip(self.indexes, self.errors, self.hidden, strict=True)):
            yield index, error, hidden, bytes(data[ends[at] : ends[at + 1]])


@dataclass(frozen=True)
class ReleasedWriter:
    """Encodes chunks of faces as `jpg` of a quality or as `png`, each at its own size.

    `paste` puts visible patches over the predictions; `warp`: how much faces are warped by their digests, last of
    all; `shown`: chunks that begin below this number keep their pixels.
    Raises UsageError.
    """

    format: str
    quality: int
    paste: bool = False
    warp: float = 0.0
    shown: int = 0

    def __post_init__(self) -> None:
        if self.format not in ("jpg", "png"):
            raise UsageError(f"--format {self.format!r} is not known; say jpg or png")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality {self.quality} must be from 1 to 100")

    def __call__(self, faces: PredictedFaces) -> ReleasedFaces:
        """The same faces, encoded."""
        images = self.finished(faces)
        files = [b"" if image is None else self.encoded(image) for image in images]
        kept = zip(faces.masked, images, strict=True) if faces.masked and faces.indexes[0] < self.shown else ()
        shown = [(masked, image) for masked, image in kept if masked is not None and image is not None]
        data, ends = np.frombuffer(b"".join(files), np.uint8), np.cumsum([len(file) for file in files]).tolist()
        return ReleasedFaces(faces.indexes, faces.errors, faces.hidden, data, ends, shown)

    def finished(self, faces: PredictedFaces) -> list[Pixels | None]:
        """Each face at its own size, (H, W, 3) uint8, pasted and warped where it is to be."""
        images = self._pasted(faces)
        if not self.warp:
            return images
        return [
            None if image is None else warp(image, digest, self.warp)
            for image, digest in zip(images, faces.digests, strict=True)
        ]

    def _pasted(self, faces: PredictedFaces) -> list[Pixels | None]:
        made = iter(faces.images)
        images = [
            None if error else resize(next(made), *size) for error, size in zip(faces.errors, faces.sizes, strict=True)
        ]
        if not self.paste:
            return images
        return [
            None if image is None or masked is None else np.where(masked[..., 3:] > 0, masked[..., :3], image)
            for masked, image in zip(faces.masked, images, strict=True)
        ]

    def encoded(self, image: Pixels) -> bytes:
        """An (H, W, 3) uint8 face as a file."""
        return encode_png(image) if self.format == "png" else encode_jpeg(image, self.quality)
