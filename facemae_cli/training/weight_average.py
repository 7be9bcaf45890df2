"""Averages of weights: of one network's over its steps, and of several networks that were fitted from one start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average over steps of what `network` learns, in its own precision; buffers are not averaged.

    `decay` in (0, 1) is the share of the average that a step keeps; early steps keep less, t / (t + 9) at step t, so
    that the first weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self._learnt = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._mean = {name: value.detach().clone() for name, value in self._learnt.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step 1, 2, ... of the whole run."""
        share = 1 - min(self.decay, step / (step + 9))
        torch._foreach_lerp_(list(self._mean.values()), list(self._learnt.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the average for its weights while the context lasts."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self._learnt.items():
            value.data, self._mean[name] = self._mean[name], value.data

    def state(self) -> dict[str, Tensor]:
        """The average by the names of the weights, for a checkpoint."""
        return self._mean

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave. Raises KeyError or ValueError where it is of another network."""
        if state.keys() != self._mean.keys():
            raise KeyError(f"the average is of {len(state)} weights, not of {len(self._mean)}")
        for name, mean in self._mean.items():
            if state[name].shape != mean.shape:
                raise ValueError(f"the average of {name} has another shape")
            mean.copy_(state[name])


@torch.no_grad()
def take_mean(network: nn.Module, others: Sequence[nn.Module]) -> None:
    """`network` gets the mean of its own weights and those of `others`, of the same architecture; buffers stay its own.

    Networks that were fitted from the same weights often have a better one between them (arXiv 2203.05482). Raises
    KeyError where another has not all of the weights.
    """
    theirs = [dict(other.named_parameters()) for other in others]
    for name, value in network.named_parameters():
        value.copy_(torch.stack([value, *(each[name] for each in theirs)]).mean(0))
