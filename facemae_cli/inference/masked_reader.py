"""Masked faces read for the autoencoder, a chunk at a time; nothing here needs torch.

Only visible patches are read from a masked face and only they reach the device, so what lay under the mask, were
anything still there, could not come out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceChunk
from facemae_cli.data.images.codec import decode, decode_luma, decode_masked, resize
from facemae_cli.data.images.pixels import Pixels
from facemae_cli.errors import FaceError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.mask_color import MaskColor
from facemae_cli.masking.warp import digest


class VisibleFace(NamedTuple):
    """What is visible of one face: (V, p * p * 3) uint8 `patches` at the model's size, and where they stand, (V,) uint8
    `tokens` of 196; `size` is the face's height and width as stored, `masked` its (H, W, 4) uint8 RGBA."""

    patches: Pixels
    tokens: NDArray[np.uint8]
    size: tuple[int, int]
    masked: Pixels


@dataclass(frozen=True)
class VisibleFaces:
    """What is visible of the faces `indexes` of a source.

    `errors`: of each face why it cannot be used, or None; `counts`: (n,) its visible patches, 0 where there is an
    error. Patches and tokens stand together, face by face: `patches` is (T, p * p * 3) uint8, `tokens` (T,) uint8.
    `sizes`: of each face height and width as stored. `masked`: of each face its RGBA, and `digests`: 32 bytes of what
    is visible of it (b"" where there is an error); empty where nobody wants them.
    """

    indexes: Sequence[int]
    errors: list[FaceError | None]
    counts: NDArray[np.int64]
    patches: Pixels
    tokens: NDArray[np.uint8]
    sizes: list[tuple[int, int]]
    masked: list[Pixels | None]
    digests: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class MaskedReader:
    """Reads chunks of masked faces for a model whose patches are `patch` pixels wide.

    `color`: what hides patches, where alpha does not; `least`: the share of patches that must be hidden; `kept`: the
    pixels of chunks that begin below this number are kept; `digests`: those of faces are wanted.
    """

    patch: int
    color: MaskColor | None = None
    least: float = masking.MIN_HIDDEN_FRACTION
    kept: int = 0
    digests: bool = False

    def __call__(self, chunk: FaceChunk) -> VisibleFaces:
        """The visible patches of a chunk; a face that is not masked as it should be carries its error."""
        return self.of_pixels([self._decoded(data) for data in chunk.images()], chunk.indexes)

    def of_pixels(self, decoded: Sequence[Pixels | FaceError], indexes: Sequence[int] | None = None) -> VisibleFaces:
        """As of a chunk, of faces that are decoded already, (H, W, 4) uint8 RGBA; None: their indexes are 0, 1, ..."""
        indexes = range(len(decoded)) if indexes is None else indexes
        errors = [face if isinstance(face, FaceError) else None for face in decoded]
        good: list[VisibleFace | None] = [None] * len(decoded)
        for rows, stack in _by_shape(decoded):
            for row, face in zip(rows, self._visible(stack), strict=True):
                if isinstance(face, FaceError):
                    errors[row] = face
                else:
                    good[row] = face
        none = np.empty((0, self.patch**2 * 3), np.uint8)
        return VisibleFaces(
            indexes,
            errors,
            np.array([len(face.tokens) if face else 0 for face in good]),
            np.concatenate([none, *(face.patches for face in good if face)]),
            np.concatenate([none[:, 0], *(face.tokens for face in good if face)]),
            [face.size if face else (0, 0) for face in good],
            [face.masked if face else None for face in good] if indexes[0] < self.kept else [],
            [digest(face.patches, face.tokens) if face else b"" for face in good] if self.digests else [],
        )

    def _decoded(self, data: bytes | FaceError) -> Pixels | FaceError:
        """The masked face, as RGBA, or why there is none."""
        if isinstance(data, FaceError):
            return data
        try:
            if self.color is None:
                return decode_masked(data)
            rgb = decode(data)
            return masking.apply(rgb, self.color.mask(rgb, decode_luma(data), self.least))
        except FaceError as error:
            return error

    def _visible(self, faces: Pixels) -> list[VisibleFace | FaceError]:
        """Of (n, H, W, 4) faces."""
        try:
            if faces.shape[-1] != 4:
                raise FaceError("no-mask", "the face has no alpha channel, so it is not masked")
            masks, faults = masking.read_masks(faces, self.least if self.color is None else 0)
        except FaceError as error:
            return [error] * len(faces)
        bad = [fault is not None for fault in faults]
        masks[bad] = True  # nothing is taken of them
        patches = self._resized(masking.take_patches(faces, masks)).reshape(-1, self.patch**2 * 3)
        tokens = np.nonzero(~masks)[1].astype(np.uint8)
        size, ends = (faces.shape[1], faces.shape[2]), np.cumsum((~masks).sum(axis=1)).tolist()
        return [
            fault or VisibleFace(patches[first:end], tokens[first:end], size, face)
            for fault, first, end, face in zip(faults, [0, *ends[:-1]], ends, faces, strict=True)
        ]

    def _resized(self, patches: Pixels) -> Pixels:
        """(T, h, w, 3) patches at the model's size, each resized alone."""
        if patches.shape[1:3] == (self.patch, self.patch) or not len(patches):
            return patches
        return np.stack([resize(patch, self.patch, self.patch) for patch in patches])


def _by_shape(faces: Sequence[Pixels | FaceError]) -> list[tuple[list[int], Pixels]]:
    """Faces of one shape together, and where they stand."""
    groups: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    for at, face in enumerate(faces):
        if not isinstance(face, FaceError):
            groups.setdefault(face.shape, []).append((at, face))
    return [([at for at, _ in group], np.stack([face for _, face in group])) for group in groups.values()]
