"""ONNX embedders through onnxruntime: the same features, and our interpreter wherever that is not to be had."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from helpers.models import NORM, write_embedder
from helpers.onnxgraphs import SIDE, images, insightface_graph, model_of, save
from onnx import external_data_helper, helper, numpy_helper

from facemae_cli.errors import InputError, UsageError
from facemae_cli.networks.architectures.iresnet import IResNet
from facemae_cli.networks.card import Model
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.onnx.graph import OnnxGraph
from facemae_cli.networks.onnx_session import OnnxSession, inference_precision, load_for_inference
from facemae_cli.networks.zoo import resolve

CPU = torch.device("cpu")


def with_card(path: Path, size: int = SIDE) -> Model:
    path.with_suffix(".yaml").write_text(yaml.safe_dump({"kind": "embedder", "input": {"size": size, **NORM}}))
    return resolve(str(path), "embedder")


def test_a_session_takes_the_network_s_place_and_agrees(tmp_path: Path) -> None:
    model = resolve(str(write_embedder(tmp_path / "phi.onnx")), "embedder")
    fast, slow = load_for_inference(model, CPU, "fp32"), load_embedder(model)
    assert isinstance(fast.network, OnnxSession)
    assert (fast.dim, fast.spec, fast.training) == (slow.dim, slow.spec, False)
    for count in (1, 2, 70):
        faces = images(count, 112)
        np.testing.assert_allclose(fast(faces).numpy(), slow(faces).numpy(), atol=1e-5)
    with torch.inference_mode():
        assert fast(images(2, 96)).shape == (2, 8)


@pytest.mark.faces
def test_a_published_embedder_agrees(faces_root: Path) -> None:
    model = resolve(str(faces_root / "mobilefacenet.onnx"), "embedder")
    fast, slow = load_for_inference(model, CPU, "fp32"), load_embedder(model)
    assert isinstance(fast.network, OnnxSession)
    made, wanted = (torch.nn.functional.normalize(each(images(4, 112))).numpy() for each in (fast, slow))
    np.testing.assert_allclose(made, wanted, atol=1e-4)


def test_bf16_is_not_for_onnxruntime(tmp_path: Path) -> None:
    model = resolve(str(write_embedder(tmp_path / "phi.onnx")), "embedder")
    assert isinstance(load_for_inference(model, CPU, "bf16").network, OnnxGraph)


def test_auto_is_fp32_for_an_onnx_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemae_cli.runtime.device.has_fast_bf16", lambda device: True)
    model = resolve(str(write_embedder(tmp_path / "phi.onnx")), "embedder")
    assert inference_precision("auto", model, CPU) == "fp32"
    assert inference_precision("bf16", model, CPU) == "bf16"
    assert inference_precision("auto", model, torch.device("cuda")) == "bf16"
    assert inference_precision("auto", replace(model, weights=tmp_path / "backbone.pth"), CPU) == "bf16"
    with pytest.raises(UsageError, match="--precision 'half'"):
        inference_precision("half", model, CPU)


def test_without_onnxruntime_our_interpreter_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    model = resolve(str(write_embedder(tmp_path / "phi.onnx")), "embedder")
    assert isinstance(load_for_inference(model, CPU, "fp32").network, OnnxGraph)


def test_a_file_for_one_image_at_a_time_is_not_for_onnxruntime(tmp_path: Path) -> None:
    model = with_card(save(insightface_graph(), tmp_path / "fixed.onnx"))
    made = load_for_inference(model, CPU, "fp32")
    assert isinstance(made.network, OnnxGraph)
    assert made(images(3)).shape == (3, 6)


def test_a_batch_baked_into_a_reshape_is_not_for_onnxruntime(tmp_path: Path) -> None:
    """The file says that it takes any number of images, and means one."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Reshape", ["p", "shape"], ["y"]),
    ]
    shape = numpy_helper.from_array(np.array([1, -1], np.int64), "shape")
    made = load_for_inference(with_card(save(model_of(nodes, [shape]), tmp_path / "baked.onnx")), CPU, "fp32")
    assert isinstance(made.network, OnnxGraph)
    np.testing.assert_allclose(made(images()).numpy(), (images().mean((2, 3)) * 2 - 1).numpy(), atol=1e-5)


def test_an_input_with_channels_last(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)]
    model = with_card(save(model_of(nodes, [], ("n", SIDE, SIDE, 3)), tmp_path / "last.onnx"))
    made = load_for_inference(model, CPU, "fp32")
    assert isinstance(made.network, OnnxSession)
    np.testing.assert_allclose(made(images()).numpy(), load_embedder(model)(images()).numpy(), atol=1e-5)


def test_weights_in_another_file_are_refused_as_ever(tmp_path: Path) -> None:
    model = model_of(
        [helper.make_node("Mul", ["x", "w"], ["m"]), helper.make_node("Flatten", ["m"], ["y"])],
        [numpy_helper.from_array(np.ones((1, 3, SIDE, SIDE), np.float32), "w")],
    )
    external_data_helper.set_external_data(model.graph.initializer[0], "elsewhere.bin")
    model.graph.initializer[0].ClearField("raw_data")
    (tmp_path / "elsewhere.bin").write_bytes(bytes(4 * 3 * SIDE * SIDE))
    with pytest.raises(InputError, match="another file"):
        load_for_inference(with_card(save(model, tmp_path / "split.onnx")), CPU, "fp32")


def test_what_is_no_onnx_is_loaded_as_ever(tmp_path: Path) -> None:
    torch.save(IResNet((1, 1, 1, 1), dim=8, width=4, size=112).state_dict(), tmp_path / "backbone.pth")
    made = load_for_inference(resolve(str(tmp_path / "backbone.pth"), "embedder"), CPU, "fp32")
    assert isinstance(made.network, IResNet)
    assert not made.training
