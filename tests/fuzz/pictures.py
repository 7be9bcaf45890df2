"""What the images of all formats share: a picture, its form as a file, and how it is read."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import numpy as np
from fuzz.engine import Reading, Target
from fuzz.mutating import Edit, apply
from PIL import Image

from facemae_cli.data.images.codec import decode, decode_masked, decode_visible, probe
from facemae_cli.errors import FaceError

_SIDES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 28, 63, 64, 100, 112, 255, 256, 1000)
_LARGE = (4096, 4097, 16384, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def picture(channels: int, depth: str = "u1") -> np.ndarray:
    """A smooth picture of 10 x 14 pixels with something transparent, where there is an alpha channel."""
    rows = np.arange(10 * 14 * channels, dtype="u4").reshape(10, 14, channels) * (3 if depth == "u1" else 700)
    if channels in (2, 4):
        rows[:, :7, -1] = 0
    return rows.astype(depth)


def saved(image: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    (picture.convert(mode) if mode else picture).save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    """An Exif block that turns the picture."""
    return b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation]) + bytes(7)


def side(random: Random) -> int:
    return random.choice(_LARGE if random.random() < 0.1 else _SIDES)


def _change(edits: Sequence[Edit], random: Random, pool: Sequence[bytes]) -> bytes:
    data = random.choice(pool)
    return data if random.random() < 0.02 else apply(random, data, edits, 0.1)


def _read(data: bytes) -> Reading:
    """Decoded as a bare face; a small one that is refused for its mask, as a masked one and as what it shows too."""
    info = probe(data)
    masked = None
    try:
        image = decode(data)
    except FaceError as error:
        if error.reason != "has-alpha" or info.width * info.height > 2**18:
            raise
        image = masked = decode_masked(data)
    assert image.shape == (info.height, info.width, 3 if masked is None else 4), "another size than its header says"
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    if masked is not None:
        assert decode_visible(data).shape == (info.height, info.width, 3)
    return Reading((info.channels, info.depth, info.has_alpha, info.orientation, image.size < 2000))


def target(name: str, seeds: Callable[[], list[bytes]], *edits: Edit) -> Target:
    return Target(name, 25_000, seeds, partial(_change, edits), _read)
