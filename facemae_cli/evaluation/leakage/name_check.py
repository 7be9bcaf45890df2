"""Whether names tell who is who: photos whose own picture stands out in the release, under another person's name.

An audit believes the names. Where folders were shuffled, nobody is found under the own name, and a release that gives
everybody away would look safe.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.scan import Scan
from facemae_cli.evaluation.leakage.thumbnails import by_distance
from facemae_cli.evaluation.retrieval import top_k

STANDS_OUT = 0.5  # the squared distance of thumbnails to the nearest released face, of that to the second nearest
FEWEST = 10
MOST_MISNAMED = 0.5  # of the photos that stand out


@dataclass(frozen=True)
class NameCheck:
    """Photos whose nearest released face `stand_out` from the others, and how many of these bear `another` name."""

    stand_out: int
    another: int

    @property
    def misnamed(self) -> bool:
        """Whether names cannot be believed."""
        return self.stand_out >= FEWEST and self.another > MOST_MISNAMED * self.stand_out

    def __str__(self) -> str:
        return (
            f"names do not tell who is who: of {self.stand_out} photos whose picture stands out in the release "
            f"{self.another} are there under another person's name"
        )


def check_names(original: Scan, released: Scan, matching: Matching, device: str = "cpu") -> NameCheck:
    """By thumbnails, for originals whose person is in the release."""
    faces = np.flatnonzero(released.valid)
    rows = np.flatnonzero(original.valid & np.isin(matching.real, matching.released))
    if len(faces) < 2 or not len(rows):
        return NameCheck(0, 0)
    scores, nearest = top_k(
        by_distance(original.thumbnails[rows]), by_distance(released.thumbnails[faces]), 2, device=device
    )
    away = np.maximum(1 - scores, 0)
    stands_out = away[:, 0] < STANDS_OUT * away[:, 1]
    own = matching.released[faces[nearest[:, 0]]] == matching.real[rows]
    return NameCheck(int(stands_out.sum()), int((stands_out & ~own).sum()))
