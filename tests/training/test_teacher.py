"""A teacher's features: held or computed anew, they are those that verification would compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import write_embedder
from helpers.sources import memory_source

from facemae_cli.data.images.codec import decode
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.progress import SILENT
from facemae_cli.training.teacher import Teacher


@pytest.fixture
def recognizer(tmp_path: Path) -> Recognizer:
    return Recognizer.load(str(write_embedder(tmp_path / "teacher.onnx", dim=6)), "cpu", "fp32")


def test_held_features_and_live_ones_are_what_verification_compares(recognizer: Recognizer) -> None:
    source = memory_source(3, 2)
    stored = np.stack([decode(source.read(index)) for index in range(len(source))])
    images = torch.from_numpy(stored).permute(0, 3, 1, 2).contiguous()
    held, live = (Teacher(recognizer, source, cache=None, progress=SILENT, held=bytes_) for bytes_ in (2**20, 0))
    assert held.dim == live.dim == 6
    samples = torch.tensor([4, 0, 3])
    wanted = torch.from_numpy(recognizer.embed(source).features[samples.numpy()])
    assert torch.equal(held.features(images[samples], samples), wanted)
    found = live.features(images[samples], samples)
    assert torch.allclose(F.normalize(found, dim=1), wanted, atol=1e-5)


def test_features_are_kept_for_another_run(recognizer: Recognizer, tmp_path: Path) -> None:
    source, kept = memory_source(2, 2), tmp_path / "cache"
    first = Teacher(recognizer, source, cache=kept, progress=SILENT)
    [file] = kept.iterdir()
    written = file.stat().st_mtime_ns
    again = Teacher(recognizer, source, cache=kept, progress=SILENT)
    assert file.stat().st_mtime_ns == written
    samples = torch.arange(4)
    images = torch.zeros(4, 3, 112, 112, dtype=torch.uint8)
    assert torch.equal(first.features(images, samples), again.features(images, samples))
