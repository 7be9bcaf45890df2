"""ONNX files as differentiable torch modules."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx2torch import convert
from torch import nn


def load_onnx(path: Path) -> nn.Module:
    """The network of an ONNX file: (N, 3, H, W) float -> (N, D)."""
    return convert(onnx.load(str(path))).eval()
