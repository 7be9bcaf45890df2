"""YuNet's file is what it should be, and where it cannot be had the way out is said."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from helpers.scenes import one_face

from facemae_cli.data.alignment import detector
from facemae_cli.data.alignment.detector import HUB_FILE, HUB_REPO, SHA256, YuNet, load_detector
from facemae_cli.data.alignment.search import find_faces
from facemae_cli.data.alignment.template import TEMPLATE, apply
from facemae_cli.data.synthetic import people
from facemae_cli.errors import InputError


def test_a_file_from_the_hub_is_held_to_its_sha256(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not it")
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *names: asked.append(names) or str(other))
    with pytest.raises(InputError, match=r"is not the detector .* give a copy you trust by --detector FILE"):
        load_detector()
    assert asked == [(HUB_REPO, HUB_FILE)]


def test_without_a_network_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*names: str) -> str:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(InputError, match=r"cannot be fetched: no route to host; .* by --detector FILE") as raised:
        load_detector()
    assert "\n" not in str(raised.value)


def test_a_file_that_is_no_detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.onnx").write_bytes(b"text")
    with pytest.raises(InputError, match=r"text\.onnx is not YuNet's network"):
        load_detector(tmp_path / "text.onnx")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_detector(tmp_path / "missing.onnx")
    monkeypatch.setattr(detector, "MAX_BYTES", 3)
    with pytest.raises(InputError, match=r"is larger than .* MiB: give face_detection_yunet"):
        load_detector(tmp_path / "text.onnx")


@pytest.mark.faces
def test_yunet_finds_synthetic_people_however_they_are_turned(faces_root: Path) -> None:
    yunet = YuNet(faces_root / "yunet.onnx")
    assert yunet.sha256 == SHA256
    for number, (_, face) in enumerate(people(6, 1)):
        scene = one_face(face, (400, 500), scale=1 + number / 3, angle=15 * number - 40, seed=number)
        [found] = find_faces(scene.photo, yunet)
        assert found.score > 0.8
        off = np.abs(found.points - apply(scene.placed[0], TEMPLATE)).mean() * 112 / found.side
        assert off < 9, "synthetic mouths stand higher than real ones"


@pytest.mark.faces
def test_yunet_finds_nothing_where_there_is_nothing(faces_root: Path) -> None:
    yunet = YuNet(faces_root / "yunet.onnx")
    assert find_faces(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8), yunet) == []
