"""Masked faces completed by the autoencoder: from visible patches to whole faces, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from facemae_cli.inference.masked_reader import VisibleFaces
from facemae_cli.inference.pipeline import Runner
from facemae_cli.inference.released_writer import PredictedFaces
from facemae_cli.masking import patches as masking
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.backends import CompiledAutoencoder


class Reconstructor(nn.Module):
    """The autoencoder from bytes to bytes."""

    def __init__(self, network: MaskedAutoencoder | CompiledAutoencoder) -> None:
        super().__init__()
        self.network, self.patch = network.eval(), network.patch

    def forward(self, visible: Tensor, tokens: Tensor) -> Tensor:
        """(N, V, p * p * 3) uint8 and (N, V) int64 to (N, S, S, 3) uint8."""
        faces = self.network(visible.float() / 255, tokens).float()
        return (faces.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()

    def example(self) -> tuple[Tensor, Tensor]:
        """Inputs of one face, as large as the smallest mask allows."""
        count = masking.TOKENS - masking.MIN_HIDDEN
        return torch.zeros(1, count, self.patch**2 * 3, dtype=torch.uint8), torch.arange(count)[None]


def release(chunks: Sequence[VisibleFaces], runner: Runner) -> list[PredictedFaces]:
    """Each chunk completed by the `Reconstructor` in `runner`, in order.

    Faces with as many visible patches share batches, over the borders of chunks.
    """
    counts = np.concatenate([chunk.counts for chunk in chunks])
    patches = np.concatenate([chunk.patches for chunk in chunks])
    tokens = np.concatenate([chunk.tokens for chunk in chunks]).astype(np.int64)
    starts = np.cumsum(counts) - counts
    there = np.flatnonzero(counts)
    made = np.empty((0, 1, 1, 3), np.uint8)
    for count in np.unique(counts[there]).tolist():
        rows = np.flatnonzero(counts == count)
        where = starts[rows, None] + np.arange(count)
        faces = runner(torch.from_numpy(patches[where]), torch.from_numpy(tokens[where])).numpy()
        if len(rows) == len(there):  # all of one ratio, as they mostly are
            made = faces
            break
        made = np.empty((len(there), *faces.shape[1:]), np.uint8) if not len(made) else made
        made[np.searchsorted(there, rows)] = faces
    predicted, first = [], 0
    for chunk in chunks:
        end = first + int(np.count_nonzero(chunk.counts))
        hidden = (masking.TOKENS - chunk.counts).tolist()
        predicted.append(
            PredictedFaces(
                chunk.indexes, chunk.errors, hidden, chunk.sizes, chunk.masked, made[first:end], chunk.digests
            )
        )
        first = end
    return predicted
