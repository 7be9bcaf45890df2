"""Faces that are there twice: a released face that is a real photo, and one photo of the originals held as two.

Equal bytes, and nearly equal pictures, are found among all faces, whatever their labels; a picture also where it was
mirrored, turned, inverted, blurred or had its colours swapped, and where it was made brighter or darker, of more or
less contrast, tinted or grey. A picture of one colour shows nobody, and is like no other.

Zoomed pictures are not found so: thumbnails that are zoomed, and not the photo, are as far from it as reconstructions
are, and a hundredth of a zoom counts. Rates find those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.pixels import LUMA as GREY
from facemae_cli.evaluation.leakage.fingerprints import Scan
from facemae_cli.evaluation.leakage.thumbnails import VALUES, lifted
from facemae_cli.evaluation.leakage.transforms import invariants, symmetries
from facemae_cli.evaluation.retrieval import Rows, places, top_k

# Mean difference of thumbnails, of 255. Recompressing a face changes it by under 1; facemae-v1's reconstructions differ
# from their 6,731 photos by 6.0 at least, the nearest of 6,731 other photos by 6.6.
NEAR = 3.0
# The same of grey thumbnails that all have one mean and this contrast. Of 300 photos grey ones differ by 0.7 at most,
# of 0.6 times the light or contrast by 1.0; 6,731 reconstructions by mae-v1 from their photos by 3.1 at least.
NEAR_EVENED, CONTRAST = 2.0, 50.0
LOOKED_AT = 4  # of the nearest faces
BLURS = (0.4, 0.6, 0.8, 1.0)  # pixels of a thumbnail: what smoothing a face of 112 pixels by 3 to 8 comes to
FAINT = 5.0  # contrast, of 255, below which a picture is not amplified to that of others
BLOCK = 2048  # pairs compared at a time
LISTED = 20

Prepared = NDArray[np.float32]
Look = Callable[[NDArray[np.uint8]], Prepared]  # of (n, S, S, 3) thumbnails, to be compared


@dataclass(frozen=True)
class Copy:
    """A released face that is a real photo, by its names in the release; `kind`: "bytes" or "near"."""

    identity: str
    released_photo: str
    kind: str


@dataclass(frozen=True)
class Duplicates:
    """How many faces are there twice.

    `released`: released faces with the bytes of a real photo; `released_near`: others that look like one, perhaps
    turned, inverted, blurred, brighter or grey. `original`, `original_near`: photos of the originals that an earlier
    one equals, or looks like. `copies`: the first of the released ones. Each face counts once. `whole`: every released
    face has the bytes of a real photo.
    """

    released: int = 0
    released_near: int = 0
    original: int = 0
    original_near: int = 0
    whole: bool = False
    copies: Sequence[Copy] = ()

    @property
    def all_released(self) -> int:
        """Released faces that are real ones, byte for byte or nearly."""
        return self.released + self.released_near

    def as_json(self) -> dict[str, Any]:
        """The counts, and the copies, as JSON types."""
        return {**vars(self), "copies": [vars(copy) for copy in self.copies]}

    def lines(self) -> list[str]:
        """The counts for a person; nothing where nothing is there twice."""
        lines = []
        if self.whole:
            lines.append("every released face is, byte for byte, one of the originals: nothing was hidden")
        elif self.all_released:
            lines.append(
                f"released faces that are real: {self.released} byte for byte, {self.released_near} nearly "
                "(turned, inverted, blurred, brighter and grey ones too)"
            )
        if self.original or self.original_near:
            lines.append(f"originals that are there twice: {self.original} byte for byte, {self.original_near} nearly")
        return lines


def find_duplicates(
    original: Scan, released: Scan, faces: FaceSource, labels: Sequence[str], device: str = "cpu"
) -> Duplicates:
    """Count the faces that are there twice. `faces`: the released ones; `labels`: (m,) what their people are called."""
    real = original.known
    equal = [at for at, face in enumerate(released.digests) if face in real]
    first: dict[bytes, int] = {}
    repeated = [at for at, face in enumerate(original.digests) if face is not None and first.setdefault(face, at) < at]
    near = look_alike(released, original, device)
    near[equal] = False
    alike = _near(original, original, np.arange(len(original.digests)), _centred, NEAR, device, earlier=True)
    alike[repeated] = False
    copies = [
        Copy(labels[at], faces.name(at).photo, kind)
        for kind, rows in (("bytes", equal), ("near", np.flatnonzero(near).tolist()))
        for at in rows[:LISTED]
    ]
    return Duplicates(
        released=len(equal),
        released_near=int(near.sum()),
        original=len(repeated),
        original_near=int(alike.sum()),
        whole=0 < len(equal) == len(released.digests),
        copies=copies[:LISTED],
    )


def look_alike(asking: Scan, among: Scan, device: str) -> NDArray[np.bool_]:
    """(n,) which faces of `asking` are nearly equal to one of `among`, changed as a whole or not."""
    nobody = np.full(len(asking.digests), -1, np.int64)
    alike = _near(asking, among, nobody, _centred, NEAR, device)
    return alike | _near(asking, among, nobody, _evened, NEAR_EVENED, device)


def _near(
    asking: Scan, among: Scan, exclude: Rows, look: Look, near: float, device: str, earlier: bool = False
) -> NDArray[np.bool_]:
    """(n,) which faces of `asking` look like one of `among`, or, if `earlier`, like one before them, as it is: their
    thumbnails, as `look` prepares them, differ by `near` at most."""
    found = np.zeros(len(asking.digests), np.bool_)
    rows, gallery = (np.flatnonzero(side.valid & ~_flat(side.thumbnails)) for side in (asking, among))
    if not (len(rows) and len(gallery)):
        return found
    queries, faces = (look(side.thumbnails[chosen]) for side, chosen in ((asking, rows), (among, gallery)))
    left_out = places(gallery, len(among.digests))[exclude[rows]]
    features = [lifted(invariants(side), VALUES * 127.5**2) for side in (queries, faces)]
    _, nearest = top_k(features[0], features[1], LOOKED_AT, exclude=left_out, device=device)
    for column in nearest.T:
        before = (column >= 0) & (~found[rows] if not earlier else gallery[column] < rows)
        pairs = np.flatnonzero(before)
        for start in range(0, len(pairs), BLOCK):
            part = pairs[start : start + BLOCK]
            found[rows[part]] |= _apart_at_best(queries[part], faces[column[part]], earlier) <= near
    return found


def _flat(thumbnails: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) which are of one colour, but for NEAR."""
    values = _centred(thumbnails)
    return _apart(values, values.mean(axis=(1, 2), keepdims=True)) <= NEAR


def _apart_at_best(first: Prepared, second: Prepared, as_they_are: bool) -> Prepared:
    """(n,) how far pairs of thumbnails are apart: in the best of the symmetries, the second blurred or not."""
    if as_they_are:
        return _apart(first, second)
    best, apart = first.copy(), np.full(len(first), np.inf)
    for way in symmetries(first):
        closer = (found := _apart(way, second)) < apart
        best[closer], apart[closer] = way[closer], found[closer]
    for blur in BLURS:
        apart = np.minimum(apart, _apart(best, _blurred(second, blur)))
    return np.asarray(apart, np.float32)


def _apart(first: Prepared, second: Prepared) -> Prepared:
    return np.asarray(np.abs(first - second).mean(axis=(1, 2, 3)), np.float32)


def _blurred(images: Prepared, deviation: float) -> Prepared:
    """Each image smoothed by a Gaussian of so many pixels."""
    made = np.empty_like(images)
    for at, image in enumerate(images):
        made[at] = cv2.GaussianBlur(image, (0, 0), deviation)
    return made


def _centred(thumbnails: NDArray[np.uint8]) -> Prepared:
    return thumbnails.astype(np.float32) - np.float32(127.5)


def _evened(thumbnails: NDArray[np.uint8]) -> Prepared:
    """Grey, in all three colours, of mean 0 and one contrast."""
    grey = thumbnails.astype(np.float32) @ np.asarray(GREY, np.float32)
    grey -= grey.mean(axis=(1, 2), keepdims=True)
    grey *= CONTRAST / np.maximum(grey.std(axis=(1, 2), keepdims=True), FAINT)
    return np.repeat(grey[..., None], 3, axis=3)
