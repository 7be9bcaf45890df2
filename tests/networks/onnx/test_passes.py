"""What is done to a graph before it runs changes its steps and never its results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from helpers.onnxgraphs import SIDE, images, insightface_graph, model_of, save
from onnx import helper, numpy_helper

from facemae_cli.networks.onnx.file import read_graph
from facemae_cli.networks.onnx.graph import OnnxGraph, load_onnx
from facemae_cli.networks.onnx.passes import optimised


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
