"""Features kept between runs: one safetensors file for what was embedded, by what and how. It holds no name.

Features are biometric data, so a file is its owner's alone (0600).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack

from facemae_cli.data.files import disk_errors, write_whole
from facemae_cli.networks.card import InputSpec
from facemae_cli.runtime.progress import Progress

FORM = 1  # raised whenever equal faces and models would give other features, or the file another form

Kept = tuple[NDArray[np.float32], NDArray[np.bool_], int]


def place(folder: Path, faces: str, model: str, spec: InputSpec, *how: object) -> Path:
    """The file in `folder` for the faces of digest `faces` embedded by `model` from `spec`; `how` is the rest.

    Makes the folder where it is not there. Raises OutputError.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    said = "\n".join(str(part) for part in (FORM, faces, model, spec, *how))
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()}.safetensors"


def load(path: Path, shape: tuple[int, int], progress: Progress) -> Kept | None:
    """Features (n, D), valid (n,) and how many faces were resized; None where there is no file, or a damaged one.

    A damaged file is reported in a notice, to be written again.
    """
    if not path.is_file():
        return None
    try:
        found = unpack(path.read_bytes())
        features, valid, resized = found["features"], found["valid"], found["resized"]
        whole = found["sha256"].tobytes() == _checksum(features, valid, resized)
        arrays = (features, valid, resized)
        shaped = [array.shape for array in arrays] == [shape, shape[:1], (1,)]
        if whole and shaped and [array.dtype.name for array in arrays] == ["float32", "bool", "int64"]:
            return features, valid, int(resized[0])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError):
        pass
    progress.notice(f"{path} is damaged or cannot be read: the faces are embedded again")
    return None


def save(path: Path, features: NDArray[np.float32], valid: NDArray[np.bool_], resized: int) -> None:
    """Writes a file that `load` reads; it appears whole or not at all. Raises OutputError."""
    tensors: dict[str, Any] = {"features": features, "valid": valid, "resized": np.array([resized], np.int64)}
    tensors["sha256"] = np.frombuffer(_checksum(*tensors.values()), np.uint8)
    write_whole(path, pack(tensors), 0o600)


def _checksum(*arrays: NDArray[Any]) -> bytes:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.digest()
