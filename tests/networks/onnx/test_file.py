"""Files that are no ONNX, or none of an embedder: always one line, never another exception."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.onnxgraphs import SIDE, insightface_graph, model_of, save
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from facemae_cli.errors import InputError
from facemae_cli.networks.onnx.graph import load_onnx


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
