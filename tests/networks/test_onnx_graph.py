"""Whole ONNX graphs, in the styles face embedders are published in, against onnxruntime; and what is refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from torch import Tensor, nn

from facemae_cli.errors import InputError
from facemae_cli.networks.iresnet import IResNet
from facemae_cli.networks.onnx_file import read_graph
from facemae_cli.networks.onnx_graph import OnnxGraph, load_onnx
from facemae_cli.networks.onnx_passes import optimised

SIDE = 32


def images(count: int = 3, side: int = SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


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


def insightface_graph(batch: int | None = 1) -> onnx.ModelProto:
    """As InsightFace's MXNet converter wrote them: normalisation inside, slopes (C, 1, 1), Dropout, fixed shapes."""
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int, positive: bool = False) -> onnx.TensorProto:
        values = random.normal(size=shape).astype(np.float32)
        return numpy_helper.from_array(np.abs(values) + 0.5 if positive else values, name)

    stored = [
        numpy_helper.from_array(np.array(127.5, np.float32), "mean"),
        numpy_helper.from_array(np.array(0.0078125, np.float32), "scale"),
        constant("w", 8, 3, 3, 3), constant("slope", 8, 1, 1), constant("w2", 8, 8, 3, 3), constant("bias2", 8),
        *[constant(f"bn{i}_{part}", size, positive=part == "var")
          for i, size in ((0, 8), (1, 8), (2, 6)) for part in ("scale", "bias", "mean", "var")],
        constant("fc", 6, 8 * 8 * 8), constant("fc_bias", 6),
        numpy_helper.from_array(np.array([1, -1], np.int64), "flat"),
    ]  # fmt: skip

    def norm(i: int, source: str, target: str) -> onnx.NodeProto:
        parts = [f"bn{i}_{part}" for part in ("scale", "bias", "mean", "var")]
        return helper.make_node("BatchNormalization", [source, *parts], [target], epsilon=2e-5, momentum=0.9)

    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["a"]),
        helper.make_node("Mul", ["a", "scale"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        norm(0, "c", "d"),
        helper.make_node("Identity", ["slope"], ["slope_again"]),
        helper.make_node("PRelu", ["d", "slope_again"], ["e"]),
        helper.make_node("Conv", ["e", "w2", "bias2"], ["f"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        norm(1, "f", "g"),
        helper.make_node("AveragePool", ["e"], ["short"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Add", ["g", "short"], ["h"]),
        helper.make_node("Clip", ["h", "low", "high"], ["i"]),
        helper.make_node("Dropout", ["i"], ["j"]),
        helper.make_node("Reshape", ["j", "flat"], ["k"]),
        helper.make_node("Gemm", ["k", "fc", "fc_bias"], ["l"], transB=1),
        norm(2, "l", "fc1"),
    ]
    stored += [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in (("low", -9), ("high", 6))]
    # Old files list their constants among the inputs as well.
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch or "None", 3, SIDE, SIDE])]
    inputs += [helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)) for item in stored]
    outputs = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch or "None", 6])]
    graph = helper.make_graph(nodes, "mxnet_converted_model", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_insightfaces_graphs_of_one_image_take_batches(tmp_path: Path) -> None:
    path = save(insightface_graph(), tmp_path / "m.onnx")
    graph = load_onnx(path, SIDE)
    x = (images() * 255).requires_grad_()
    torch.testing.assert_close(graph(x), runtime(path, x.detach()), rtol=1e-4, atol=1e-3)
    assert not graph.one_by_one
    graph(x).sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax(dim=(1, 2, 3)) > 0).all()


def test_optimising_leaves_no_batch_norm_after_a_convolution_and_changes_nothing(tmp_path: Path) -> None:
    plain = read_graph(save(insightface_graph(), tmp_path / "m.onnx"))
    graph = optimised(plain)
    left = [node.op for node in graph.nodes]
    assert " ".join(left) == "Sub Mul Conv PRelu Conv AveragePool Add Clip Reshape Gemm BatchNormalization"
    x, again = (images(1) * 255).requires_grad_(), (images(1) * 255).requires_grad_()
    slow, fast = OnnxGraph(plain)(x), OnnxGraph(graph)(again)
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-3)
    slow.square().sum().backward()
    fast.square().sum().backward()
    torch.testing.assert_close(again.grad, x.grad, rtol=1e-3, atol=1e-3)


def test_what_two_nodes_read_is_not_overwritten(tmp_path: Path) -> None:
    """y = clip(conv(x)) + conv(x): if Clip wrote over its input, both terms would be the clipped one."""
    weight = numpy_helper.from_array(np.full((2, 3, 1, 1), 10, np.float32), "w")
    bounds = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("low", 0), ("high", 1))]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Add", ["d", "c"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["y"]),
    ]
    graph = load_onnx(save(model_of(nodes, [weight, *bounds]), tmp_path / "m.onnx"), SIDE)
    assert not any(node.owned for node in graph.graph.nodes)
    x = torch.full((1, 3, SIDE, SIDE), 0.5)
    torch.testing.assert_close(graph(x), torch.full((1, 2), 16.0))


def test_the_gradient_of_clipping_in_place_stops_at_the_bounds(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "w")
    bounds = [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("low", 0), ("high", 6))]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("Flatten", ["d"], ["y"]),
    ]
    graph = load_onnx(save(model_of(nodes, [weight, *bounds]), tmp_path / "m.onnx"), SIDE)
    assert graph.graph.nodes[1].owned
    values = torch.tensor([-1.0, 2.0, 7.0]).view(1, 3, 1, 1).expand(1, 3, SIDE, SIDE).clone().requires_grad_()
    graph(values).sum().backward()
    assert values.grad is not None
    assert values.grad.amax(dim=(0, 2, 3)).tolist() == [0.0, 1.0, 0.0]


def model_of(nodes: list[Any], stored: list[Any], dims: tuple[Any, ...] = ("n", 3, SIDE, SIDE), **options: Any) -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims))
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, **options)


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


def refusal(path: Path, size: int = SIDE) -> str:
    with pytest.raises(InputError) as caught:
        load_onnx(path, size)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_an_image_size_other_than_the_cards_is_refused(tmp_path: Path) -> None:
    assert "112 x 112" in refusal(save(insightface_graph(), tmp_path / "m.onnx"), 112)


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("FusedMagic", ["x"], ["y"], domain="com.example")]
    assert "com.example.FusedMagic" in refusal(save(model_of(nodes, []), tmp_path / "m.onnx"))


def test_weights_in_another_file_are_not_followed(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.zeros((4, 3, 8, 8), np.float32), "w")
    external_data_helper.set_external_data(weight, location="../../etc/passwd")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"])]
    assert "another file" in refusal(save(model_of(nodes, [weight]), tmp_path / "m.onnx"))


@pytest.mark.parametrize("data", [b"", b"no model", b"\xff" * 64, b"\x08\x08"])
def test_what_is_no_onnx_file_is_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert "not an ONNX file" in refusal(tmp_path / "m.onnx")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "none.onnx")


def test_a_graph_of_two_inputs_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    model = model_of(nodes, [])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    assert "2 inputs" in refusal(save(model, tmp_path / "m.onnx"))


def test_a_graph_without_features_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)]
    assert "not one" in refusal(save(model_of(nodes, []), tmp_path / "m.onnx"))


@pytest.mark.parametrize("step", range(7))
def test_a_damaged_file_loads_or_is_one_line(tmp_path: Path, step: int) -> None:
    """Cut off, or with bytes changed: an InputError or a network, never another exception."""
    whole = insightface_graph().SerializeToString()
    random = np.random.default_rng(step)
    for _ in range(12):
        data = bytearray(whole if step % 2 else whole[: int(random.integers(len(whole)))])
        for position in random.integers(len(data), size=4) if data else ():
            data[position] = int(random.integers(256))
        (tmp_path / "m.onnx").write_bytes(data)
        message = ""
        try:
            load_onnx(tmp_path / "m.onnx", SIDE)
        except InputError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.faces
def test_the_real_mobilefacenet_agrees_with_onnxruntime(faces_root: Path) -> None:
    path = faces_root / "mobilefacenet.onnx"
    graph = load_onnx(path, 112)
    assert not graph.one_by_one
    torch.testing.assert_close(graph(images(2, 112)), runtime(path, images(2, 112)), rtol=1e-4, atol=1e-4)
