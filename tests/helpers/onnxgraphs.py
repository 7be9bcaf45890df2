"""ONNX graphs in the styles face embedders are published in, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

SIDE = 32


def images(count: int = 3, side: int = SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def model_of(nodes: list[Any], stored: list[Any], dims: tuple[Any, ...] = ("n", 3, SIDE, SIDE), **options: Any) -> Any:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(dims))
    y = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph(nodes, "g", [x], [y], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, **options)


def insightface_graph() -> onnx.ModelProto:
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
    inputs = [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, SIDE, SIDE])]
    inputs += [helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)) for item in stored]
    outputs = [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 6])]
    graph = helper.make_graph(nodes, "mxnet_converted_model", inputs, outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
