"""The layers of a network in ONNX's terms, as torch functions: convolutions, pools, norms, activations.

Each builder takes a node and returns the function that computes it: inputs as torch tensors in the node's order
(None for an input left out), one tensor or a tuple back. Semantics are those of the ONNX operator specification
(https://onnx.ai/onnx/operators/), opsets 7 to 20.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from facemae_cli.networks.architectures.prelu import prelu

Function = Callable[..., Any]


@dataclass(frozen=True)
class Node:
    """One operator of a graph. `owned`: its first input is read by nobody else and may be overwritten."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    owned: bool = False


def plain(function: Function) -> Callable[[Node], Function]:
    """The builder of an operator without attributes."""
    return lambda node: function


def _padding(node: Node, size: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Pads of a convolution or pooling over `size`, as ONNX orders them: all begins, then all ends."""
    rank = len(size)
    auto = node.attributes.get("auto_pad", b"NOTSET").decode()
    if auto in ("NOTSET", "VALID"):
        return list(node.attributes.get("pads", [0] * 2 * rank)) if auto == "NOTSET" else [0] * 2 * rank
    strides = node.attributes.get("strides", [1] * rank)
    dilations = node.attributes.get("dilations", [1] * rank)
    begins, ends = [], []
    for side, length, stride, dilation in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-side // stride) - 1) * stride + dilation * (length - 1) + 1 - side, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if auto == "SAME_UPPER" else large)
        ends.append(large if auto == "SAME_UPPER" else small)
    return begins + ends


def _symmetric(x: Tensor, pads: list[int], fill: float) -> tuple[Tensor, list[int]]:
    """What is left to a torch operator, which pads both ends alike: `x` padded here where they differ."""
    rank = len(pads) // 2
    begins, ends = pads[:rank], pads[rank:]
    if begins == ends:
        return x, begins
    flat = [side for pair in zip(reversed(begins), reversed(ends), strict=True) for side in pair]
    return functional.pad(x, flat, value=fill), [0] * rank


def _conv(node: Node) -> Function:
    get = node.attributes.get

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rank = weight.dim() - 2
        convolve = {1: functional.conv1d, 2: functional.conv2d}[rank]
        x, padding = _symmetric(x, _padding(node, x.shape[2:], weight.shape[2:]), 0.0)
        stride, dilation, group = get("strides", [1] * rank), get("dilations", [1] * rank), get("group", 1)
        if rank == 2 and stride == [2, 2] and group == x.shape[1] > 1 and _gradient_crawls(x):
            full = convolve(x, weight, bias, 1, padding, dilation, group)
            return full[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)
        return convolve(x, weight, bias, stride, padding, dilation, group)

    return run


def _gradient_crawls(x: Tensor) -> bool:
    """Whether oneDNN has no fast gradient of a strided depthwise convolution: 140 ms for 32 x 128 x 56 x 56 where that
    of all pixels, of which three quarters are thrown away, takes 54."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.requires_grad and torch.is_grad_enabled()


def _max_pool(node: Node) -> Function:
    kernel = node.attributes["kernel_shape"]
    strides = node.attributes.get("strides", [1] * len(kernel))
    dilations = node.attributes.get("dilations", [1] * len(kernel))
    ceil = bool(node.attributes.get("ceil_mode", 0))

    def run(x: Tensor) -> Tensor:
        x, padding = _symmetric(x, _padding(node, x.shape[2:], kernel), float("-inf"))
        return functional.max_pool2d(x, kernel, strides, padding, dilations, ceil)

    return run


def _average_pool(node: Node) -> Function:
    kernel = node.attributes["kernel_shape"]
    strides = node.attributes.get("strides", [1] * len(kernel))
    ceil = bool(node.attributes.get("ceil_mode", 0))
    counted = bool(node.attributes.get("count_include_pad", 0))

    def run(x: Tensor) -> Tensor:
        pads = _padding(node, x.shape[2:], kernel)
        uneven = pads[: len(pads) // 2] != pads[len(pads) // 2 :]
        if uneven and not counted:
            raise ValueError("AveragePool with uneven padding that is not counted")
        x, padding = _symmetric(x, pads, 0.0)
        return functional.avg_pool2d(x, kernel, strides, padding, ceil, counted)

    return run


def _batch_norm(node: Node) -> Function:
    eps = node.attributes.get("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, var, scale, bias, False, 0.0, eps)

    return run


def _layer_norm(node: Node) -> Function:
    eps, axis = node.attributes.get("epsilon", 1e-5), node.attributes.get("axis", -1)

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.layer_norm(x, x.shape[axis:], scale, bias, eps)

    return run


def _prelu(node: Node) -> Function:
    def run(x: Tensor, slope: Tensor) -> Tensor:
        count, rank = slope.numel(), slope.dim()
        by_channel = rank >= x.dim() - 1 and slope.shape[1 - x.dim()] == count == x.shape[1]
        bare = rank == 1 and count == x.shape[1] != x.shape[-1]  # MXNet's converter wrote (C,) for (C, 1, 1)
        if count == 1 or by_channel or bare:
            return prelu(x, slope.flatten().to(x))
        return torch.where(x < 0, x * slope, x)

    return run


class _ClipInPlace(torch.autograd.Function):
    """Clips a tensor where it lies. Keeps the result for the gradient; torch's own keeps a copy of the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float) -> Tensor:
        ctx.bounds = low, high
        ctx.mark_dirty(x.clamp_(low, high))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (clipped,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, clipped, *ctx.bounds), None, None


def _clip(node: Node) -> Function:
    low, high = node.attributes.get("min"), node.attributes.get("max")

    def run(x: Tensor, minimum: Tensor | None = None, maximum: Tensor | None = None) -> Tensor:
        least = low if minimum is None else minimum.item()
        most = high if maximum is None else maximum.item()
        if least is None or most is None:
            return x if least is most else x.clamp(least, most)
        if not x.is_floating_point():
            return x.clamp(least, most)
        return _ClipInPlace.apply(x, least, most) if node.owned else functional.hardtanh(x, least, most)

    return run


def _gemm(node: Node) -> Function:
    get = node.attributes.get
    alpha, beta = get("alpha", 1.0), get("beta", 1.0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a = a.t() if get("transA", 0) else a
        weight = b if get("transB", 0) else b.t()
        if alpha == beta == 1.0 and (c is None or c.dim() == 1):
            return functional.linear(a, weight, c)
        product = functional.linear(a, weight) * alpha
        return product if c is None else product + beta * c

    return run


def _softmax(node: Node) -> Function:
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)

    def run(x: Tensor) -> Tensor:
        if node.opset >= 13:
            return x.softmax(axis)
        return x.flatten(axis).softmax(-1).view_as(x)

    return run


def _lp_normalise(node: Node) -> Function:
    order, axis = node.attributes.get("p", 2), node.attributes.get("axis", -1)
    return lambda x: x / x.norm(order, axis, keepdim=True)


LAYERS: dict[str, Callable[[Node], Function]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "Dropout": plain(lambda x, *others: x),
    "Elu": lambda node: lambda x: functional.elu(x, node.attributes.get("alpha", 1.0)),
    "Gelu": lambda node: lambda x: functional.gelu(x, approximate=node.attributes.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GlobalAveragePool": plain(lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True)),
    "GlobalMaxPool": plain(lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True)),
    "HardSigmoid": lambda node: (
        lambda x: (x * node.attributes.get("alpha", 0.2) + node.attributes.get("beta", 0.5)).clamp(0, 1)
    ),
    "HardSwish": plain(functional.hardswish),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda node: lambda x: functional.leaky_relu(x, node.attributes.get("alpha", 0.01)),
    "LpNormalization": _lp_normalise,
    "MaxPool": _max_pool,
    "PRelu": _prelu,
    "Relu": lambda node: functional.relu_ if node.owned else functional.relu,
    "Sigmoid": plain(torch.sigmoid),
    "Softmax": _softmax,
    "Tanh": plain(torch.tanh),
}
