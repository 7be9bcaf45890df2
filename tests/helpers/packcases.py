"""Verification packs of faces that a small embedder tells apart, for tests of what verifies."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from helpers.sources import smooth_face

from facemae_cli.data.images.codec import encode_jpeg


def photo(person: int, take: int, size: int = 112) -> bytes:
    """A JPEG of a person: a picture in a colour of their own, a little darker at each take."""
    tint = np.random.default_rng(person).integers(0, 256, 3)
    picture = 0.3 * smooth_face(person, size) + 0.7 * tint
    return encode_jpeg((picture * (1 - 0.01 * take)).astype(np.uint8), 90)


def images_of(pairs: int, size: int = 112) -> tuple[list[bytes], list[bool]]:
    """Images side by side and whether they show one person: by turns two photos of one, and photos of two."""
    images, same = [], []
    for number in range(pairs):
        other = number // 2 + number % 2
        images += [photo(number // 2, 0, size), photo(other, 1, size)]
        same.append(number % 2 == 0)
    return images, same


def write_bin(path: Path, images: list[bytes], same: list[bool]) -> Path:
    """A `.bin`."""
    path.write_bytes(pickle.dumps((images, same), 4))
    return path


def write_lfw(folder: Path, people: int = 4, size: int = 112) -> Path:
    """A folder with a `pairs.txt`: Person_00, Person_01, ... of two photos, each paired with itself and the next."""
    lines = []
    for person in range(people):
        name = f"Person_{person:02d}"
        (folder / name).mkdir(parents=True)
        for take in (1, 2):
            (folder / name / f"{name}_{take:04d}.jpg").write_bytes(photo(person, take, size))
        lines += [f"{name}\t1\t2\n", f"{name}\t1\tPerson_{(person + 1) % people:02d}\t2\n"]
    (folder / "pairs.txt").write_text("".join(lines))
    return folder
