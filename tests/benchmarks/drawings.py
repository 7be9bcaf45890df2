"""Drawn people in any number for the benchmarks: few are drawn, and shown again under other names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_jpeg
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.output import open_output
from facemae_cli.data.synthetic import people

DRAWN = 48  # different faces; a face takes about ten milliseconds to draw


@cache
def drawn(count: int) -> tuple[np.ndarray, ...]:
    """`count` different faces, (112, 112, 3) uint8 RGB."""
    return tuple(image for _, image in people(count, 1, 0))


def faces(count: int) -> list[np.ndarray]:
    """`count` faces, of which the first DRAWN differ."""
    return list(islice(cycle(drawn(min(count, DRAWN))), count))


def named(count: int, photos: int) -> Iterator[Name]:
    """Names of `count` faces, `photos` of each person."""
    return (Name(f"{at // photos:06d}", f"{at % photos}.jpg") for at in range(count))


def write_faces(path: Path, count: int, photos: int = 4) -> Path:
    """`count` faces as JPEG of quality 95 in the folder or `.rec` at `path`."""
    encoded = [encode_jpeg(face) for face in drawn(min(count, DRAWN))]
    with open_output(path, plan={"faces": count}) as output:
        for name, image in zip(named(count, photos), cycle(encoded), strict=False):
            output.write(name, image)
        output.commit()
        output.finish(Manifest(command="convert"))
    return path
