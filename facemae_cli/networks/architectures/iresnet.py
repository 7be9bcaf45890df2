"""The residual recognisers of the ArcFace paper (arXiv 1801.07698, section 3.2): r18, r34, r50, r100.

Parameter names and shapes are those of InsightFace's `iresnet`, so that its `backbone.pth` files load unchanged.
Thinner and shorter ones, for where there is no GPU, have the same blocks and names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from facemae_cli.networks.architectures.prelu import PReLU

DEPTHS = {"r18": (2, 2, 2, 2), "r34": (3, 4, 6, 3), "r50": (3, 4, 14, 3), "r100": (3, 13, 30, 3)}
MAX_STAGES = 8
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
        self.prelu = PReLU(outputs)
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

    `blocks` of each stage (see `DEPTHS`), each stage halving the sides; `width` channels in the stem and the first
    stage and twice as many in each next one, or `widths`, the channels of the stem and of every stage;
    `stem_stride` 2 halves the sides once more, before the stages; `dropout` before the last layer.
    Raises ValueError for sizes that do not fit together.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        dim: int = 512,
        dropout: float = 0.0,
        width: int = 64,
        size: int = 112,
        widths: Sequence[int] | None = None,
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        _check_blocks(blocks)
        stem, *stages = widths or (width, *(width << stage for stage in range(len(blocks))))
        if len(stages) != len(blocks):
            raise ValueError(
                f"widths {[stem, *stages]} are not one for the stem and one for each of {len(blocks)} stages"
            )
        shrink = _shrink(len(blocks), stem_stride)
        if size % shrink or size <= 0:
            raise ValueError(f"size {size} is not a multiple of {shrink} pixels")
        self.conv1 = nn.Conv2d(3, stem, 3, stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.prelu = PReLU(stem)
        self.stages = tuple(f"layer{stage}" for stage in range(1, len(blocks) + 1))
        for name, inputs, outputs, count in zip(self.stages, (stem, *stages), stages, blocks, strict=False):
            self.add_module(name, _stage(inputs, outputs, count))
        self.bn2 = nn.BatchNorm2d(stages[-1])
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(stages[-1] * (size // shrink) ** 2, dim)
        self.features = nn.BatchNorm1d(dim)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            # On `meta` there is nothing to initialise, and to ask for it makes torch import its compiler, for seconds.
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.normal_(module.weight, std=0.1)
        nn.init.ones_(self.features.weight)
        self.features.weight.requires_grad_(False)  # the length of an embedding is the margin's business

    def forward(self, images: Tensor) -> Tensor:
        x = self.prelu(self.bn1(self.conv1(images)))
        for stage in self.stages:
            x = getattr(self, stage)(x)
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(images.device.type, enabled=False):
            return self.features(self.fc(x.float()))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Block(inputs, outputs, 2), *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def _check_blocks(blocks: Sequence[int]) -> None:
    if not 1 <= len(blocks) <= MAX_STAGES or min(blocks) < 1 or sum(blocks) > MAX_BLOCKS:
        raise ValueError(
            f"blocks {tuple(blocks)} are not 1 to {MAX_STAGES} counts of 1 or more, {MAX_BLOCKS} in all at most"
        )


def _shrink(stages: int, stem_stride: int) -> int:
    """How many pixels of the image one of the last feature map stands for, a side."""
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride {stem_stride} is not 1 or 2")
    return stem_stride << stages


def iresnet_shape(state: Mapping[str, Tensor], stem_stride: int = 1) -> dict[str, Any]:
    """The arguments of the `IResNet` whose state dict `state` is; the stride of its stem does not show in it.

    Raises ValueError where it is of none.
    """
    try:
        dim, flat = state["fc.weight"].shape
        stages: dict[int, set[str]] = {}
        for key in state:
            if key.startswith("layer"):
                stage, block, _ = key.removeprefix("layer").split(".", 2)
                stages.setdefault(int(stage), set()).add(block)
        blocks = tuple(len(stages[stage]) for stage in range(1, len(stages) + 1))
        widths = [state["conv1.weight"].shape[0]]
        widths += [state[f"layer{stage}.0.conv2.weight"].shape[0] for stage in range(1, len(stages) + 1)]
        side = math.isqrt(flat // widths[-1])
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise ValueError("its parameters are not named as InsightFace's iresnet names them") from error
    size = side * _shrink(len(blocks), stem_stride)
    return {"blocks": blocks, "dim": dim, "widths": tuple(widths), "size": size, "stem_stride": stem_stride}
