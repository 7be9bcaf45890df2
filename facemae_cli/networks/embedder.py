"""A face embedder behind one interface, whatever its file format, input size, colour order and normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from facemae_cli.data.images.codec import middle
from facemae_cli.networks.card import InputSpec

# On a CPU a batch goes through in pieces: their activations stay in pages the allocator reuses, while those of a
# large batch are mapped and unmapped at every step (measured: twice the time per face).
CPU_PIECE = 32


class Embedder(nn.Module):
    """Wraps a network that takes what its card's `input` says, so that callers hand it plain RGB images."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, spec: InputSpec, dim: int) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.dim = dim
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def prepare(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) RGB in [0, 1], any size -> (N, 3, *sides) normalised; differentiable."""
        sides = self.spec.sides
        rows, columns = middle(images.shape[-2], images.shape[-1], sides)
        images = images[..., rows, columns]
        if images.shape[-2:] != sides:
            shrinks = images.shape[-2] > sides[0] or images.shape[-1] > sides[1]
            images = functional.interpolate(images, sides, mode="bilinear", align_corners=False, antialias=shrinks)
        if self.spec.color == "bgr":
            images = images.flip(1)
        return ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, 3, H, W) RGB in [0, 1] -> (N, dim) float32 features, as they come (not L2-normalised)."""
        prepared = self.prepare(images)
        if images.device.type != "cpu" or self.training or len(images) <= CPU_PIECE:
            return self.network(prepared).float()
        return torch.cat([self.network(piece).float() for piece in prepared.split(CPU_PIECE)])

    def frozen(self) -> Embedder:
        """Itself, in evaluation mode and without gradients for its weights; gradients for images still flow."""
        return self.eval().requires_grad_(False)


class Ensemble(nn.Module):
    """Embedders as one, whose cosine is the mean of theirs: what pleases one of them alone pleases it less.

    Takes (N, 3, H, W) RGB in [0, 1] and gives their features, each L2-normalised, side by side: (N, sum of dims), of
    length 1.
    """

    def __init__(self, embedders: Sequence[Embedder]) -> None:
        super().__init__()
        self.embedders = nn.ModuleList(embedders)

    def forward(self, images: Tensor) -> Tensor:
        features = [functional.normalize(embedder(images), dim=1) for embedder in self.embedders]
        return torch.cat(features, dim=1) / len(features) ** 0.5
