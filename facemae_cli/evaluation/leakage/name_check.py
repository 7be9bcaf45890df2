"""Whether names tell who is who: photos whose own picture stands out in the release, under another person's name.

An audit believes the names. Where folders were shuffled, nobody is found under the own name, and a release that gives
everybody away would look safe; so would one that holds people under several names, each of which hides the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.matching import Matching
from facemae_cli.evaluation.leakage.statistics import People
from facemae_cli.evaluation.leakage.thumbnails import by_distance
from facemae_cli.evaluation.retrieval import top_k

# The squared distance of thumbnails to the nearest released face, of that to the nearest of another person. Of 6,731
# photos 94.6 % stand out so among facemae-v1's reconstructions, all under their own name; 2.1 % among other photos. Of
# 1,500, 0.3 % stand out under two names or more.
STANDS_OUT = 0.5
NAMES = 4  # under so many names, at most, a picture is looked for
LOOKED_AT = 10  # of the nearest faces
FEWEST, LEAST = 10, 0.2  # photos, and of all photos, that must stand out for a judgement
MOST_MISNAMED = 0.1  # of those that stand out


@dataclass(frozen=True)
class NameCheck:
    """Of `photos` those whose nearest released face, under one name or several, `stand_out` from the others, and how
    many of these bear `another` person's name, too or alone."""

    photos: int
    stand_out: int
    another: int

    @property
    def misnamed(self) -> bool:
        """Whether names cannot be believed."""
        enough = self.stand_out >= max(FEWEST, LEAST * self.photos)
        return enough and self.another > MOST_MISNAMED * self.stand_out

    def lines(self) -> list[str]:
        """What a reader should know where names are believed all the same."""
        if self.misnamed or not self.another or self.stand_out < FEWEST:
            return []
        return [
            f"of {self.stand_out} photos whose picture stands out in the release {self.another} are there under "
            "another person's name, and the rates miss them"
        ]

    def __str__(self) -> str:
        return (
            f"names do not tell who is who: of {self.stand_out} photos whose picture stands out in the release "
            f"{self.another} are there under another person's name"
        )


def check_names(original: Scan, released: Scan, matching: Matching, device: str = "cpu") -> NameCheck:
    """By thumbnails, for originals whose person is in the release, and where photos join, for those that are in it: of
    another photo nothing has to be there."""
    faces = np.flatnonzero(released.valid)
    there = (matching.own_faces >= 0).any(axis=1) | (not matching.names.photos_join)
    rows = np.flatnonzero(original.valid & np.isin(matching.real, matching.shown) & there)
    if len(faces) < 2 or not len(rows):
        return NameCheck(len(rows), 0, 0)
    scores, nearest = top_k(
        by_distance(original.thumbnails[rows]),
        by_distance(released.thumbnails[faces]),
        min(LOOKED_AT, len(faces)),
        device=device,
    )
    away, people = np.maximum(1 - scores, 0), matching.shown[faces[nearest]]
    stand_out, another = _stand_out(people, away, matching.real[rows])
    return NameCheck(len(rows), int(stand_out.sum()), int(another.sum()))


def _stand_out(
    people: People, away: NDArray[np.float64], asking: People
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) whose picture stands out, and whose of these does so under another name: `people`, (n, w, S), of the nearest
    faces, so far `away`, (n, w); `asking`: (n,) whose photos these are."""
    every, last = np.arange(len(people)), np.zeros(len(people), np.int64)
    stand_out, another = np.zeros(len(people), np.bool_), np.zeros(len(people), np.bool_)
    names = people[:, :1]  # of the nearest face, then of the nearest of another name as well, and so on
    for _ in range(NAMES):
        apart = ~_in_common(people, names)
        following = np.where(apart.any(axis=1), apart.argmax(axis=1), people.shape[1] - 1)
        here = ~stand_out & (away[every, last] < STANDS_OUT * away[every, following])
        own = (names == asking[:, None, None]).any(axis=2).all(axis=1)
        stand_out, another = stand_out | here, another | (here & ~own)
        names, last = np.concatenate([names, people[every, following, None]], axis=1), following
    return stand_out, another


def _in_common(first: People, second: People) -> NDArray[np.bool_]:
    """(n, w) whether faces, (n, w, S), have a person in common with any of (n, v, S) others."""
    alike = first[:, :, None, :, None] == second[:, None, :, None, :]
    return np.asarray((alike & (first[:, :, None, :, None] >= 0)).any(axis=(2, 3, 4)))
