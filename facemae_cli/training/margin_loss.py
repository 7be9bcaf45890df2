"""Classifying faces by a margin, with the centres of all classes shared among ranks.

ArcFace: arXiv 1801.07698; CosFace: arXiv 1801.09414; sampling of classes (PartialFC): arXiv 2010.05222.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facemae_cli.runtime import distributed

COSINE_LIMIT = 1 - 1e-6  # beyond it the sine's gradient outgrows float32
CHUNK = 2**16  # classes started from one generator, so that a centre's start does not depend on the ranks
NO_LABEL = -1


@dataclass(frozen=True)
class Margin:
    """`arcface` (m is an angle in radians) or `cosface` (m is a cosine): what it takes off a face's own cosine."""

    kind: str
    m: float

    def shifted(self, cosine: Tensor, strength: float = 1.0) -> Tensor:
        """The cosines of faces to their own centres after the margin, times `strength` in [0, 1]; float32.

        Where the angle and m exceed pi together, arcface goes on in a straight line, so that it stays monotonic.
        """
        m = self.m * strength
        if self.kind == "cosface":
            return cosine - m
        sine = (1 - cosine.square()).sqrt()
        return torch.where(cosine > -math.cos(m), cosine * math.cos(m) - sine * math.sin(m), cosine - m * math.sin(m))


class _CrossEntropy(torch.autograd.Function):
    """Softmax cross-entropy over classes that are spread over ranks; each rank gets the gradient of its logits."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, rows: Tensor, columns: Tensor, labelled: Tensor) -> Tensor:
        largest = logits.max(1).values if logits.shape[1] else logits.new_full((len(logits),), -math.inf)
        largest = distributed.max_over_ranks(largest)
        grown = (logits - largest[:, None]).exp_()
        total = distributed.sum_over_ranks(grown.sum(1))
        own = logits.new_zeros(len(logits))
        own[rows] = logits[rows, columns]
        own = distributed.sum_over_ranks(own)
        count = labelled.sum().clamp_min(1)
        grown.div_(total[:, None])
        grown[rows, columns] -= 1
        grown.mul_((labelled / count)[:, None])
        ctx.save_for_backward(grown)
        return ((total.log() + largest - own) * labelled).sum() / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (grown,) = ctx.saved_tensors
        return grown * grads[0], None, None, None


class ClassCentres:
    """A centre a class, each rank holding its share, learnt by SGD beside the network.

    With `sample_rate` under 1 a step compares with that share of all classes, those of the batch among them; centres
    that were not sampled stay as they are. Which are sampled follows from (seed, step), not from the ranks.
    """

    def __init__(
        self,
        classes: int,
        dim: int,
        margin: Margin,
        *,
        scale: float,
        sample_rate: float,
        momentum: float,
        weight_decay: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.classes, self.margin, self.scale, self.sample_rate = classes, margin, scale, sample_rate
        self.momentum, self.weight_decay, self.seed = momentum, weight_decay, seed
        self.first, self.last = distributed.share(classes)
        self.weight = _started(self.first, self.last, dim, seed).to(device)
        self.moments = torch.zeros_like(self.weight)
        self._index: Tensor | None = None
        self._leaf: Tensor | None = None

    def loss(self, features: Tensor, labels: Tensor, step: int, strength: float = 1.0) -> dict[str, Tensor]:
        """features: (n, D) of this rank; labels: (n,) int64, NO_LABEL for a face that counts for nothing.

        Returns `margin`, the mean loss over the labelled faces of all ranks, and `accuracy`, the share of them that
        are nearest to their own centre among those compared with. Computed in float32 whatever autocast says.
        """
        with torch.autocast(features.device.type, enabled=False):
            rows = F.normalize(distributed.gather_shared(features.float()))
            labels = distributed.gather_rows(labels)
            self._index = self._sample(labels, step)
            taking_part = self.weight if self._index is None else self.weight[self._index]
            self._leaf = taking_part.detach().requires_grad_()
            logits = (self.scale * rows) @ F.normalize(self._leaf).T
            mine, columns = self._own(labels)
            own = logits[mine, columns]
            labelled = (labels != NO_LABEL).float()
            accuracy = _accuracy(logits.detach(), mine, own.detach(), labelled)
            cosine = (own / self.scale).clamp(-COSINE_LIMIT, COSINE_LIMIT)
            logits = logits.index_put_((mine, columns), self.scale * self.margin.shifted(cosine, strength))
            return {"margin": _CrossEntropy.apply(logits, mine, columns, labelled), "accuracy": accuracy}

    def _sample(self, labels: Tensor, step: int) -> Tensor | None:
        """Which of this rank's centres take part, as ascending rows of `weight`; None where all do."""
        wanted = math.ceil(self.sample_rate * self.classes)
        if wanted >= self.classes:
            return None
        generator = _generator(self.seed, step)
        keys = torch.rand(self.classes, generator=generator)
        present = labels[labels != NO_LABEL].unique().cpu()
        keys[present] = 2.0
        sampled = keys.topk(max(wanted, len(present))).indices.sort().values
        mine = sampled[(sampled >= self.first) & (sampled < self.last)]
        return (mine - self.first).to(self.weight.device)

    def _own(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Rows whose class is this rank's, and the columns of their classes among those that take part."""
        mine = ((labels >= self.first) & (labels < self.last)).nonzero().flatten()
        columns = labels[mine] - self.first
        return mine, columns if self._index is None else torch.searchsorted(self._index, columns)

    @torch.no_grad()
    def update(self, rate: float) -> None:
        """One step of SGD for the centres that took part in the last loss, after its backward pass."""
        if self._leaf is None or self._leaf.grad is None:
            return
        steps = self._leaf.grad.add_(self._leaf, alpha=self.weight_decay)
        if self._index is None:
            self.moments.mul_(self.momentum).add_(steps)
            self.weight.sub_(self.moments, alpha=rate)
        else:
            moments = steps.add_(self.moments[self._index], alpha=self.momentum)
            self.moments[self._index] = moments
            self.weight[self._index] = self._leaf.sub_(moments, alpha=rate)
        self._leaf = None

    def state(self) -> dict[str, Tensor]:
        """All centres and their momenta, on rank 0. Every rank must call it."""
        return {
            "centres": distributed.join_shares(self.weight, self.classes),
            "moments": distributed.join_shares(self.moments, self.classes),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take this rank's share of what `state` gave, whatever number of ranks gave it."""
        self.weight.copy_(state["centres"][self.first : self.last])
        self.moments.copy_(state["moments"][self.first : self.last])


def _generator(seed: int, number: int) -> torch.Generator:
    mixed = np.random.SeedSequence([seed, number]).generate_state(1)  # torch's generator looks at 32 bits of a seed
    return torch.Generator().manual_seed(int(mixed[0]))


def _started(first: int, last: int, dim: int, seed: int) -> Tensor:
    """Rows first..last of the centres' random start, the same on whichever rank."""
    parts = []
    for chunk in range(first // CHUNK, -(-last // CHUNK)):
        generator = _generator(seed, chunk)
        rows = torch.randn(CHUNK, dim, generator=generator)
        parts.append(rows[max(first - chunk * CHUNK, 0) : last - chunk * CHUNK])
    return torch.cat(parts) * 0.01 if parts else torch.zeros(0, dim)


def _accuracy(cosine: Tensor, mine: Tensor, own: Tensor, labelled: Tensor) -> Tensor:
    best = cosine.max(1).values if cosine.shape[1] else cosine.new_full((len(cosine),), -2.0)
    best = distributed.max_over_ranks(best)
    right = cosine.new_zeros(len(cosine))
    right[mine] = (own >= best[mine]).float()
    return distributed.sum_over_ranks(right).sum() / labelled.sum().clamp_min(1)
