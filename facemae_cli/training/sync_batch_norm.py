"""Batch norm whose statistics span all ranks, so that a run does not depend on how many there are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from facemae_cli.runtime import distributed


class _Normed(torch.autograd.Function):
    """Batch norm by given statistics, in torch's own kernels, whose gradient flows through the statistics of all ranks:
    dx = w / s * (dy - mean(dy) - x^ * mean(dy x^)), x^ = (x - m) / s, means over the faces and pixels of all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        x, weight, mean, var = ctx.saved_tensors
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            grads[0].contiguous(memory_format=torch.channels_last) if x.dim() == 4 else grads[0].contiguous(),
            x, weight, mean, var, None, None, False, ctx.eps, [True, True, True],
        )  # fmt: skip
        count = x.numel() // x.shape[1] * distributed.world()
        mean_dy, mean_dy_x = distributed.sum_over_ranks(torch.stack([db, dw])) / count
        inverse = torch.rsqrt(var + ctx.eps)
        slope = weight * inverse * inverse * mean_dy_x
        sides = (1, -1, *[1] * (x.dim() - 2))
        dx.addcmul_(x, -slope.view(sides)).sub_((weight * inverse * mean_dy - slope * mean).view(sides))
        return dx, dw, db, None, None, None


class RankBatchNorm(_BatchNorm):
    """Batch norm over the batches of all ranks, on any device; torch's own SyncBatchNorm knows no CPU."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected (N, C, ...), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape; every rank must bring as many."""
        self._check_input_dim(input)
        if not self.training:
            return super().forward(input)
        x = input.float()
        with torch.no_grad():
            var, own = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
            mean = distributed.sum_over_ranks(own) / distributed.world()
            var = distributed.sum_over_ranks(var + (own - mean).square()) / distributed.world()
            self._remember(mean, var, x.numel() // x.shape[1] * distributed.world())
        return _Normed.apply(x, self.weight, self.bias, mean, var, self.eps).to(input.dtype)

    def _remember(self, mean: Tensor, var: Tensor, count: int) -> None:
        state = dict(self.named_buffers())
        state["num_batches_tracked"].add_(1)
        state["running_mean"].lerp_(mean, self.momentum or 0.0)
        state["running_var"].lerp_(var * count / max(count - 1, 1), self.momentum or 0.0)


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
