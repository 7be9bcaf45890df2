"""Where the faces of a photo are: searched at several sizes, then each turned upright, centred and looked at again.

One look at a turned face places its points worse than a look at the same face upright.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.alignment.detector import Detection, Detector
from facemae_cli.data.alignment.template import (
    MIRRORED,
    SIZE,
    TEMPLATE,
    Matrix,
    Points,
    apply,
    inverse,
    scale_of,
    similarity,
    warp,
)

# A detector sees faces whose crop is from 40 to 500 pixels a side, so each size finds what the others do not.
COARSE, FINE = 320, 2048  # longest side in pixels of a photo as it is searched
TILE, OVERLAP = 2048, 512  # of photos larger than FINE, at their full size
WELL_SEEN = 40  # pixels a side of a crop in a search
WINDOW, FACE = 256, 176  # pixels a side of the second look, and of the crop in the middle of it
STRAY = 0.3  # of a crop's side: what the second look finds further off is another face
SAME = 0.3  # of a crop's side: two faces nearer to one another are one


@dataclass(frozen=True)
class Found:
    """A face in a photo: its five `points` in the photo's pixels, and the detector's `score`, 0 to 1."""

    points: Points
    score: float
    matrix: Matrix  # from the photo onto the template

    @property
    def side(self) -> float:
        """Of the crop, in the photo's pixels."""
        return SIZE / scale_of(self.matrix)

    @property
    def middle(self) -> Points:
        """Of the crop, (1, 2) in the photo's pixels."""
        return apply(inverse(self.matrix), np.full((1, 2), (SIZE - 1) / 2))


def find_faces(photo: NDArray[np.uint8], detector: Detector, largest: bool = False) -> list[Found]:
    """The faces in `photo`, (H, W, 3) uint8 RGB, the largest first.

    With `largest`, sizes at which all faces would be smaller than one found already are not searched. Tiles of the
    full size are searched for all faces, or where there is none so far. Where nothing is found, the photo may lie on
    its side or upside down.
    """
    firsts = _search(photo, detector, largest)
    if not firsts:
        turned = [(turn, _search(np.ascontiguousarray(np.rot90(photo, turn)), detector, True)) for turn in (1, 3, 2)]
        firsts = [_turned_back(one, turn, photo.shape) for turn, each in turned for one in each]
    seconds = [look for first in _apart(firsts) if (look := look_again(photo, first, detector)) is not None]
    return sorted(_apart(seconds), key=lambda face: -face.side)


def _search(photo: NDArray[np.uint8], detector: Detector, largest: bool) -> list[Found]:
    longest = max(photo.shape[:2])
    found: list[Found] = []
    for side in sorted({min(longest, COARSE), min(longest, FINE)}):
        found += _at(photo, side / longest, detector)
        if largest and any(face.side * side / longest >= WELL_SEEN for face in found):
            return found
    if longest > FINE and not (largest and found):
        for top, left in product(*(_starts(side) for side in photo.shape[:2])):
            tile = photo[top : top + TILE, left : left + TILE]
            found += [_face(one.points + np.array([left, top]), one.score) for one in detector.detect(tile)]
    return found


def _at(photo: NDArray[np.uint8], factor: float, detector: Detector) -> Iterator[Found]:
    """Faces of the photo made smaller by `factor`, at most 1, in the photo's own pixels."""
    height, width = photo.shape[:2]
    small = max(round(width * factor), 1), max(round(height * factor), 1)
    picture = photo if factor == 1 else np.asarray(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), np.uint8)
    enlarge = np.array([width, height]) / small
    for one in detector.detect(picture):
        yield _face((one.points + 0.5) * enlarge - 0.5, one.score)


def _starts(side: int) -> Sequence[int]:
    """Where tiles begin along a side, each overlapping the next."""
    return range(0, max(side - OVERLAP, 1), TILE - OVERLAP)


def _face(points: Points, score: float) -> Found:
    return Found(points, score, similarity(points, TEMPLATE))


def _turned_back(face: Found, turn: int, shape: tuple[int, ...]) -> Found:
    """A face of the photo turned by np.rot90 `turn` times, in the photo of `shape` itself."""
    height, width = shape[:2]
    back = {
        1: np.array([(0.0, -1, width - 1), (1, 0, 0)]),
        2: np.array([(-1.0, 0, width - 1), (0, -1, height - 1)]),
        3: np.array([(0.0, 1, 0), (-1, 0, height - 1)]),
    }[turn]
    onto = np.vstack([inverse(back), [0, 0, 1]])
    return Found(apply(back, face.points), face.score, face.matrix @ onto)


def _apart(faces: Sequence[Found]) -> list[Found]:
    """The surest of all that stand in one place, in the order of their scores."""
    kept: list[Found] = []
    for face in sorted(faces, key=lambda face: -face.score):
        near = (np.abs(face.middle - other.middle).max() < SAME * max(face.side, other.side) for other in kept)
        if not any(near):
            kept.append(face)
    return kept


def look_again(photo: NDArray[np.uint8], first: Found, detector: Detector) -> Found | None:
    """`first` seen upright, in the middle and at a known size, and mirrored as well; the mean of both.

    None where there is no face on a second look.
    """
    onto_window = np.vstack([_in_window(), [0, 0, 1]]) @ np.vstack([first.matrix, [0, 0, 1]])
    window = warp(photo, onto_window[:2], WINDOW)
    looks = [_nearest(detector.detect(window))]
    flipped = [
        Detection((one.points * [-1, 1] + [WINDOW - 1, 0])[MIRRORED], one.score)
        for one in detector.detect(np.ascontiguousarray(window[:, ::-1]))
    ]
    looks.append(_nearest(flipped))
    seen = [look for look in looks if look is not None]
    if not seen:
        return None
    points = apply(inverse(onto_window[:2]), np.mean([look.points for look in seen], axis=0))
    return _face(points, float(np.mean([look.score for look in seen])))


def _in_window() -> Matrix:
    """From a crop into the window of the second look."""
    grow = FACE / SIZE
    shift = (WINDOW - FACE) / 2 + (grow - 1) / 2
    return np.array([(grow, 0, shift), (0, grow, shift)])


def _nearest(found: Sequence[Detection]) -> Detection | None:
    expected = apply(_in_window(), TEMPLATE).mean(0)
    near = [one for one in found if np.abs(one.points.mean(0) - expected).max() < STRAY * FACE]
    return max(near, key=lambda one: one.score, default=None)
