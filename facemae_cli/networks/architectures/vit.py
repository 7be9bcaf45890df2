"""A vision transformer as a recogniser; vit_s is ViT-S (width 384, 12 blocks of 6 heads) on 14 x 14 patches.

Written from the papers: ViT (arXiv 2010.11929, section 3.1; the size S is DeiT's, arXiv 2012.12877, table 1). There is
no class token. As in InsightFace's transformers and in the residual recognisers, all tokens together, not their mean,
make the embedding: faces are aligned, so where a token stands says what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from facemae_cli.networks.architectures.transformer import Block

MAX_BLOCKS = 400


class VisionTransformer(nn.Module):
    """(N, 3, size, size) normalised images -> (N, dim) float32 features; the last layers ignore autocast.

    `patch` pixels a side of a token; `width` channels, `depth` blocks of `heads` heads; `drop_path` is the chance of
    the last block to be left out for a face while training, less in those before it.
    Raises ValueError for sizes that do not fit together.
    """

    def __init__(
        self,
        dim: int = 512,
        size: int = 112,
        patch: int = 8,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if patch < 1 or size < patch or size % patch:
            raise ValueError(f"size {size} is not a multiple of patch, {patch} pixels")
        if heads < 1 or width < 1 or width % heads:
            raise ValueError(f"width {width} is not a multiple of its {heads} heads")
        if not 1 <= depth <= MAX_BLOCKS or not 0 <= drop_path < 1:
            raise ValueError(f"depth {depth} is not from 1 to {MAX_BLOCKS}, or drop_path {drop_path} not in [0, 1)")
        tokens = (size // patch) ** 2
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = _blocks(width, depth, heads, drop_path)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.features = nn.Sequential(
            nn.Linear(tokens * width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.Linear(width, dim, bias=False),
            nn.BatchNorm1d(dim),
        )
        self._initialise()

    def _initialise(self) -> None:
        if (
            self.positions.is_meta
        ):  # nothing to initialise, and to ask for it makes torch import its compiler, for seconds
            return
        nn.init.trunc_normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = self.embed(images).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        with torch.autocast(images.device.type, enabled=False):
            return self.features(self.norm(x.float()).flatten(1))


def _blocks(width: int, depth: int, heads: int, drop_path: float) -> nn.ModuleList:
    rates = [drop_path * index / max(depth - 1, 1) for index in range(depth)]
    return nn.ModuleList(Block(width, heads, rate) for rate in rates)


def transformer_shape(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the `VisionTransformer` whose state dict `state` is, but for its heads, which it does not show.

    Raises ValueError where it is of none.
    """
    try:
        width, _, _, patch = state["embed.weight"].shape
        size = math.isqrt(state["positions"].shape[1]) * patch
        dim = state["features.3.weight"].shape[0]
        depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError("its parameters are not named as those of facemae's vision transformer") from error
    return {"dim": dim, "size": size, "patch": patch, "width": width, "depth": depth}
