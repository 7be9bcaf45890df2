"""Small models on disk, for tests of what takes `--model` and `--embedder`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from facemae_cli.networks.architectures.mae import MaskedAutoencoder

SHAPE = {
    "size": 112, "patch": 8, "width": 16, "depth": 1, "heads": 2,
    "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip
NORM = {"color": "rgb", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}


def write_mae(folder: Path, weights: bool = True, seed: int = 0, **more: object) -> Path:
    """A masked autoencoder of a few thousand parameters as a model folder."""
    folder.mkdir(parents=True)
    card = {"kind": "mae", "input": {"size": 112, **NORM}, "architecture": SHAPE, **more}
    (folder / "model.yaml").write_text(yaml.safe_dump(card))
    if weights:
        torch.manual_seed(seed)
        save_file(MaskedAutoencoder(**SHAPE).state_dict(), folder / "weights.safetensors")
    return folder


def write_recognizer(folder: Path) -> Path:
    """A recogniser to be trained, of a few thousand parameters, as a model folder without weights."""
    folder.mkdir(parents=True)
    card = {
        "kind": "embedder",
        "input": {"size": 32, **NORM},
        "dim": 8,
        "architecture": {"network": "iresnet", "blocks": [1, 1, 1], "widths": [8, 8, 8, 8], "stem_stride": 2},
        "recipe": {"scale": 16.0, "m": 0.2, "warmup": 0.0, "schedule": "cosine"},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(card))
    return folder


def write_embedder(path: Path, dim: int = 8, says: int | None = None, seed: int = 0) -> Path:
    """An ONNX embedder: a strided convolution, ReLU, mean over the image; its card says `says` dimensions."""
    kernel = np.random.default_rng(seed).normal(size=(dim, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], strides=[8, 8], kernel_shape=[8, 8]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "embedder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(kernel, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    card = {"kind": "embedder", "weights": path.name, "input": {"size": 112, **NORM}, "dim": says or dim}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(card))
    return path
