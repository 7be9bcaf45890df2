"""A masked face on its way to a released one: read, completed by the autoencoder, encoded.

Only visible patches are read from a masked face and only they reach the device, so what lay under the mask, were
anything still there, could not come out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import decode, decode_luma, decode_masked, encode_jpeg, encode_png, resize
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.inference.pipeline import Runner
from facemae_cli.masking import patches as masking
from facemae_cli.masking.mask_color import MaskColor
from facemae_cli.networks.architectures.mae import MaskedAutoencoder

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class VisibleFace:
    """Face `index`: what of it is visible, or why it cannot be used.

    `masked` is (H, W, 4) uint8 RGBA; `visible` is (V, p * p * 3) uint8, its patches at the model's size; `tokens` is
    (V,) int64, where they stand.
    """

    index: int
    error: FaceError | None = None
    masked: Pixels | None = None
    visible: Pixels | None = None
    tokens: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class ReleasedFace:
    """Face `index` completed: `image` (H, W, 3) uint8 RGB and its `encoded` bytes, `hidden` patches; or the error."""

    index: int
    error: FaceError | None = None
    masked: Pixels | None = None
    image: Pixels | None = None
    hidden: int = 0
    encoded: bytes = b""


class MaskedReader:
    """Reads masked faces of a source for a model whose patches are `patch` pixels wide; safe from many threads.

    `color`: what hides patches, where alpha does not; `least`: the share of patches that must be hidden.
    """

    def __init__(
        self, source: FaceSource, patch: int, color: MaskColor | None, least: float = masking.MIN_HIDDEN_FRACTION
    ) -> None:
        self.source, self.patch, self.color, self.least = source, patch, color, least

    def read(self, index: int) -> VisibleFace:
        """The visible patches of face `index`; a face that is not masked as it should be carries its error."""
        try:
            masked, mask = self._masked(self.source.read(index))
        except FaceError as error:
            return VisibleFace(index, error)
        return self._face(index, masked, mask)

    def of_pixels(self, index: int, masked: Pixels) -> VisibleFace:
        """As `read`, of a face that is decoded already, (H, W, 4) uint8 RGBA."""
        try:
            mask = masking.read_mask(masked, self.least)
        except FaceError as error:
            return VisibleFace(index, error)
        return self._face(index, masked, mask)

    def _face(self, index: int, masked: Pixels, mask: masking.Mask) -> VisibleFace:
        tokens = np.flatnonzero(~mask)
        return VisibleFace(index, None, masked, self._visible(masked, tokens), tokens)

    def _masked(self, data: bytes) -> tuple[Pixels, masking.Mask]:
        if self.color is None:
            masked = decode_masked(data)
            return masked, masking.read_mask(masked, self.least)
        rgb = decode(data)
        mask = self.color.mask(rgb, decode_luma(data), self.least)
        return masking.apply(rgb, mask), mask

    def _visible(self, masked: Pixels, tokens: NDArray[np.intp]) -> Pixels:
        """The patches at `tokens`, each resized alone where the model's patches have another size."""
        height, width = masking.patch_shape(*masked.shape[:2])
        grid = masking.as_words(masked).reshape(masking.GRID, height, masking.GRID, width)
        words = grid[tokens // masking.GRID, :, tokens % masking.GRID]
        patches = words[..., None].view(np.uint8)[..., :3]
        if (height, width) != (self.patch, self.patch):
            patches = np.stack([resize(patch, self.patch, self.patch) for patch in patches])
        return np.ascontiguousarray(patches.reshape(len(tokens), -1))


class Reconstructor(nn.Module):
    """The autoencoder from bytes to bytes."""

    def __init__(self, network: MaskedAutoencoder) -> None:
        super().__init__()
        self.network, self.patch = network.eval(), network.patch

    def forward(self, visible: Tensor, tokens: Tensor) -> Tensor:
        """(N, V, p * p * 3) uint8 and (N, V) int64 to (N, S, S, 3) uint8."""
        faces = self.network(visible.float() / 255, tokens).float()
        return (faces.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()

    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of one face, as large as the smallest mask allows."""
        count = masking.TOKENS - masking.MIN_HIDDEN
        return torch.zeros(1, count, self.patch**2 * 3, dtype=torch.uint8), torch.arange(count)[None]


def release(faces: Sequence[VisibleFace], runner: Runner, *, paste: bool) -> list[ReleasedFace]:
    """Each face completed by the `Reconstructor` in `runner`, in order.

    Faces with as many visible patches share batches. `paste` puts the visible patches over the predictions.
    """
    groups: dict[int, list[int]] = {}
    released = [ReleasedFace(face.index, face.error) for face in faces]
    for at, face in enumerate(faces):
        if face.tokens is not None:
            groups.setdefault(len(face.tokens), []).append(at)
    for visible_count, members in sorted(groups.items()):
        visible = torch.from_numpy(np.stack([_known(faces[at].visible) for at in members]))
        tokens = torch.from_numpy(np.stack([_known(faces[at].tokens) for at in members]))
        for at, made in zip(members, runner(visible, tokens).numpy(), strict=True):
            masked = _known(faces[at].masked)
            image = _finished(made, masked, paste)
            hidden = masking.TOKENS - visible_count
            released[at] = ReleasedFace(faces[at].index, masked=masked, image=image, hidden=hidden)
    return released


def _finished(made: Pixels, masked: Pixels, paste: bool) -> Pixels:
    """The prediction at the masked face's own size, with its visible patches where `paste` asks for them."""
    height, width = masked.shape[:2]
    image = resize(made, height, width)
    return np.where(masked[..., 3:] > 0, masked[..., :3], image) if paste else image


class ReleasedWriter:
    """Encodes released faces as `jpg` of a quality or as `png`; safe from many threads. Raises UsageError."""

    def __init__(self, format: str, quality: int) -> None:
        if format not in ("jpg", "png"):
            raise UsageError(f"--format {format!r} is not known; say jpg or png")
        if not 1 <= quality <= 100:
            raise UsageError(f"--quality {quality} must be from 1 to 100")
        self.format, self.quality = format, quality

    def encode(self, face: ReleasedFace) -> ReleasedFace:
        """The same face with its `encoded` bytes."""
        if face.image is None:
            return face
        data = encode_png(face.image) if self.format == "png" else encode_jpeg(face.image, self.quality)
        return replace(face, encoded=data)


def _known(value: Any) -> Any:
    assert value is not None
    return value
