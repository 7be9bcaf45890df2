"""Whether names tell who is who: photos whose own picture stands out in the release, under another person's name.

An audit believes the names. Where folders were shuffled, nobody is found under the own name, and a release that gives
everybody away would look safe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.scan import Scan
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.leakage.thumbnails import by_distance
from facemae_cli.evaluation.retrieval import top_k

# The squared distance of thumbnails to the nearest released face, of that to the nearest of another person. Of 6,731
# photos 94.6 % stand out so among facemae-v1's reconstructions, all under their own name; 2.1 % among other photos.
STANDS_OUT = 0.5
LOOKED_AT = 10  # of the nearest faces
FEWEST, LEAST = 10, 0.2  # photos, and of all photos, that must stand out for a judgement
MOST_MISNAMED = 0.1  # of those that stand out


@dataclass(frozen=True)
class NameCheck:
    """Of `photos` those whose nearest released face `stand_out` from the others, and how many of these bear `another`
    person's name."""

    photos: int
    stand_out: int
    another: int

    @property
    def misnamed(self) -> bool:
        """Whether names cannot be believed."""
        enough = self.stand_out >= max(FEWEST, LEAST * self.photos)
        return enough and self.another > MOST_MISNAMED * self.stand_out

    def __str__(self) -> str:
        return (
            f"names do not tell who is who: of {self.stand_out} photos whose picture stands out in the release "
            f"{self.another} are there under another person's name"
        )


def check_names(original: Scan, released: Scan, matching: Matching, device: str = "cpu") -> NameCheck:
    """By thumbnails, for originals whose person is in the release."""
    faces = np.flatnonzero(released.valid)
    rows = np.flatnonzero(original.valid & np.isin(matching.real, matching.shown))
    if len(faces) < 2 or not len(rows):
        return NameCheck(len(rows), 0, 0)
    scores, nearest = top_k(
        by_distance(original.thumbnails[rows]),
        by_distance(released.thumbnails[faces]),
        min(LOOKED_AT, len(faces)),
        device=device,
    )
    away, people = np.maximum(1 - scores, 0), matching.shown[faces[nearest]]
    another = ~_in_common(people, people[:, :1])
    second = np.where(another.any(axis=1), another.argmax(axis=1), people.shape[1] - 1)
    stands_out = away[:, 0] < STANDS_OUT * away[np.arange(len(rows)), second]
    own = (people[:, 0] == matching.real[rows, None]).any(axis=1)
    return NameCheck(len(rows), int(stands_out.sum()), int((stands_out & ~own).sum()))


def _in_common(first: People, second: People) -> NDArray[np.bool_]:
    """(n, w) whether the faces of one side, (n, w, S), and of the other, (n, 1, S), have a person in common."""
    alike = first[..., :, None] == second[..., None, :]
    return np.asarray((alike & (first[..., :, None] >= 0)).any(axis=(-2, -1)))
