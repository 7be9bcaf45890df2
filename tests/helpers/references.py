"""InsightFace's networks a second time: layers by dotted name, and what they compute written out, in evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor, nn


class Named(nn.Module):
    """A network from a flat list of dotted names; nothing but the names is nested, and nothing is drawn."""

    def put(self, name: str, layer: nn.Module) -> None:
        *parents, last = name.split(".")
        at: nn.Module = self
        for parent in parents:
            if parent not in at._modules:
                at.add_module(parent, nn.Module())
            at = at.get_submodule(parent)
        at.add_module(last, layer)

    def add_conv(self, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = 1 if kernel == 3 else 0
        with torch.device("meta"):
            self.put(name, nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))

    def add_norm(self, name: str, channels: int, flat: bool = False) -> None:
        with torch.device("meta"):
            self.put(name, nn.BatchNorm1d(channels) if flat else nn.BatchNorm2d(channels))

    def add_prelu(self, name: str, channels: int) -> None:
        with torch.device("meta"):
            self.put(name, nn.PReLU(channels))

    def add_linear(self, name: str, inputs: int, outputs: int, bias: bool) -> None:
        with torch.device("meta"):
            self.put(name, nn.Linear(inputs, outputs, bias=bias))

    def run(self, names: str, x: Tensor) -> Tensor:
        """`x` through the layers called so, one after the other."""
        for name in names.split():
            layer = self.get_submodule(name)
            if isinstance(layer, nn.Conv2d):
                x = torch.conv2d(x, layer.weight, None, layer.stride, layer.padding, 1, layer.groups)
            elif isinstance(layer, nn.PReLU):
                x = torch.where(x < 0, x * layer.weight.view(1, -1, 1, 1), x)
            elif isinstance(layer, nn.Linear):
                x = x @ layer.weight.t() + (0 if layer.bias is None else layer.bias)
            else:
                x = normed(x, layer)
        return x


def normed(x: Tensor, layer: nn.Module, eps: float = 1e-5) -> Tensor:
    """Batch norm in evaluation, written out."""
    sides = (1, -1) + (1,) * (x.dim() - 2)
    mean, var, weight, bias = (
        getattr(layer, name).view(sides) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + eps).sqrt() * weight + bias


def scrambled(network: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation, with weights and statistics drawn so that any two of them that change places show."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(name: str, shape: torch.Size) -> Tensor:
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if name.endswith("running_var"):
            return torch.empty(shape).uniform_(0.5, 2, generator=generator)
        if len(shape) > 1:
            return torch.empty(shape).normal_(std=shape[1:].numel() ** -0.5, generator=generator)
        low, high = (-0.1, 0.2) if name.endswith(("bias", "running_mean")) else (0.2, 1.5)
        return torch.empty(shape).uniform_(low, high, generator=generator)

    state = {name: drawn(name, value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(state, assign=True)
    return network.eval()


class ResNet(Named):
    """iresnet of arcface_torch, `width` 64 there: (N, 3, 112, 112) -> (N, 512)."""

    def __init__(self, blocks: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.add_conv("conv1", 3, width, 3)
        self.add_norm("bn1", width)
        self.add_prelu("prelu", width)
        self.paths: list[tuple[str, bool]] = []
        inputs, widths = width, [width << stage for stage in range(4)]
        for stage, (count, outputs) in enumerate(zip(blocks, widths, strict=True), 1):
            for index in range(count):
                self._block(f"layer{stage}.{index}", inputs, outputs, first=index == 0)
                inputs = outputs
        self.add_norm("bn2", 8 * width)
        self.add_linear("fc", 8 * width * 7 * 7, 512, bias=True)
        self.add_norm("features", 512, flat=True)

    def _block(self, path: str, inputs: int, outputs: int, first: bool) -> None:
        self.add_norm(f"{path}.bn1", inputs)
        self.add_conv(f"{path}.conv1", inputs, outputs, 3)
        self.add_norm(f"{path}.bn2", outputs)
        self.add_prelu(f"{path}.prelu", outputs)
        self.add_conv(f"{path}.conv2", outputs, outputs, 3, 2 if first else 1)
        self.add_norm(f"{path}.bn3", outputs)
        if first:
            self.add_conv(f"{path}.downsample.0", inputs, outputs, 1, 2)
            self.add_norm(f"{path}.downsample.1", outputs)
        self.paths.append((path, first))

    def forward(self, images: Tensor) -> Tensor:
        x = self.run("conv1 bn1 prelu", images)
        for path, first in self.paths:
            y = self.run(" ".join(f"{path}.{name}" for name in ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")), x)
            x = y + (self.run(f"{path}.downsample.0 {path}.downsample.1", x) if first else x)
        return self.run("fc features", self.run("bn2", x).reshape(len(x), -1))


class MobileFaceNet(Named):
    """mbf and mbf_large of arcface_torch: (N, 3, 112, 112) -> (N, 512)."""

    def __init__(self, blocks: Sequence[int], scale: int) -> None:
        super().__init__()
        a, b = 64 * scale, 128 * scale
        self.order: list[tuple[str, bool]] = []
        self._unit("layers.0", 3, a, 3, 2)
        if blocks[0] == 1:
            self._unit("layers.1", a, a, 3, 1, groups=64)
        else:
            self._stage("layers.1", a, 128, blocks[0])
        self._bottleneck("layers.2", a, a, 128, 2)
        self._stage("layers.3", a, 128, blocks[1])
        self._bottleneck("layers.4", a, b, 256, 2)
        self._stage("layers.5", b, 256, blocks[2])
        self._bottleneck("layers.6", b, b, 512, 2)
        self._stage("layers.7", b, 256, blocks[3])
        self._unit("conv_sep", b, 512, 1)
        self._unit("features.layers.0", 512, 512, 7, groups=512, linear=True)
        self.add_linear("features.layers.2", 512, 512, bias=False)
        self.add_norm("features.layers.3", 512, flat=True)

    def _unit(
        self, path: str, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        self.add_conv(f"{path}.layers.0", inputs, outputs, kernel, stride, groups)
        self.add_norm(f"{path}.layers.1", outputs)
        if not linear:
            self.add_prelu(f"{path}.layers.2", outputs)
        if path.count(".") < 2 and path != "conv_sep":
            self.order.append((" ".join(f"{path}.layers.{index}" for index in (0, 1, 2)), False))

    def _bottleneck(self, path: str, inputs: int, outputs: int, hidden: int, stride: int, adds: bool = False) -> None:
        self._unit(f"{path}.layers.0", inputs, hidden, 1)
        self._unit(f"{path}.layers.1", hidden, hidden, 3, stride, groups=hidden)
        self._unit(f"{path}.layers.2", hidden, outputs, 1, linear=True)
        parts = ("0.layers.0", "0.layers.1", "0.layers.2", "1.layers.0", "1.layers.1", "1.layers.2")
        self.order.append((" ".join(f"{path}.layers.{part}" for part in (*parts, "2.layers.0", "2.layers.1")), adds))

    def _stage(self, path: str, channels: int, hidden: int, count: int) -> None:
        for index in range(count):
            self._bottleneck(f"{path}.layers.{index}", channels, channels, hidden, 1, adds=True)

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for names, adds in self.order:
            x = self.run(names, x) + (x if adds else 0)
        x = self.run("conv_sep.layers.0 conv_sep.layers.1 conv_sep.layers.2", x)
        x = self.run("features.layers.0.layers.0 features.layers.0.layers.1", x).reshape(len(x), 512)
        return self.run("features.layers.2 features.layers.3", x)


@cache
def r50() -> nn.Module:
    """The reference of r50, scrambled; made once for all tests, which leave it as it is."""
    return scrambled(ResNet((3, 4, 14, 3)))


def faces(count: int = 2, size: int = 112) -> Tensor:
    """(count, 3, size, size) in [-1, 1]."""
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def assert_same_embeddings(got: Tensor, wanted: Tensor, within: float = 1e-5) -> None:
    """Equal directions and equal lengths, and features that differ between faces."""
    unit, other = (torch.nn.functional.normalize(value.double()) for value in (got, wanted))
    torch.testing.assert_close(unit, other, rtol=0, atol=within)
    torch.testing.assert_close(got.norm(dim=1), wanted.norm(dim=1), rtol=within, atol=0)
    assert len(wanted) < 2 or float((other[0] - other[1]).norm()) > 0.01
