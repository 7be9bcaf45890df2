"""An ONNX file with operators that our reader has no gradients for attacks through onnxruntime, and cannot teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from helpers.models import write_embedder
from onnx import helper

from facemae_cli.errors import InputError
from facemae_cli.inference import recognizer
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx_session import OnnxSession
from facemae_cli.networks.zoo import resolve


def with_cosines(path: Path) -> Path:
    """Its features are the cosines of what they were."""
    model = onnx.load(path)
    [output] = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if name == output.name else name for name in node.output]
    model.graph.node.append(helper.make_node("Cos", ["before"], [output.name]))
    onnx.save(model, path)
    return path


def test_it_attacks_and_gives_what_its_graph_says(tmp_path: Path) -> None:
    plain = Recognizer.load(str(write_embedder(tmp_path / "plain.onnx", dim=8)), "cpu", "fp32")
    made = Recognizer.load(str(with_cosines(write_embedder(tmp_path / "phi.onnx", dim=8))), "cpu")
    images = torch.rand(5, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    assert isinstance(made.embedder.network, OnnxSession)
    assert (made.dim, made.runtime, made.precision) == (8, "onnxruntime", "fp32")
    np.testing.assert_allclose(made.embedder(images), torch.cos(plain.embedder(images)), atol=1e-5)


def test_it_says_that_it_computes_in_fp32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(with_cosines(write_embedder(tmp_path / "phi.onnx", dim=8)))
    made = {name: Recognizer.load(path, "cpu", name) for name in ("fp32", "auto", "bf16")}
    assert {str(each) for each in made.values()} == {"on cpu in fp32 by onnxruntime"}
    assert {each.as_json()["precision"] for each in made.values()} == {"fp32"}
    assert len({each.kept_in(tmp_path / "cache", "faces") for each in made.values()}) == 1
    line = "phi is computed in fp32: only onnxruntime runs it, which does not compute in bf16"
    assert {name: list(each.notices()).count(line) for name, each in made.items()} == {"fp32": 0, "auto": 0, "bf16": 1}
    assert not any("emulated" in said for said in made["bf16"].notices())
    monkeypatch.setattr(recognizer, "inference_precision", lambda *_: "bf16")  # as a GPU would have it
    assert (found := Recognizer.load(path, "cpu")).precision == "fp32"
    assert line not in found.notices()
    plain = Recognizer.load(str(write_embedder(tmp_path / "plain.onnx", dim=8)), "cpu", "bf16")
    assert plain.precision == "bf16"


def test_it_cannot_teach_and_says_so(tmp_path: Path) -> None:
    model = resolve(str(with_cosines(write_embedder(tmp_path / "phi.onnx", dim=8))), "embedder")
    with pytest.raises(InputError, match="its operators Cos cannot be trained through, so it cannot be a --teacher"):
        load_embedder(model)


def test_what_onnxruntime_does_not_run_either_is_told(tmp_path: Path) -> None:
    path = write_embedder(tmp_path / "phi.onnx", dim=8)
    model = onnx.load(path)
    [output] = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if name == output.name else name for name in node.output]
    model.graph.node.append(helper.make_node("Nonesuch", ["before"], [output.name]))
    onnx.save(model, path)
    with pytest.raises(InputError, match="onnxruntime does not run it either"):
        Recognizer.load(str(path), "cpu")
