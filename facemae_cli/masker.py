"""One raw face into its masked PNG: decoded, masked on its stored pixels, encoded with nothing else in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from facemae_cli import masking
from facemae_cli.data.faces import Name
from facemae_cli.data.headers import MAX_PIXELS
from facemae_cli.data.images import decode, encode_png, resize
from facemae_cli.errors import UsageError
from facemae_cli.keys import Key, seed_mask_key, seed_payload


class MaskedFace(NamedTuple):
    """An RGBA PNG, how many of its 196 patches are hidden, and whether the raw face was resized before."""

    image: bytes
    hidden: int
    resized: bool


@dataclass(frozen=True)
class Masker:
    """How faces are masked; safe to use from many threads.

    Masks come from `key` and a face's stored pixels, so that every release of one photo, at any ratio and size, hides
    the same patches first. With a `seed` they come from the seed and the photo's name, never from pixels: what is
    hidden cannot influence what is seen. Either may be None, `parts` needs neither.
    `size` resizes each whole face to size x size pixels first; visible pixels then mix across patch edges.
    """

    strategy: str = "random"
    ratio: float | None = None
    key: Key | None = None
    seed: int | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError as `masking.count_to_hide` does, for a `size` that cannot be, and for a missing key."""
        size = self.size
        if size is not None and (size < masking.GRID or size % masking.GRID or size * size > MAX_PIXELS):
            raise UsageError(
                f"--size {size}: {masking.GRID} must divide it and it is at most 4088; 112 and 224 are usual"
            )
        masking.count_to_hide(self.strategy, self.ratio)
        if self.strategy != "parts" and self.seed is None and self.key is None:
            raise UsageError(f"the strategy {self.strategy!r} needs a key or a seed")

    def face(self, data: bytes, name: Name) -> MaskedFace:
        """The face in the encoded image `data`, called `name` in the raw dataset. Raises FaceError as `images.decode`
        does, and `bad-size` where 14 does not divide a side and no size is set."""
        image = decode(data)
        height, width = image.shape[:2]
        resized = self.size is not None and (height, width) != (self.size, self.size)
        if not resized:
            masking.patch_shape(height, width)
        # The mask is that of the stored pixels: a release at another size then hides the same patches.
        mask = masking.hidden(self.strategy, self._permutation(image, name), self.ratio)
        if self.size is not None and resized:
            image = resize(image, self.size, self.size)
        return MaskedFace(encode_png(masking.apply(image, mask)), int(mask.sum()), resized)

    def _permutation(self, image: masking.Pixels, name: Name) -> np.ndarray:
        size = image.shape[0], image.shape[1]
        if self.seed is not None:
            return masking.permutation(seed_mask_key(self.seed), size, seed_payload(name))
        return masking.permutation(self.key.mask_key if self.key else b"", size, image.tobytes())
