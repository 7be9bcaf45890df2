"""Instance relation matching, the loss FaceMAE is fitted with (arXiv 2205.11090, section 3.3, Eq. 1 and 2)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-12  # under the root, so that two equal rows have a gradient
REFERENCE_ROWS = 256  # the batch a GPU at which the paper's beta stands


def row_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean over rows of the Euclidean distance: (N, D) twice to a scalar, computed in fp32 or wider."""
    a, b = _wide(a), _wide(b)
    return ((a - b).square().sum(dim=1) + EPSILON).sqrt().mean()


def instance_matching(real: Tensor, made: Tensor) -> Tensor:
    """IM, the first term of Eq. 2: how far each face's features moved. real, made: (N, D) to a scalar."""
    return row_distance(real, made)


def relation_matching(real: Tensor, made: Tensor) -> Tensor:
    """RM, the second term of Eq. 2: d(F F^T, G G^T), the similarities of all pairs of a batch. (N, D) to a scalar."""
    with torch.autocast(real.device.type, enabled=False):
        real, made = _wide(real), _wide(made)
        return row_distance(real @ real.T, made @ made.T)


def privacy(real: Tensor, made: Tensor, margin: float) -> Tensor:
    """How far each face's own similarity, cos(real_i, made_i), lies above `margin`, on average. (N, D) to a scalar.

    Not of the paper: relations can be matched without matching instances, so a face may be pushed away from
    its own person, as far as phi sees it. Lengths do not count.
    """
    return (F.cosine_similarity(_wide(real), _wide(made), dim=1) - margin).clamp_min(0).mean()


def relation_scale(rows: int, mode: str = "balanced") -> float:
    """What beta is multiplied by for a batch of `rows` faces.

    A row of the relation matrix has `rows` entries, so its distance grows as their root: `balanced` divides that
    out, leaving Eq. 2 as it is at 256 rows; `paper` is 1 at any size. Raises ValueError for another mode.
    """
    if mode == "paper":
        return 1.0
    if mode == "balanced":
        return math.sqrt(REFERENCE_ROWS / rows)
    raise ValueError(f"relation_scale {mode!r} is neither 'balanced' nor 'paper'")


def pixel_error(real: Tensor, made: Tensor) -> Tensor:
    """Mean squared error over all pixels, hidden and visible: (N, 3, S, S) in [0, 1] to a scalar.

    MAE's own loss leaves visible patches out; here every released pixel is predicted, so every pixel is fitted.
    """
    return (_wide(real) - _wide(made)).square().mean()


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
