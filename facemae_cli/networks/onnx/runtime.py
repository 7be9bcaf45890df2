"""Running ONNX networks, by onnxruntime or our interpreter: sessions, the output that holds features, and batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

QUIET = 4  # onnxruntime's level for fatal errors alone: its other lines would go to stderr past the console


def open_session(model: Path | bytes) -> Any:
    """An onnxruntime session on the CPU, with as many threads as torch uses, of a file or of its content.

    Raises ImportError without onnxruntime, and its own errors for what it does not run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = QUIET
    # Threads that wait in a loop would take the cores from those that decode faces.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def feature_output(names: Sequence[str], shapes: Sequence[Sequence[int]]) -> int:
    """Which of the outputs called `names`, of `shapes` for one image, holds features. Raises ValueError unless one
    does."""
    wide = [i for i, shape in enumerate(shapes) if len(shape) > 1 and shape[0] == 1 and math.prod(shape[1:]) > 1]
    if len(wide) != 1:
        raise ValueError(f"of its outputs {', '.join(names)} {len(wide)} are features, not one")
    return wide[0]


class BatchedNetwork(nn.Module, ABC):
    """A network of images that is asked one by one where it was made for one at a time."""

    one_by_one = False

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) as the network wants them -> (N, D) float32 features, on the same device."""

    def forward(self, images: Tensor) -> Tensor:
        """The same, for any N."""
        if self.one_by_one and len(images) > 1:
            return torch.cat([self.features(image) for image in images.split(1)])
        return self.features(images)

    def find_batching(self, pair: Tensor, agreement: float) -> None:
        """Asks with images one by one where `pair`, (2, 3, H, W), does not give what its images give alone, to a share
        of `agreement` of the features' length."""
        wanted = torch.cat([self.features(image) for image in pair.split(1)])
        try:
            got = self.features(pair)
            self.one_by_one = got.shape != wanted.shape or bool((got - wanted).norm() > agreement * wanted.norm())
        except Exception:  # onnxruntime's errors are its own: the batch is baked in
            self.one_by_one = True
