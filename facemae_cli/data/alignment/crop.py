"""Which faces of a photo are kept, their crops, and why the others are refused or doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.alignment.detector import Detector
from facemae_cli.data.alignment.search import Found, find_faces
from facemae_cli.data.alignment.template import SIZE, TEMPLATE, apply, outside, warp
from facemae_cli.errors import FaceError, UsageError

Choice = Literal["largest", "centre", "all", "refuse"]
CHOICES: tuple[Choice, ...] = ("largest", "centre", "all", "refuse")
SURE, DOUBTED = 0.6, 0.8  # the detector's score below which there is no face, and below which it is doubtful
MAX_OUTSIDE = 0.1  # share of a crop that may lie beyond the photo
DOUBTED_OUTSIDE = 0.1  # share of that share
DOUBTED_SHARPNESS = 0.11  # 0.1 % of CelebA's crops are below
DOUBTED_MISFIT = 7.0  # root mean square pixels from the template: a face seen from the side


@dataclass(frozen=True)
class Rules:
    """Which faces are wanted: those of `choice`, whose crop has at least `min_side` pixels a side in the photo and
    `min_sharpness` (see `sharpness`). Raises UsageError for what cannot be."""

    choice: Choice = "largest"
    min_side: int = 48
    min_sharpness: float = 0.07

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise UsageError(f"--faces {self.choice!r} is not known: give one of {', '.join(CHOICES)}")
        if not 1 <= self.min_side <= 10_000:
            raise UsageError(f"--min-side {self.min_side}: give 1 to 10000 pixels")
        if not 0 <= self.min_sharpness <= 1:
            raise UsageError(f"--min-sharpness {self.min_sharpness:g}: give 0 to 1; 0 takes any face")


@dataclass(frozen=True)
class Crop:
    """A face cut out: `image` (112, 112, 3) uint8 RGB. `doubts`: codes of what speaks against it, the
    gravest first, often none."""

    image: NDArray[np.uint8]
    doubts: tuple[str, ...]
    doubt: float  # how doubtful, to sort by; 0 where nothing speaks against it


class Faces(NamedTuple):
    """The wanted faces of a photo, the largest first, each as its crop or the reason against it; of how many `seen`."""

    wanted: list[Crop | FaceError]
    seen: int


def find_crops(photo: NDArray[np.uint8], detector: Detector, rules: Rules) -> Faces:
    """The faces of `photo`, (H, W, 3) uint8 RGB, that `rules` want.

    Raises FaceError where there is no face at all (`no-face`), and where there are several and they are to be refused
    (`several-faces`).
    """
    found = [face for face in find_faces(photo, detector, rules.choice == "largest") if face.score >= SURE]
    if not found:
        raise FaceError("no-face", "no face is found in it")
    made: list[Crop | FaceError] = []
    for face in _chosen(found, photo.shape, rules):
        try:
            made.append(_crop(photo, face, rules))
        except FaceError as error:
            made.append(error)
    return Faces(made, len(found))


def _chosen(found: Sequence[Found], shape: tuple[int, ...], rules: Rules) -> Sequence[Found]:
    """`found` is sorted by size. Faces too small to be used are bystanders, unless there is no other."""
    usable = [face for face in found if face.side >= rules.min_side] or found[:1]
    if rules.choice == "all":
        return usable
    if rules.choice == "refuse" and len(usable) > 1:
        raise FaceError("several-faces", f"{len(usable)} faces are in it: --faces says which to take")
    if rules.choice == "centre":
        middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
        return [min(usable, key=lambda face: float(np.linalg.norm(face.middle - middle)))]
    return usable[:1]


def _crop(photo: NDArray[np.uint8], face: Found, rules: Rules) -> Crop:
    if face.side < rules.min_side:
        raise FaceError(
            "too-small", f"its crop has {face.side:.0f} pixels a side, under the {rules.min_side} of --min-side"
        )
    beyond = outside(face.matrix, (photo.shape[0], photo.shape[1]))
    if beyond > MAX_OUTSIDE:
        raise FaceError(
            "cut-off",
            f"{100 * beyond:.0f} % of its crop lie beyond the photo's border, at most {100 * MAX_OUTSIDE:.0f}",
        )
    image = warp(photo, face.matrix, SIZE)
    sharp = sharpness(image)
    if sharp < rules.min_sharpness:
        raise FaceError(
            "blurred", f"its sharpness is {sharp:.3f}, under the {rules.min_sharpness:g} of --min-sharpness"
        )
    misfit = float(np.sqrt(((apply(face.matrix, face.points) - TEMPLATE) ** 2).sum(1).mean()))
    against = {
        "unsure": (DOUBTED - face.score) / (DOUBTED - SURE),
        "near-border": beyond / MAX_OUTSIDE - DOUBTED_OUTSIDE,
        "soft": (DOUBTED_SHARPNESS - sharp) / DOUBTED_SHARPNESS,
        "from-the-side": (misfit - DOUBTED_MISFIT) / DOUBTED_MISFIT,
    }
    doubts = sorted((code for code, much in against.items() if much > 0), key=lambda code: -against[code])
    return Crop(image, tuple(doubts), max(0.0, *against.values()))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """How much fine detail a crop's face has for its contrast: 0.35 is usual, 0.07 is a blur of two pixels.

    The standard deviation of the Laplacian of the grey face over that of its grey values, the crop's border left out.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    grey = grey[SIZE // 7 : -SIZE // 7, SIZE // 7 : -SIZE // 7]
    return float(cv2.Laplacian(grey, cv2.CV_32F).std() / max(float(grey.std()), 1.0))
