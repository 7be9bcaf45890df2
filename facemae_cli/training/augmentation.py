"""Random views of faces for a recogniser: moved, turned, zoomed, in other light, with a square out of sight."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from facemae_cli.data.images.pixels import LUMA

# What strength 1 may do to a face, either way.
SHIFT, TURN, ZOOM = 0.08, math.radians(15), 0.15  # of its width; radians; in the logarithm
LIGHT, CONTRAST, COLOUR = 0.4, 0.4, 0.8  # relative
ERASED, SIDE = 0.5, 0.4  # how often a square is hidden; its longest side, of the face's
SAMPLES = 10


def augment(images: Tensor, samples: Tensor, strength: float, seed: int, epoch: int) -> Tensor:
    """images: (n, 3, S, S) in [0, 1], faces `samples` (n,) of a source -> the same faces in other views, in [0, 1].

    What happens to a face follows from (seed, epoch, sample) alone: the same on any rank, in any batch.
    """
    sampled = torch.from_numpy(_sample(samples.tolist(), seed, epoch)).to(images.device)
    swing = strength * (2 * sampled - 1)
    return _erased(_lit(_moved(images, swing), swing), sampled, strength).clamp(0, 1)


def _sample(samples: list[int], seed: int, epoch: int) -> NDArray[np.float32]:
    """(n, SAMPLES) uniform in [0, 1)."""
    sampled = np.empty((len(samples), SAMPLES), dtype=np.float32)
    for row, sample in enumerate(samples):
        random = np.random.Generator(np.random.Philox(key=[seed, sample], counter=[0, 0, epoch, 0]))
        sampled[row] = random.random(SAMPLES, dtype=np.float32)
    return sampled


def _moved(images: Tensor, swing: Tensor) -> Tensor:
    """Columns 0 to 3: a shift each way, a turn, a zoom; the edge is repeated outwards."""
    angle, zoom = TURN * swing[:, 2], torch.exp(ZOOM * swing[:, 3])
    cos, sin = zoom * torch.cos(angle), zoom * torch.sin(angle)
    rows = [torch.stack([cos, -sin, 2 * SHIFT * swing[:, 0]], 1), torch.stack([sin, cos, 2 * SHIFT * swing[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _lit(images: Tensor, swing: Tensor) -> Tensor:
    """Columns 4 to 6: light, contrast about the mean, and colour about the grey."""
    light, contrast, colour = (
        (1 + reach * swing[:, column])[:, None, None, None]
        for column, reach in ((4, LIGHT), (5, CONTRAST), (6, COLOUR))
    )
    images = images * light
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = mean + contrast * (images - mean)
    grey = (images * images.new_tensor(LUMA)[None, :, None, None]).sum(1, keepdim=True)
    return grey + colour * (images - grey)


def _erased(images: Tensor, sampled: Tensor, strength: float) -> Tensor:
    """Columns 7 to 9: whether and how large a square becomes grey, and where; its corner may lie outside."""
    size = images.shape[-1]
    share = sampled[:, 7] / max(strength * ERASED, 1e-6)  # below 1 where one is hidden, and then uniform again
    half = torch.where(share < 1, share * SIDE * size / 2, 0.0)
    at = torch.arange(size, device=images.device) + 0.5
    inside = [(at[None] - size * sampled[:, column, None]).abs() < half[:, None] for column in (8, 9)]
    return torch.where((inside[0][:, None, :, None] & inside[1][:, None, None, :]), 0.5, images)
