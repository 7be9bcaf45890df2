"""Arithmetic, shapes and indexing in ONNX's terms, as torch functions; and the table of all operators known.

Builders as in `layers`. Shapes, axes and scalars arrive as CPU tensors, so that reading them never waits
for another device.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from facemae_cli.networks.onnx.layers import LAYERS, Function, Node, plain

MAX_FILL = 2**24


def _ints(value: Tensor | Sequence[int] | None) -> list[int] | None:
    if value is None:
        return None
    return [int(item) for item in (value.flatten().tolist() if isinstance(value, Tensor) else value)]


def _add(node: Node) -> Function:
    def run(x: Tensor, y: Tensor) -> Tensor:
        alike = x.shape == y.shape and x.dtype == y.dtype
        return x.add_(y) if node.owned and alike else x + y

    return run


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _flatten(node: Node) -> Function:
    axis = node.attributes.get("axis", 1)

    def run(x: Tensor) -> Tensor:
        split = axis if axis >= 0 else axis + x.dim()
        return x.reshape(x.shape[:split].numel(), -1)

    return run


def _reshape(node: Node) -> Function:
    literal = bool(node.attributes.get("allowzero", 0))
    batch = node.attributes.get("fixed_batch")

    def run(x: Tensor, shape: Tensor) -> Tensor:
        target = _ints(shape) or []
        target = [x.shape[i] if side == 0 and not literal else side for i, side in enumerate(target)]
        if batch is not None and target and target[0] == batch:
            target[0] = x.shape[0]
        return x.reshape(target)

    return run


def _axes(node: Node, given: Tensor | None) -> list[int] | None:
    return _ints(given) if given is not None else node.attributes.get("axes")


def _squeeze(node: Node) -> Function:
    def run(x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = _axes(node, given)
        return x.squeeze() if axes is None else x.squeeze(tuple(axes))

    return run


def _unsqueeze(node: Node) -> Function:
    def run(x: Tensor, given: Tensor | None = None) -> Tensor:
        axes = _axes(node, given) or []
        rank = x.dim() + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _reduce(function: Callable[[Tensor, list[int], bool], Tensor]) -> Callable[[Node], Function]:
    def build(node: Node) -> Function:
        keep = bool(node.attributes.get("keepdims", 1))

        def run(x: Tensor, given: Tensor | None = None) -> Tensor:
            axes = _axes(node, given)
            if axes is None and node.attributes.get("noop_with_empty_axes", 0):
                return x
            return function(x, axes or list(range(x.dim())), keep)

        return run

    return build


def _slice(node: Node) -> Function:
    def run(x: Tensor, *given: Tensor | None) -> Tensor:
        starts, ends, axes, steps = [*map(_ints, given), None, None, None, None][:4]
        starts = starts if starts is not None else node.attributes["starts"]
        ends = ends if ends is not None else node.attributes["ends"]
        axes = axes or node.attributes.get("axes") or list(range(len(starts)))
        for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(starts), strict=True):
            if step < 0:
                raise ValueError("Slice with a negative step")
            index: list[slice] = [slice(None)] * x.dim()
            index[axis] = slice(start, end, step)
            x = x[tuple(index)]
        return x

    return run


def _split(node: Node) -> Function:
    axis = node.attributes.get("axis", 0)

    def run(x: Tensor, given: Tensor | None = None) -> tuple[Tensor, ...]:
        sizes = _ints(given) if given is not None else node.attributes.get("split")
        return x.split(sizes, axis) if sizes else x.chunk(len(node.outputs), axis)

    return run


def _gather(node: Node) -> Function:
    axis = node.attributes.get("axis", 0)

    def run(x: Tensor, index: Tensor) -> Tensor:
        at = axis % x.dim()
        index = torch.where(index < 0, index + x.shape[at], index).to(x.device)
        picked = x.index_select(at, index.flatten())
        return picked.reshape([*x.shape[:at], *index.shape, *x.shape[at + 1 :]])

    return run


def _pad(node: Node) -> Function:
    if (mode := node.attributes.get("mode", b"constant")) != b"constant":
        raise ValueError(f"Pad of mode {mode.decode()}")

    def run(x: Tensor, given: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
        pads = _ints(given) if given is not None else list(node.attributes["pads"])
        if axes is not None or not pads:
            raise ValueError("Pad with axes")
        fill = node.attributes.get("value", 0.0) if value is None else value.item()
        rank = len(pads) // 2
        flat = [side for axis in reversed(range(rank)) for side in (pads[axis], pads[rank + axis])]
        return functional.pad(x, flat, value=fill)

    return run


def _constant(node: Node) -> Function:
    (value,) = node.attributes.values()
    return lambda: value if isinstance(value, Tensor) else torch.tensor(value)


def _cast(node: Node) -> Function:
    # Every float is computed in float32: the weights of a half-precision file are read as such.
    floats, others = (1, 10, 11, 16), {6: torch.int32, 7: torch.int64, 9: torch.bool}
    code = node.attributes["to"]
    if code not in floats and code not in others:
        raise ValueError(f"Cast to the ONNX type {code}")
    return lambda x: x.to(others.get(code, torch.float32))


def _shape(node: Node) -> Function:
    chosen = slice(node.attributes.get("start", 0), node.attributes.get("end"))
    return lambda x: torch.tensor(x.shape[chosen], dtype=torch.int64)


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(_ints(shape) or ())))


def _fill(node: Node) -> Function:
    value = node.attributes.get("value", torch.zeros(1))

    def run(shape: Tensor) -> Tensor:
        sides = _ints(shape) or []
        if math.prod(sides) > MAX_FILL:
            raise ValueError(f"ConstantOfShape of {sides}, more than {MAX_FILL} numbers")
        return torch.full(sides, value.item(), dtype=value.dtype)

    return run


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Node], Function]:
    def run(first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return plain(run)


BUILDERS: dict[str, Callable[[Node], Function]] = LAYERS | {
    "Abs": plain(torch.abs),
    "Add": _add,
    "Cast": _cast,
    "Concat": lambda node: lambda *parts: torch.cat(parts, node.attributes["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _fill,
    "Div": plain(_divide),
    "Equal": plain(torch.eq),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Expand": plain(_expand),
    "Flatten": _flatten,
    "Gather": _gather,
    "Identity": plain(lambda x: x),
    "Log": plain(torch.log),
    "MatMul": plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mul": plain(operator.mul),
    "Neg": plain(torch.neg),
    "Pad": _pad,
    "Pow": plain(torch.pow),
    "Reciprocal": plain(torch.reciprocal),
    "ReduceL2": _reduce(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep)),
    "ReduceMax": _reduce(lambda x, axes, keep: x.amax(axes, keep)),
    "ReduceMean": _reduce(lambda x, axes, keep: x.mean(axes, keep)),
    "ReduceSum": _reduce(lambda x, axes, keep: x.sum(axes, keep)),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": plain(operator.sub),
    "Sum": _folded(operator.add),
    "Transpose": lambda node: lambda x: x.permute(node.attributes.get("perm") or list(reversed(range(x.dim())))),
    "Unsqueeze": _unsqueeze,
    "Where": plain(torch.where),
}
