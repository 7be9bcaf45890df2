"""`--backend`: bytes that depend on it alone, where it is said, and that a stopped run goes on with its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.models import write_mae
from helpers.sources import smooth_face

from facemae_cli.data.images.codec import decode, encode_jpeg
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output
from facemae_cli.errors import UsageError
from facemae_cli.networks import backends
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import ReconstructResult, reconstruct


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten masked faces, and a model."""
    root = tmp_path_factory.mktemp("backends")
    for person in range(5):
        (root / "raw" / str(person)).mkdir(parents=True)
        for photo in range(2):
            data = encode_jpeg(smooth_face(10 * person + photo))
            (root / "raw" / str(person) / f"{photo}.jpg").write_bytes(data)
    mask(root / "raw", root / "masked.rec", key=root / "facemae.key")
    write_mae(root / "mae")
    return root


def release(folder: Path, out: Path, **options: object) -> ReconstructResult:
    given = {"model": str(folder / "mae"), "batch_size": "2", "precision": "fp32", "format": "png"} | options
    return reconstruct(folder / "masked.rec", out, **given)  # type: ignore[arg-type]


def faces(path: Path) -> np.ndarray:
    source = open_source(path)
    return np.stack([decode(source.read(at)) for at in range(len(source))]).astype(float)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_backend_is_said_and_its_bytes_hold_over_workers_and_stops(
    folder: Path, tmp_path: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not backends.is_installed(backend):
        pytest.skip(f"{backend} is an extra")
    result = release(folder, tmp_path / "whole.rec", backend=backend, workers=1)
    assert (result.backend, result.as_json()["backend"]) == (backend, backend)
    assert json.loads((tmp_path / "whole.facemae.json").read_text())["extra"]["backend"] == backend
    real, written = output.Output.write, []

    def fail(*given: object) -> None:
        written.append(given)
        if len(written) == 9:
            raise KeyboardInterrupt
        real(*given)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(output.Output, "write", fail)
        with pytest.raises(KeyboardInterrupt):
            release(folder, tmp_path / "out.rec", backend=backend)
    with pytest.raises(UsageError, match=f"backend.*{backend}"):
        release(folder, tmp_path / "out.rec", backend="torch", resume=True)
    release(folder, tmp_path / "out.rec", backend=backend, resume=True, workers=3)
    assert (tmp_path / "out.rec").read_bytes() == (tmp_path / "whole.rec").read_bytes()
    release(folder, tmp_path / "torch.rec", backend="torch")
    error = np.square(faces(tmp_path / "torch.rec") - faces(tmp_path / "whole.rec")).mean() / 255**2
    assert error == 0 or -10 * np.log10(error) >= 60  # of whole numbers from 0 to 255: a few are rounded otherwise


def test_few_faces_are_computed_by_torch(folder: Path, tmp_path: Path) -> None:
    assert release(folder, tmp_path / "out.rec").backend == "torch"
