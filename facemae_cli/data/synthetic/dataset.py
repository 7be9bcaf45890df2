"""Datasets of synthetic people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_jpeg
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.output import open_output
from facemae_cli.data.synthetic.look import on_the_day
from facemae_cli.data.synthetic.person import Person, Shot
from facemae_cli.data.synthetic.portrait import render
from facemae_cli.errors import UsageError
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.runtime.threads import cores, ordered_map

SIZE = 112
UNIT = 50  # faces made durable together
GIVEN = (
    *("Alex", "Robin", "Sam", "Kim", "Noor", "Sasha", "Jamie", "Remy"),
    *("Toni", "Eli", "Mika", "Jules", "Ariel", "Charlie", "Dana", "Yuki"),
)
FAMILY = (
    *("Ashdale", "Birchfield", "Cloudway", "Dovehill", "Elmcourt", "Fernley", "Glenbank", "Hazelford", "Ivywood"),
    *("Juniperstone", "Kestrelmoor", "Larkmead", "Mapleton", "Nettlecombe", "Oakhaven", "Pinebrook", "Quarrypost"),
)


def invented_name(index: int) -> str:
    """The name of person 0, 1, ...: nobody's, and a different one for everybody."""
    name = f"{GIVEN[index % len(GIVEN)]} {FAMILY[index % len(FAMILY)]}"
    again = index // (len(GIVEN) * len(FAMILY))  # both lengths have no common divisor, so all pairs come up before
    return f"{name} {again + 1}" if again else name


def people(
    count: int, photos: int, seed: int = 0, size: int = SIZE, first: int = 0
) -> Iterator[tuple[Name, NDArray[np.uint8]]]:
    """`photos` faces of each of `count` people: names, and images (size, size, 3) uint8 RGB, person by person.

    The people are numbers `first`, `first` + 1, ...; face (seed, person, photo) is the same in every dataset it occurs
    in. Raises UsageError for counts under 1 and a negative seed.
    """
    return (_face(seed, index, photo, size) for index, photo in _planned(count, photos, seed, first))


def _planned(count: int, photos: int, seed: int, first: int) -> Iterator[tuple[int, int]]:
    for option, value, least in (("people", count, 1), ("photos", photos, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"--{option} {value} must be at least {least}")
    return product(range(first, first + count), range(photos))


def _face(seed: int, index: int, photo: int, size: int) -> tuple[Name, NDArray[np.uint8]]:
    person, shot = on_the_day(Person.random(seed, index), seed, index, photo), Shot.random(seed, index, photo)
    return Name(invented_name(index), f"photo {photo + 1}.jpg"), render(person, shot, size)


def write_dataset(
    path: Path,
    count: int = 40,
    photos: int = 5,
    seed: int = 0,
    first: int = 0,
    *,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> int:
    """Writes these of `people` into the folder or `.rec` at `path`, as JPEGs; returns how many faces.

    Raises UsageError for wrong counts and where `path` exists without `overwrite`, OutputError where the disk refuses.
    """
    wanted, total = _planned(count, photos, seed, first), count * photos
    made = ordered_map(lambda place: _face(seed, *place, SIZE), wanted, cores())
    plan = {"command": "demo", "people": count, "photos": photos, "seed": seed, "first": first}
    with closing(made) as faces, open_output(path, plan=plan, overwrite=overwrite) as output:
        progress.start("synthesise", total)
        for number, (name, image) in enumerate(faces, 1):
            output.write(name, encode_jpeg(image))
            if number % UNIT == 0 or number == total:
                output.commit()
            progress.advance()
        counts = {"in": total, "out": total, "refused": {}}
        output.finish(Manifest("demo", counts=counts, extra={"people": count, "photos": photos, "drawing_seed": seed}))
    return total
