"""Features kept between runs: for what they are used again, and when they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.embedders import SPEC, Small, Strange, run, small, strange_source
from helpers.sources import MemorySource, memory_source, smooth_face
from torch import nn

from facemae_cli.data.images.codec import encode_png
from facemae_cli.errors import OutputError
from facemae_cli.inference import feature_cache
from facemae_cli.networks.card import InputSpec
from facemae_cli.networks.embedder import Embedder


class Notices:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None: ...

    def advance(self, count: int = 1, note: str = "") -> None: ...

    def notice(self, line: str) -> None:
        self.lines.append(line)


def test_a_cache_saves_the_work_and_names_nobody(tmp_path: Path) -> None:
    embedder = Embedder(Strange(), SPEC, 3)
    keep: dict[str, Any] = {"cache": tmp_path / "deep" / "cache", "model_digest": "m"}
    first = run(strange_source(), embedder, **keep)
    [file] = keep["cache"].iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"memory" not in file.read_bytes()
    embedder.network = nn.Identity()  # would fail if it were asked
    again = run(strange_source(), embedder, **keep)
    np.testing.assert_array_equal(again.features, first.features)
    assert (again.valid.tolist(), again.refused) == (first.valid.tolist(), first.refused)


def test_a_cache_is_of_these_faces_this_model_and_this_way_only(tmp_path: Path) -> None:
    def files(source: MemorySource, embedder: Embedder | None = None, **more: Any) -> int:
        run(source, embedder or small(), **{"cache": tmp_path, "model_digest": "m"} | more)
        return len(list(tmp_path.iterdir()))

    source = memory_source(3, 3, 16)
    assert files(source) == 1
    assert files(MemorySource([("other", "names", data) for _, _, data in source.faces])) == 1
    assert files(MemorySource([*source.faces[:-1], ("p2", "2.png", encode_png(smooth_face(9, 16)))])) == 2
    assert files(source, indexes=[1, 0]) == 3
    assert files(source, indexes=[0, 1]) == 4
    assert files(source, model_digest="n") == 5
    assert files(source, mirrored=False) == 6
    assert files(source, precision="bf16") == 7
    assert files(source, Embedder(Small(), InputSpec(16, "bgr"), 96)) == 8
    with pytest.raises(ValueError, match="digest"):
        run(source, small(), cache=tmp_path)


def damage(data: bytes, kind: str) -> bytes:
    if kind == "flipped":
        return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
    return {"cut": data[:-1], "empty": b"", "another": feature_cache.pack({"x": np.zeros(3)})}[kind]


@pytest.mark.parametrize("kind", ["flipped", "cut", "empty", "another"])
def test_a_damaged_cache_file_is_told_and_made_anew(tmp_path: Path, kind: str) -> None:
    source, told = memory_source(2, 2, 16), Notices()
    keep: dict[str, Any] = {"cache": tmp_path, "model_digest": "m", "progress": told}
    wanted = run(source, small(), **keep)
    [file] = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole, kind))
    np.testing.assert_array_equal(run(source, small(), **keep).features, wanted.features)
    assert told.lines == [f"{file} is damaged or cannot be read: the faces are embedded again"]
    assert file.read_bytes() == whole


def test_a_cache_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        run(memory_source(1, 1, 16), small(), cache=tmp_path / "file" / "cache", model_digest="m")


@pytest.mark.parametrize(
    "odd",
    [
        {"resized": np.array([1j], np.complex64)},
        {"resized": np.zeros((1, 1), np.int64)},
        {"valid": np.array([1.0, 0.5], np.float32)},
    ],
)
def test_numbers_of_another_kind_are_not_taken(tmp_path: Path, odd: dict[str, Any], recwarn: Any) -> None:
    tensors = {"features": np.zeros((2, 3), np.float32), "valid": np.ones(2, bool), "resized": np.zeros(1, np.int64)}
    tensors |= odd
    tensors["sha256"] = np.frombuffer(feature_cache._checksum(*tensors.values()), np.uint8)
    (tmp_path / "a.safetensors").write_bytes(feature_cache.pack(tensors))
    notices = Notices()
    assert feature_cache.load(tmp_path / "a.safetensors", (2, 3), notices) is None
    assert ["is damaged" in line for line in notices.lines] == [True]
    assert not recwarn.list
