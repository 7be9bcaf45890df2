"""Every operator the interpreter knows against onnxruntime, one node at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facemae_cli.networks.onnx.file import _node
from facemae_cli.networks.onnx.operators import BUILDERS

RANDOM = np.random.default_rng(3)


def rand(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


X = rand(2, 4, 6, 5)
POSITIVE = np.abs(X) + 0.1
F = np.float32
CASES: list[tuple[str, list[Any], dict[str, Any], int]] = [
    ("Abs", [X], {}, 13),
    ("Add", [X, rand(4, 1, 1)], {}, 13),
    ("AveragePool", [X], {"kernel_shape": [2, 2], "strides": [2, 2]}, 13),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, 13),
    ("AveragePool", [X], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, 13),
    ("AveragePool", [X], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1], "count_include_pad": 1}, 13),
    ("BatchNormalization", [X, rand(4), rand(4), rand(4), np.abs(rand(4))], {"epsilon": 1e-3}, 13),
    ("BatchNormalization", [rand(3, 4), rand(4), rand(4), rand(4), np.abs(rand(4))], {}, 11),
    ("Cast", [ints(1, 2, 3)], {"to": 1}, 13),
    ("Cast", [np.array([1.7, -1.7], F)], {"to": 7}, 13),
    ("Clip", [X, F(-0.5), F(0.7)], {}, 13),
    ("Clip", [X, F(0)], {}, 13),
    ("Clip", [X, None, F(0.2)], {}, 13),
    ("Clip", [X], {}, 13),
    ("Clip", [X], {"min": 0.0, "max": 6.0}, 7),
    ("Concat", [X, rand(2, 1, 6, 5)], {"axis": 1}, 13),
    ("ConstantOfShape", [ints(2, 3)], {"value": numpy_helper.from_array(np.array([2.5], F))}, 13),
    ("ConstantOfShape", [ints(2)], {}, 13),
    ("Conv", [X, rand(3, 4, 3, 3), rand(3)], {}, 13),
    ("Conv", [X, rand(4, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 2]}, 13),
    ("Conv", [X, rand(3, 4, 3, 3)], {"pads": [0, 1, 2, 1], "strides": [2, 1]}, 13),
    ("Conv", [X, rand(3, 4, 2, 3)], {"dilations": [2, 1], "kernel_shape": [2, 3]}, 13),
    ("Conv", [X, rand(3, 4, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, 13),
    ("Conv", [X, rand(3, 4, 2, 2)], {"auto_pad": "SAME_LOWER"}, 13),
    ("Conv", [X, rand(3, 4, 3, 3)], {"auto_pad": "VALID"}, 13),
    ("Conv", [rand(2, 4, 7), rand(3, 4, 3)], {"pads": [1, 1]}, 13),
    ("Div", [X, POSITIVE], {}, 13),
    ("Div", [ints(7, -7), ints(2)], {}, 13),
    ("Dropout", [X], {}, 13),
    ("Elu", [X], {"alpha": 0.7}, 13),
    ("Equal", [ints(1, 2), ints(1, 3)], {}, 13),
    ("Erf", [X], {}, 13),
    ("Exp", [X], {}, 13),
    ("Expand", [rand(4, 1, 5), ints(2, 1, 6, 1)], {}, 13),
    ("Flatten", [X], {}, 13),
    ("Flatten", [X], {"axis": 2}, 13),
    ("Flatten", [X], {"axis": -1}, 13),
    ("Flatten", [X], {"axis": 0}, 13),
    ("Gather", [X, ints(2, -1)], {"axis": 1}, 13),
    ("Gather", [X, np.array(-2, dtype=np.int64)], {"axis": -2}, 13),
    ("Gather", [rand(2, 3), np.array(0, dtype=np.int64)], {}, 13),
    ("Gather", [rand(3), np.array(1, dtype=np.int64)], {}, 13),
    ("Gather", [rand(5), np.array([[0, 1], [4, -1]], dtype=np.int64)], {}, 13),
    ("Gelu", [X], {}, 20),
    ("Gelu", [X], {"approximate": "tanh"}, 20),
    ("Gemm", [rand(3, 4), rand(5, 4), rand(5)], {"transB": 1}, 13),
    ("Gemm", [rand(4, 3), rand(4, 5), rand(3, 1)], {"transA": 1, "alpha": 0.5, "beta": 2.0}, 13),
    ("Gemm", [rand(3, 4), rand(4, 5)], {}, 13),
    ("GlobalAveragePool", [X], {}, 13),
    ("GlobalMaxPool", [X], {}, 13),
    ("HardSigmoid", [X], {}, 13),
    ("HardSwish", [X], {}, 14),
    ("Identity", [X], {}, 13),
    ("LayerNormalization", [X, rand(5), rand(5)], {}, 17),
    ("LayerNormalization", [X, rand(6, 5)], {"axis": 2, "epsilon": 1e-3}, 17),
    ("LeakyRelu", [X], {"alpha": 0.2}, 13),
    ("Log", [POSITIVE], {}, 13),
    ("LpNormalization", [rand(3, 4)], {"axis": 1, "p": 2}, 13),
    ("MatMul", [X, rand(5, 3)], {}, 13),
    ("Max", [X, rand(5), rand(2, 1, 1, 1)], {}, 13),
    ("MaxPool", [X], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}, 13),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, 13),
    ("MaxPool", [X], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, 13),
    ("Min", [X, rand(5)], {}, 13),
    ("Mul", [X, F(0.5)], {}, 13),
    ("Neg", [X], {}, 13),
    ("PRelu", [X, rand(4, 1, 1)], {}, 13),
    ("PRelu", [X, rand(1, 4, 1, 1)], {}, 13),
    ("PRelu", [X, rand(1)], {}, 13),
    ("PRelu", [X, rand(5)], {}, 13),
    ("PRelu", [X, rand(4, 6, 5)], {}, 13),
    ("PRelu", [rand(3, 4), rand(4)], {}, 13),
    ("Pad", [X, ints(0, 0, 1, 2, 0, 1, 0, 1), F(0.5)], {}, 13),
    ("Pad", [X], {"pads": [0, 0, 1, 0, 0, 0, 2, 1], "value": 1.5}, 10),
    ("Pow", [POSITIVE, F(1.5)], {}, 13),
    ("Reciprocal", [POSITIVE], {}, 13),
    ("ReduceL2", [X], {"axes": [1, 2], "keepdims": 0}, 13),
    ("ReduceMax", [X], {"axes": [-1]}, 13),
    ("ReduceMean", [X], {"axes": [2, 3]}, 13),
    ("ReduceMean", [X, ints(-1)], {}, 18),
    ("ReduceMean", [X], {}, 13),
    ("ReduceSum", [X, ints(1)], {"keepdims": 0}, 13),
    ("ReduceSum", [X], {"noop_with_empty_axes": 1}, 13),
    ("Relu", [X], {}, 13),
    ("Reshape", [X, ints(0, -1)], {}, 13),
    ("Reshape", [X, ints(2, 0, 30)], {}, 13),
    ("Shape", [X], {}, 13),
    ("Shape", [X], {"start": 1, "end": -1}, 15),
    ("Sigmoid", [X], {}, 13),
    ("Slice", [X, ints(1, -3), ints(2**62, -1), ints(1, 3), ints(2, 1)], {}, 13),
    ("Slice", [X, ints(0, 1), ints(2, 3)], {}, 13),
    ("Slice", [X], {"starts": [1], "ends": [3], "axes": [2]}, 7),
    ("Softmax", [X], {"axis": 1}, 13),
    ("Softmax", [X], {"axis": 2}, 11),
    ("Softmax", [X], {}, 11),
    ("Split", [X, ints(1, 3)], {"axis": 1}, 13),
    ("Split", [X], {"axis": 1}, 13),
    ("Split", [X], {"axis": 2, "split": [4, 2]}, 11),
    ("Sqrt", [POSITIVE], {}, 13),
    ("Squeeze", [rand(2, 1, 3, 1), ints(1)], {}, 13),
    ("Squeeze", [rand(2, 1, 3, 1)], {}, 13),
    ("Squeeze", [rand(2, 1, 3, 1)], {"axes": [-1]}, 11),
    ("Sub", [X, rand(5)], {}, 13),
    ("Sum", [X, rand(5), rand(1)], {}, 13),
    ("Tanh", [X], {}, 13),
    ("Transpose", [X], {"perm": [0, 2, 3, 1]}, 13),
    ("Transpose", [X], {}, 13),
    ("Unsqueeze", [X, ints(0, -1)], {}, 13),
    ("Unsqueeze", [X], {"axes": [1]}, 11),
    ("Where", [X > 0, X, rand(5)], {}, 13),
]
SPLITS = 2


def declared(value: NDArray[Any], name: str) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, value.shape)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"), CASES, ids=[f"{case[0]}-{i}" for i, case in enumerate(CASES)]
)
def test_an_operator_agrees_with_onnxruntime(
    op: str, inputs: list[Any], attributes: dict[str, Any], opset: int
) -> None:
    given = {f"x{i}": np.asarray(value) for i, value in enumerate(inputs) if value is not None}
    names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(SPLITS if op == "Split" else 1)]
    node = helper.make_node(op, names, outputs, **attributes)
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "g", [declared(value, name) for name, value in given.items()], results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = session.run(None, given)
    tensors = [None if value is None else torch.from_numpy(np.array(value)) for value in inputs]
    got = BUILDERS[op](_node(node, opset))(*tensors)
    got = got if isinstance(got, tuple) else (got,)
    assert len(got) == len(wanted)
    for mine, theirs in zip(got, wanted, strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_every_operator_is_among_the_cases() -> None:
    assert {case[0] for case in CASES} | {"Constant"} == set(BUILDERS)


def test_mxnets_slope_without_trailing_sides_is_one_a_channel() -> None:
    x, slope = torch.from_numpy(X), torch.tensor([0.1, 0.2, 0.3, 0.4])
    run = BUILDERS["PRelu"](_node(helper.make_node("PRelu", ["x", "s"], ["y"]), 7))
    torch.testing.assert_close(run(x, slope), torch.where(x < 0, x * slope.view(4, 1, 1), x))


def test_a_strided_depthwise_convolution_with_a_gradient_in_bf16_takes_another_way_to_the_same() -> None:
    attributes = {"group": 4, "pads": [1, 1, 1, 1], "strides": [2, 2]}
    run = BUILDERS["Conv"](_node(helper.make_node("Conv", ["x", "w"], ["y"], **attributes), 13))
    x, weight = torch.from_numpy(X).bfloat16(), torch.from_numpy(rand(4, 1, 3, 3)).bfloat16()
    seen = x.clone().requires_grad_()
    reference = x.float().requires_grad_()
    wanted = torch.nn.functional.conv2d(reference, weight.float(), None, 2, 1, 1, 4)
    got = run(seen, weight)
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got.float(), wanted, rtol=2e-2, atol=2e-2)
    got.sum().backward()
    wanted.sum().backward()
    assert seen.grad is not None
    torch.testing.assert_close(seen.grad.float(), reference.grad, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.array([1.5], F))}, torch.tensor([1.5])),
        ({"value_float": 2.5}, torch.tensor(2.5)),
        ({"value_ints": [1, 2]}, torch.tensor([1, 2])),
    ],
)
def test_constants_of_every_form(attributes: dict[str, Any], wanted: torch.Tensor) -> None:
    got = BUILDERS["Constant"](_node(helper.make_node("Constant", [], ["y"], **attributes), 13))()
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("Pad", [X, ints(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "reflect"}),
        ("Cast", [X], {"to": TensorProto.STRING}),
        ("Slice", [X, ints(-1), ints(-9), ints(2), ints(-1)], {}),
        ("AveragePool", [X], {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
        ("ConstantOfShape", [ints(2**20, 2**20)], {}),
    ],
)
def test_what_is_not_supported_says_so(op: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    node = _node(helper.make_node(op, [f"x{i}" for i in range(len(inputs))], ["y"], **attributes), 13)
    with pytest.raises(ValueError, match=op):
        BUILDERS[op](node)(*map(torch.from_numpy, inputs))
