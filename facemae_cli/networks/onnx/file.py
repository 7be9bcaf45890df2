"""Reading an ONNX file: bytes to nodes and constants. Nothing in it is run, and no other file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facemae_cli.errors import InputError
from facemae_cli.networks.onnx.layers import Node
from facemae_cli.networks.onnx.parse import parse_onnx

DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Graph:
    """What is read from a file: nodes in order, constants by name, and what goes in and comes out.

    `dims` are the sides the file declares for its input, None where it leaves one open.
    """

    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    input: str
    dims: tuple[int | None, ...]
    outputs: tuple[str, ...]

    @property
    def channels_last(self) -> bool:
        """Whether it declares images of (N, H, W, 3), not (N, 3, H, W)."""
        return len(self.dims) == 4 and self.dims[3] == 3 and self.dims[1] != 3

    @property
    def sides(self) -> tuple[int | None, ...]:
        """The height and width it declares; none where it says nothing of its input."""
        return self.dims[1:3] if self.channels_last else self.dims[2:]


def read_graph(path: Path) -> Graph:
    """The graph of an ONNX file. Raises InputError for anything that is none, and for weights kept outside it."""
    model = parse_onnx(path)
    graph = model.graph
    if not graph.node or not graph.output:
        raise InputError(f"{path}: not an ONNX file: there is no graph in it")
    try:
        constants = {item.name: _tensor(item) for item in graph.initializer}
        opset = max((item.version for item in model.opset_import if item.domain in DOMAINS), default=1)
        nodes = tuple(_node(item, opset) for item in graph.node)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())[:200]}") from error
    inputs = [item for item in graph.input if item.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"{path}: the graph takes {len(inputs)} inputs; an embedder takes one, the images")
    dims = tuple(side.dim_value or None for side in inputs[0].type.tensor_type.shape.dim)
    if len(dims) not in (0, 4):
        raise InputError(f"{path}: the graph takes arrays of {len(dims)} dimensions; an embedder takes images, of 4")
    return Graph(nodes, constants, inputs[0].name, dims, tuple(item.name for item in graph.output))


def _tensor(proto: Any) -> Tensor:
    from onnx import TensorProto, numpy_helper

    if proto.data_location == TensorProto.EXTERNAL or proto.external_data:
        raise ValueError(f"keeps {proto.name} in another file, which is not followed; save it as one file")
    value = torch.from_numpy(numpy_helper.to_array(proto).copy())
    return value.float() if value.is_floating_point() else value


def _node(proto: Any, opset: int) -> Node:
    from onnx import TensorProto, helper

    attributes = {}
    for item in proto.attribute:
        value = helper.get_attribute_value(item)
        attributes[item.name] = _tensor(value) if isinstance(value, TensorProto) else value
    op = proto.op_type if proto.domain in DOMAINS else f"{proto.domain}.{proto.op_type}"
    return Node(op, tuple(proto.input), tuple(proto.output), attributes, opset)
