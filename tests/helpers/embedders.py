"""Small embedders in memory, for tests of what embeds faces."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from helpers.sources import MemorySource, smooth_face
from torch import nn

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.inference.embed import Embeddings, embed
from facemae_cli.networks.card import InputSpec
from facemae_cli.networks.embedder import Embedder

CPU = torch.device("cpu")
SPEC = InputSpec(16)


class Small(nn.Module):
    """A network with batch norm and dropout, whose two modes differ much."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 6, 4, stride=4)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.batches = 0
        self._counting = threading.Lock()  # ranks are threads in some tests

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with self._counting:
            self.batches += 1
        return self.drop(self.norm(self.conv(images))).flatten(1)


def small() -> Embedder:
    """Features of 96 dimensions from 16 x 16 pixels."""
    return Embedder(Small(), SPEC, 96).eval()


def run(source: MemorySource, embedder: Embedder, **more: Any) -> Embeddings:
    """`embed` on the CPU in fp32, four faces at a time."""
    return embed(source, embedder, **{"device": CPU, "precision": "fp32", "batch_size": "4", "workers": 2} | more)


class Strange(nn.Module):
    """Black faces have no feature, white ones one that is not finite."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean((1, 2, 3))[:, None] + 1
        return torch.where(mean > 1.9, torch.inf, torch.where(mean < 0.1, 0.0, mean)).expand(-1, 3)


def strange_source() -> MemorySource:
    """A black, a cut, a plain, a white and an empty face."""
    black, white = (encode_png(np.full((16, 16, 3), value, np.uint8)) for value in (0, 255))
    cut = encode_jpeg(smooth_face(1, 16))[:-40]
    faces = [("a", "1.png", black), ("b", "2.jpg", cut), ("c", "3.png", encode_png(smooth_face(5, 16)))]
    return MemorySource([*faces, ("d", "4.png", white), ("e", "5.jpg", b"")])
