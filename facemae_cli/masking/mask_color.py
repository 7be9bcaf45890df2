"""Faces masked elsewhere, by patches filled with one colour: which are hidden, after what a codec did to them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.images.pixels import LUMA, Pixels
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking.patches import GRID, MIN_HIDDEN_FRACTION, TOKENS, Mask, check_plausible, patch_shape

LEAST_HIDDEN = 0.5  # share of patches; three quarters are usual, and a dark background can be a third of a raw face
_INNER = 0.8  # share of a patch's inner pixels that must have the colour: codecs ring along its edges
_CHROMA = 40  # how far a JPEG's subsampled colour may bleed into a patch, on its mean
_MIDDLE = np.s_[3:11, 3:11]  # of the grid: where an aligned face is, and a background is not


@dataclass(frozen=True)
class MaskColor:
    """The colour that hides patches in faces masked elsewhere: three bytes, and how far from it a pixel may be."""

    rgb: tuple[int, int, int]
    tolerance: int

    @classmethod
    def parse(cls, text: str, tolerance: int) -> MaskColor:
        """RRGGBB in hex, with or without `#`. Raises UsageError."""
        match = re.fullmatch(r"#?([0-9a-fA-F]{6})", text)
        if match is None:
            raise UsageError(f"--mask-color {text!r} is not a colour; give six hex digits such as 000000 for black")
        if not 0 <= tolerance <= 255:
            raise UsageError(f"--mask-tolerance {tolerance} must be from 0 to 255")
        red, green, blue = bytes.fromhex(match[1])
        return cls((red, green, blue), tolerance)

    def __str__(self) -> str:
        return bytes(self.rgb).hex() + f"+{self.tolerance}"

    def mask(self, rgb: Pixels, luma: Pixels | None = None, least: float = LEAST_HIDDEN) -> Mask:
        """The (196,) mask of a face: (H, W, 3) uint8 RGB, and of a JPEG its (H, W) uint8 luma as stored.

        A patch is hidden when four fifths of its pixels, those along its edge left out, are within `tolerance` (0..255)
        of the colour: in each channel, or, since JPEGs keep colour for 2 x 2 pixels and more, in luma, where the mean
        colour is near too. Raises FaceError `bad-size`, `no-mask`, `nothing-visible`, and `too-little-hidden` where
        less than `least` (0..1) of the patches is hidden, or less than half of it in the middle of the face, as where
        a background has the colour and the face is whole.
        """
        if luma is None:
            near = (np.abs(_inner(rgb).astype(np.int16) - self.rgb) <= self.tolerance).all(axis=-1)
        else:
            near = np.abs(_inner(luma) - np.dot(self.rgb, LUMA)) <= self.tolerance
            off = np.abs(_inner(rgb).mean(axis=2) - self.rgb).max(axis=-1)
            near &= (off <= self.tolerance + _CHROMA)[..., None]
        grid = near.mean(axis=2) >= _INNER
        mask: Mask = grid.reshape(TOKENS)
        check_plausible(mask, least)
        middle = grid[_MIDDLE]
        if middle.mean() < least / 2:
            raise FaceError(
                "too-little-hidden",
                f"{mask.sum()} of {TOKENS} patches have the colour, but only {middle.sum()} of the {middle.size} in "
                "the middle: a background, and the face is in the clear; mask it, or --min-hidden 0.2 takes less",
            )
        return mask


def least_hidden(asked: float | None, *, by_color: bool) -> float:
    """The share of a face's patches that must be hidden, as `--min-hidden` asks or, for None, as the way of masking
    needs: by a colour or by transparency. Raises UsageError."""
    if asked is None:
        return LEAST_HIDDEN if by_color else MIN_HIDDEN_FRACTION
    if not MIN_HIDDEN_FRACTION <= asked < 1:
        limits = f"from {MIN_HIDDEN_FRACTION} to below 1"
        raise UsageError(f"--min-hidden {asked} must be {limits}: a raw face must never pass")
    return asked


def _inner(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, ...) to (14, 14, pixels of a patch without those along its edge, ...); of the smallest patches, all."""
    height, width = patch_shape(*image.shape[:2])
    patches = image.reshape(GRID, height, GRID, width, *image.shape[2:]).swapaxes(1, 2)
    patches = patches[:, :, height > 3 : height - (height > 3), width > 3 : width - (width > 3)]
    return patches.reshape(GRID, GRID, -1, *image.shape[2:])
