"""YuNet, the face detector: where it comes from, and what it sees in one picture (OpenCV's FaceDetectorYN)."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.alignment.template import Points
from facemae_cli.data.reading import read_small
from facemae_cli.errors import InputError

HUB_REPO = "opencv/face_detection_yunet"
HUB_FILE = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
MAX_BYTES = 2**26
LEAST_SCORE = 0.5  # of what is a candidate at all
_OVERLAP = 0.3  # of two boxes that are one face
_MOST = 5000


class Detection(NamedTuple):
    """One face: `points` (5, 2) in pixels in the template's order, and how sure the detector is, 0 to 1."""

    points: Points
    score: float


class Detector(Protocol):
    """What finds faces; `sha256` is that of its file."""

    sha256: str

    def detect(self, picture: NDArray[np.uint8]) -> Sequence[Detection]:
        """The faces in `picture`, (H, W, 3) uint8 RGB. May be called from many threads."""


class YuNet:
    """The detector in the ONNX file at `path`. Raises InputError where it cannot be read or is another network."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sha256 = hashlib.sha256(_read(path)).hexdigest()
        self._own = threading.local()
        try:
            found = self._network().detect(np.zeros((64, 64, 3), np.uint8))[1]
        except (cv2.error, AttributeError) as error:
            raise InputError(
                f"{path} is not YuNet's network as OpenCV reads it: give {HUB_FILE} of {HUB_REPO}"
            ) from error
        if found is not None and found.shape[1:] != (15,):
            raise InputError(f"{path} finds {found.shape[1:]} numbers a face, not YuNet's 15: give {HUB_FILE}")

    def _network(self) -> cv2.FaceDetectorYN:
        """This thread's own: OpenCV's detector keeps what it works on in itself."""
        if not hasattr(self._own, "network"):
            self._own.network = cv2.FaceDetectorYN.create(
                str(self.path), "", (64, 64), LEAST_SCORE, _OVERLAP, _MOST, cv2.dnn.DNN_BACKEND_OPENCV
            )
        network: cv2.FaceDetectorYN = self._own.network
        return network

    def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """The faces in `picture`, (H, W, 3) uint8 RGB, best first."""
        network = self._network()
        height, width = picture.shape[:2]
        network.setInputSize((width, height))
        found = network.detect(np.ascontiguousarray(picture[..., ::-1]))[1]
        rows = np.empty((0, 15)) if found is None else np.asarray(found, np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        # YuNet counts from a pixel's corner; its "right eye" is the person's own, on the left of the picture.
        return [Detection(row[4:14].reshape(5, 2) - 0.5, float(row[14])) for row in rows[np.argsort(-rows[:, 14])]]


def load_detector(path: Path | None = None) -> YuNet:
    """YuNet from the file at `path`, or from its hub, kept in the hub's cache and checked against its sha256.

    Raises InputError where it cannot be fetched or read, or is not what it should be.
    """
    if path is not None:
        return YuNet(path)
    fetched = _fetch()
    if hashlib.sha256(_read(fetched)).hexdigest() != SHA256:
        raise InputError(
            f"{fetched} is not the detector that hf-hub:{HUB_REPO} held (sha256 {SHA256[:12]}...): remove it from the "
            "cache, or give a copy you trust by --detector FILE"
        )
    return YuNet(fetched)


def _fetch() -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(HUB_REPO, HUB_FILE))
    except Exception as error:  # the client's own errors, and those of whatever transport it uses
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"the face detector hf-hub:{HUB_REPO} ({HUB_FILE}, 232 KB) cannot be fetched: {reason}; where there is no "
            "network, give a copy of the file by --detector FILE"
        ) from error


def _read(path: Path) -> bytes:
    return read_small(path, f"the detector {path}", MAX_BYTES, f"give {HUB_FILE}, of 232 KB")
