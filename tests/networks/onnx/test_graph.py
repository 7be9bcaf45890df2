"""Whole ONNX graphs, in the styles face embedders are published in, against onnxruntime."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from helpers.onnxgraphs import SIDE, images, insightface_graph, model_of, save
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from facemae_cli.networks.architectures.iresnet import IResNet
from facemae_cli.networks.onnx.graph import load_onnx


def runtime(path: Path, x: Tensor) -> Tensor:
    """What onnxruntime computes, one image at a time where the file's batch is 1."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    batches = x.split(1) if entry.shape[0] == 1 else [x]
    return torch.cat([torch.from_numpy(session.run(None, {entry.name: batch.numpy()})[0]) for batch in batches])


def small_iresnet() -> IResNet:
    torch.manual_seed(0)
    network = IResNet((1, 2, 1, 1), dim=16, width=4, size=SIDE).eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.0, 0.5)
    return network


def export(network: nn.Module, path: Path, opset: int, *, dynamic: bool, side: int = SIDE) -> Path:
    axes = {"input": {0: "n"}, "output": {0: "n"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, images(1, side), path, opset_version=opset, input_names=["input"], output_names=["output"],
            dynamic_axes=axes, dynamo=False,
        )  # fmt: skip
    return path


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("opset", [11, 13, 17])
def test_an_exported_iresnet_agrees_with_onnxruntime_and_its_gradient_with_torch(
    tmp_path: Path, opset: int, dynamic: bool
) -> None:
    network = small_iresnet()
    path = export(network, tmp_path / "r.onnx", opset, dynamic=dynamic)
    graph = load_onnx(path, SIDE)
    assert not graph.one_by_one
    mine, theirs = images().requires_grad_(), images().requires_grad_()
    torch.testing.assert_close(graph(mine), runtime(path, mine.detach()), rtol=1e-4, atol=1e-4)
    graph(mine).square().sum().backward()
    network(theirs).square().sum().backward()
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-3, atol=1e-4 * float(theirs.grad.abs().max()))


def test_insightfaces_graphs_of_one_image_take_batches(tmp_path: Path) -> None:
    path = save(insightface_graph(), tmp_path / "m.onnx")
    graph = load_onnx(path, SIDE)
    x = (images() * 255).requires_grad_()
    torch.testing.assert_close(graph(x), runtime(path, x.detach()), rtol=1e-4, atol=1e-3)
    assert not graph.one_by_one
    graph(x).sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("dynamic", [True, False])
def test_a_transformer_agrees_with_onnxruntime(tmp_path: Path, dynamic: bool) -> None:
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=12
    ).eval()
    nn.init.normal_(network.head.weight)
    path = export(network, tmp_path / "v.onnx", 17, dynamic=dynamic)
    graph = load_onnx(path, SIDE)
    assert graph.one_by_one is not dynamic  # the class token of a fixed batch has no batch to follow
    torch.testing.assert_close(graph(images()), runtime(path, images()), rtol=1e-4, atol=1e-4)


def test_channels_last_graphs_are_fed_channels_last(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)]
    path = save(model_of(nodes, [], dims=("n", SIDE, SIDE, 3)), tmp_path / "m.onnx")
    torch.testing.assert_close(load_onnx(path, SIDE)(images()), images().mean(dim=(2, 3)))


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float16), "w")
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["h", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    path = save(model_of(nodes, [weight]), tmp_path / "m.onnx")
    got = load_onnx(path, SIDE)(images())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, runtime(path, images()).flatten(1), rtol=1e-2, atol=1e-2)


def test_the_module_moves_to_another_precision(tmp_path: Path) -> None:
    graph = load_onnx(save(insightface_graph(), tmp_path / "m.onnx"), SIDE)
    wanted = graph(images())
    torch.testing.assert_close(graph.double()(images().double()).float(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.faces
def test_the_real_mobilefacenet_agrees_with_onnxruntime(faces_root: Path) -> None:
    path = faces_root / "mobilefacenet.onnx"
    graph = load_onnx(path, 112)
    assert not graph.one_by_one
    torch.testing.assert_close(graph(images(2, 112)), runtime(path, images(2, 112)), rtol=1e-4, atol=1e-4)
