"""MobileFaceNet (arXiv 1804.07573): a recogniser of depthwise convolutions, small enough for a phone.

Parameter names and shapes are those of InsightFace's widened form of it, `mbf` (and `mbf_large` with blocks
(2, 8, 12, 4) and scale 4), so that their `backbone.pth` files load unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from facemae_cli.networks.architectures.prelu import PReLU

SHRINK = 16  # the stem and three stages of stride 2
LAST = 512  # channels before the embedding
MAX_BLOCKS = 400
MAX_SCALE = 64


class Unit(nn.Module):
    """Convolution, batch norm and, unless `linear`, PReLU: (N, inputs, H, W) -> (N, outputs, H', W')."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        activation = () if linear else (PReLU(outputs),)
        self.layers = nn.Sequential(convolution, nn.BatchNorm2d(outputs), *activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Bottleneck(nn.Module):
    """Widened to `hidden` channels, each convolved on its own, narrowed linearly; `residual` adds the input."""

    def __init__(self, inputs: int, outputs: int, hidden: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layers = nn.Sequential(
            Unit(inputs, hidden),
            Unit(hidden, hidden, 3, stride, padding=1, groups=hidden),
            Unit(hidden, outputs, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.residual else self.layers(x)


class BottleneckStage(nn.Module):
    """`count` residual bottlenecks of one shape, one after the other."""

    def __init__(self, channels: int, hidden: int, count: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(Bottleneck(channels, channels, hidden, 1, True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Head(nn.Module):
    """Each channel weighted over all of the face, then a linear map: (N, 512, side, side) -> (N, dim)."""

    def __init__(self, dim: int, side: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Unit(LAST, LAST, side, groups=LAST, linear=True),
            nn.Flatten(),
            nn.Linear(LAST, dim, bias=False),
            nn.BatchNorm1d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MobileFaceNet(nn.Module):
    """(N, 3, size, size) normalised images -> (N, dim) float32 features; the last layers ignore autocast.

    `blocks` residual bottlenecks at each of four sizes (a first count of 1 means one grouped convolution instead);
    64 * `scale` channels at first. Raises ValueError for sizes that do not fit together.
    """

    def __init__(self, dim: int = 512, blocks: Sequence[int] = (1, 4, 6, 2), scale: int = 2, size: int = 112) -> None:
        super().__init__()
        if size % SHRINK or size <= 0:
            raise ValueError(f"size {size} is not a multiple of {SHRINK} pixels")
        if len(blocks) != 4 or min(blocks) < 1 or sum(blocks) > MAX_BLOCKS:
            raise ValueError(f"blocks {tuple(blocks)} are not four counts of 1 or more, {MAX_BLOCKS} in all at most")
        if not 1 <= scale <= MAX_SCALE:
            raise ValueError(f"scale {scale} is not from 1 to {MAX_SCALE}")
        narrow, wide = 64 * scale, 128 * scale
        single = Unit(narrow, narrow, 3, padding=1, groups=64)
        self.layers = nn.ModuleList(
            [
                Unit(3, narrow, 3, 2, padding=1),
                single if blocks[0] == 1 else BottleneckStage(narrow, 128, blocks[0]),
                Bottleneck(narrow, narrow, 128, 2, False),
                BottleneckStage(narrow, 128, blocks[1]),
                Bottleneck(narrow, wide, 256, 2, False),
                BottleneckStage(wide, 256, blocks[2]),
                Bottleneck(wide, wide, 512, 2, False),
                BottleneckStage(wide, 256, blocks[3]),
            ]
        )
        self.conv_sep = Unit(wide, LAST)
        self.features = Head(dim, size // SHRINK)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            # On `meta` there is nothing to initialise, and to ask for it makes torch import its compiler, for seconds.
            if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for layer in self.layers:
            x = layer(x)
        with torch.autocast(images.device.type, enabled=False):
            return self.features(self.conv_sep(x.float()))


def mobilefacenet_shape(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the `MobileFaceNet` whose state dict `state` is. Raises ValueError where it is of none."""
    try:
        scale, rest = divmod(state["layers.0.layers.0.weight"].shape[0], 64)
        dim = state["features.layers.2.weight"].shape[0]
        side = state["features.layers.0.layers.0.weight"].shape[-1]
        counts = [
            len({key.split(".")[3] for key in state if key.startswith(f"layers.{index}.layers.")})
            for index in (3, 5, 7)
        ]
        # A stage has its bottlenecks below `layers`, the one convolution its weight.
        first = {key.split(".")[3] for key in state if key.startswith("layers.1.layers.") and key.count(".") > 4}
    except (KeyError, IndexError) as error:
        raise ValueError("its parameters are not named as InsightFace's MobileFaceNet names them") from error
    if rest:
        raise ValueError(f"its stem has {64 * scale + rest} channels, not a multiple of 64 as MobileFaceNet's")
    return {"dim": dim, "blocks": (len(first) or 1, *counts), "scale": scale, "size": side * SHRINK}
