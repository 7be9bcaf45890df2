"""Batch norm whose statistics span all ranks, so that a run does not depend on how many there are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facemae_cli import distributed


class RankBatchNorm(_BatchNorm):
    """Batch norm over the batches of all ranks, on any device; torch's own SyncBatchNorm knows no CPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        others = [0, *range(2, input.dim())]
        shape = (1, -1, *[1] * (input.dim() - 2))
        x = input.float()
        count = x.numel() // x.shape[1] * distributed.world()
        mean = distributed.sum_over_ranks(x.sum(others)) / count
        centred = x - mean.view(shape)
        var = distributed.sum_over_ranks(centred.square().sum(others)) / count
        self._remember(mean.detach(), var.detach() * count / max(count - 1, 1))
        made = centred * torch.rsqrt(var + self.eps).view(shape)
        return (made * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, var: Tensor) -> None:
        state = dict(self.named_buffers())
        state["num_batches_tracked"].add_(1)
        state["running_mean"].lerp_(mean, self.momentum or 0.0)
        state["running_var"].lerp_(var, self.momentum or 0.0)


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """`network` with its batch norms spanning all ranks, the parameters and their names kept; itself on one rank."""
    if distributed.world() == 1:
        return network
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, child in network.named_children():
        if isinstance(child, _BatchNorm):
            norm = RankBatchNorm(child.num_features, child.eps, child.momentum)
            norm.weight, norm.bias = child.weight, child.bias
            norm.running_mean, norm.running_var = child.running_mean, child.running_var
            norm.num_batches_tracked = child.num_batches_tracked
            network.add_module(name, norm)
        else:
            synchronise(child, device)
    return network
