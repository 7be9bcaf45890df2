"""ONNX files as differentiable torch modules: an interpreter over the operators in `operators`.

Made for face embedders as people publish them: exported by torch or converted from MXNet, with the batch size
baked in, slopes of shape (C, 1, 1), normalisation inside the graph. Batch norms are folded into the convolutions
before them, and activations overwrite what only they read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from facemae_cli.errors import InputError
from facemae_cli.networks.onnx.file import Graph, read_graph
from facemae_cli.networks.onnx.layers import Function, Node
from facemae_cli.networks.onnx.operators import BUILDERS
from facemae_cli.networks.onnx.passes import optimised
from facemae_cli.networks.onnx.runtime import BatchedNetwork, feature_output

AGREEMENT = 1e-3  # of the features' length: rounding stays far below it, mixed-up images far above


class UnsupportedOperators(InputError):
    """An ONNX file that only onnxruntime may run."""


class OnnxGraph(BatchedNetwork):
    """Runs a graph: (N, 3, H, W) float in, (N, D) out. Its float constants are buffers, for `to()` to move."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.output = 0
        self.channels_last_input = graph.channels_last
        self._buffer_names: dict[str, str] = {}
        self._host: dict[str, Tensor] = {}
        for name, value in graph.constants.items():
            self._keep(name, value)
        self._steps: list[tuple[Node, Function]] = [(node, BUILDERS[node.op](node)) for node in graph.nodes]
        self._last_use = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}

    def _keep(self, name: str, value: Tensor) -> None:
        """Float arrays move with the module; shapes, axes and scalars stay with the host, which reads them."""
        if not value.is_floating_point() or value.dim() == 0:
            self._host[name] = value
            return
        self._buffer_names[name] = f"constant_{len(self._buffer_names)}"
        if value.dim() == 4:
            value = value.contiguous(memory_format=torch.channels_last)
        self.register_buffer(self._buffer_names[name], value)

    def _constant(self, name: str) -> Tensor | None:
        buffer = self._buffer_names.get(name)
        return self._buffers[buffer] if buffer else self._host.get(name)

    def features(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) as the network wants them -> (N, D) features."""
        return self.outputs(images)[self.output].flatten(1)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """All outputs the graph has, in its order."""
        x = images.contiguous(memory_format=torch.channels_last)
        values: dict[str, Any] = {self.graph.input: x.permute(0, 2, 3, 1) if self.channels_last_input else x}
        for i, (node, function) in enumerate(self._steps):
            results = function(*[self._value(values, name) for name in node.inputs])
            results = results if isinstance(results, tuple) else (results,)
            values.update(zip(node.outputs, results, strict=False))
            for name in node.inputs:
                if self._last_use[name] == i and name not in self.graph.outputs:
                    values.pop(name, None)
        return [self._value(values, name) for name in self.graph.outputs]

    def _value(self, values: dict[str, Any], name: str) -> Any:
        if not name:
            return None
        return values[name] if name in values else self._constant(name)


def load_onnx(path: Path, size: int | tuple[int, int]) -> OnnxGraph:
    """The network of an ONNX file for square images of `size` pixels, or of height and width, differentiable, in
    float32.

    Raises InputError for what is no ONNX file or no embedder of such images, names an unknown operator, or keeps
    weights in other files.
    """
    graph = read_graph(path)
    sides = (size, size) if isinstance(size, int) else size
    pixels = f"{sides[0]} x {sides[1]} pixels"
    if any(given not in (None, side) for given, side in zip(graph.sides, sides, strict=False)):
        shape = " x ".join(str(side or "?") for side in graph.dims)
        raise InputError(f"{path}: the graph takes {shape}, its card says images of {pixels}")
    unknown = sorted({node.op for node in graph.nodes} - BUILDERS.keys())
    if unknown:
        raise UnsupportedOperators(
            f"{path}: its operators {', '.join(unknown)} cannot be trained through, so it cannot be a --teacher; "
            "leakage and verify can use it once onnxruntime is installed"
        )
    try:
        network = OnnxGraph(optimised(graph)).eval()
        return _probed(network, sides)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: does not run on an image of {pixels}: {reason}") from error


@torch.no_grad()
def _probed(network: OnnxGraph, sides: tuple[int, int]) -> OnnxGraph:
    """Finds the output that holds features, and whether a batch gives what its images give one by one."""
    pair = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    network.output = feature_output(network.graph.outputs, [value.shape for value in network.outputs(pair[:1])])
    network.find_batching(pair, AGREEMENT)
    return network
