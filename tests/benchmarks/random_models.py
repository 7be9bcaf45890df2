"""Embedders with random weights in the files that users have: speed does not depend on what was learnt."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from facemae_cli.networks.card import Card, Model, card_text
from facemae_cli.networks.export import save_onnx
from facemae_cli.networks.loading import build_embedder
from facemae_cli.networks.zoo import resolve


def random_network(card: Card) -> nn.Module:
    """The network of a card, the same at each call, in evaluation mode.

    No two of its vectors are equal, as in a trained one: an exporter would keep one of them, where readers look for
    both. Its convolutions keep the size of what goes through them, so that features stay within float32.
    """
    torch.manual_seed(0)
    network = build_embedder(card).eval().requires_grad_(False)
    for value in network.state_dict().values():
        if value.dim() == 4:
            value.normal_(std=(2 / value[0].numel()) ** 0.5)
        elif value.is_floating_point() and value.dim() <= 1:
            value.mul_(1 + 0.1 * torch.rand_like(value)).add_(0.01 * torch.rand_like(value))
    return network


def write_folder(card: Card, folder: Path) -> Model:
    """As `facemae train-recognizer` leaves it."""
    folder.mkdir()
    save_file(random_network(card).state_dict(), folder / "weights.safetensors")
    (folder / "model.yaml").write_text(card_text(card))
    return resolve(str(folder), "embedder")


def write_onnx(card: Card, path: Path) -> Model:
    """The same network as an `.onnx` with its card beside it."""
    save_onnx(random_network(card), card.input.size, path)
    path.with_suffix(".yaml").write_text(card_text(replace(card, architecture=None, recipe=None, weights=path.name)))
    return resolve(str(path), "embedder")


def as_a_user_loads(model: Model, card: Card) -> nn.Module:
    """The same weights as a frozen torch network: an `.onnx` by onnx2torch where that is installed."""
    if model.weights is not None and model.weights.suffix == ".onnx" and find_spec("onnx2torch"):
        from onnx2torch import convert

        return convert(str(model.weights)).eval().requires_grad_(False)
    return random_network(card)
