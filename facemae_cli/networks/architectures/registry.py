"""The recognisers' architectures by the name a card gives them: a new one is a module beside this and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from facemae_cli.networks.architectures.iresnet import DEPTHS, IResNet, iresnet_shape
from facemae_cli.networks.architectures.mobilefacenet import MobileFaceNet, mobilefacenet_shape
from facemae_cli.networks.architectures.vit import VisionTransformer, transformer_shape


@dataclass(frozen=True)
class Family:
    """How a kind of recogniser is built: from arguments, some fixed by its name, and those its weights show.

    `shape` gives the arguments that a state dict shows, given those of the card; a ValueError where it is of none.
    """

    factory: Callable[..., nn.Module]
    shape: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    fixed: Mapping[str, Any] = field(default_factory=dict)


def _iresnet(**fixed: Any) -> Family:
    return Family(IResNet, lambda state, card: iresnet_shape(state, card.get("stem_stride", 1)), fixed)


def _mobile(**fixed: Any) -> Family:
    return Family(MobileFaceNet, lambda state, card: mobilefacenet_shape(state), fixed)


def _transformer(**fixed: Any) -> Family:
    return Family(VisionTransformer, lambda state, card: transformer_shape(state), fixed)


# What `architecture.network` of an embedder's card may say, beside `timm`.
FAMILIES = {
    **{name: _iresnet(blocks=blocks) for name, blocks in DEPTHS.items()},
    "iresnet": _iresnet(),
    "mbf": _mobile(blocks=(1, 4, 6, 2), scale=2),
    "mobilefacenet": _mobile(),
    "vit_s": _transformer(patch=8, width=384, depth=12, heads=6),
    "vit": _transformer(),
}
# Those whose names of parameters others use: without a card, one of them is what a file of weights is of.
PUBLISHED = ("iresnet", "mobilefacenet")
