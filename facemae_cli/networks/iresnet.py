"""The residual recognisers of the ArcFace paper (arXiv 1801.07698, section 3.2): r18, r34, r50, r100.

Parameter names and shapes are those of InsightFace's `iresnet`, so that its `backbone.pth` files load unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}
SHRINK = 16  # four stages of stride 2
MAX_BLOCKS = 400


class Block(nn.Module):
    """A pre-activated residual block: norm, convolution, norm, PReLU, convolution, norm; beside it the identity.

    (N, inputs, H, W) -> (N, outputs, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """(N, 3, size, size) normalised images -> (N, dim) float32 features; the last layer ignores autocast.

    `blocks` of each stage (see `DEPTHS`); `width` channels in the first stage and twice as many in each next one;
    `dropout` before the last layer. Raises ValueError for sizes that do not fit together.
    """

    def __init__(
        self, blocks: Sequence[int], dim: int = 512, dropout: float = 0.0, width: int = 64, size: int = 112
    ) -> None:
        super().__init__()
        if size % SHRINK or size <= 0:
            raise ValueError(f"size {size} is not a multiple of {SHRINK} pixels")
        if len(blocks) != 4 or min(blocks) < 1 or sum(blocks) > MAX_BLOCKS:
            raise ValueError(f"blocks {tuple(blocks)} are not four counts of 1 or more, {MAX_BLOCKS} in all at most")
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.layer1 = _stage(width, width, blocks[0])
        self.layer2 = _stage(width, 2 * width, blocks[1])
        self.layer3 = _stage(2 * width, 4 * width, blocks[2])
        self.layer4 = _stage(4 * width, 8 * width, blocks[3])
        self.bn2 = nn.BatchNorm2d(8 * width)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(8 * width * (size // SHRINK) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)
        nn.init.ones_(self.features.weight)
        self.features.weight.requires_grad_(False)  # the length of an embedding is the margin's business

    def forward(self, images: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(images.device.type, enabled=False):
            return self.features(self.fc(x.float()))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, 2), *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def iresnet_shape(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of the `IResNet` whose state dict `state` is. Raises ValueError where it is of none."""
    try:
        width = state["conv1.weight"].shape[0]
        dim, flat = state["fc.weight"].shape
        stages: list[set[str]] = [set(), set(), set(), set()]
        for key in state:
            if key.startswith("layer"):
                stage, block, _ = key.removeprefix("layer").split(".", 2)
                stages[int(stage) - 1].add(block)
        side = math.isqrt(flat // (8 * width))
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ValueError("its parameters are not named as InsightFace's iresnet names them") from error
    return {"blocks": tuple(map(len, stages)), "dim": dim, "width": width, "size": side * SHRINK}
