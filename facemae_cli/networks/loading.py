"""From a model of the zoo to a network with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facemae_cli.card import Card, Model
from facemae_cli.errors import InputError
from facemae_cli.networks.embedder import Embedder

if TYPE_CHECKING:
    from facemae_cli.networks.mae import MaskedAutoencoder


def build_mae(card: Card) -> MaskedAutoencoder:
    """The autoencoder a card describes, with fresh weights. Raises InputError for arguments it does not take."""
    from facemae_cli.networks.mae import MaskedAutoencoder

    try:
        return MaskedAutoencoder(**(card.architecture or {}))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise InputError(
            f"{card.name or 'card'}: `architecture` builds no autoencoder: {_first_line(error)}"
        ) from error


def load_mae(model: Model, device: torch.device | str = "cpu") -> MaskedAutoencoder:
    """The autoencoder of `model` with its weights, in float32 and evaluation mode. Raises InputError without weights."""
    if model.weights is None:
        raise InputError(f"{model.name} is an architecture without weights; `facemae fit --model {model.name}` fits it")
    network = build_mae(model.card)
    load_strictly(network, read_safetensors(model.weights), model.weights)
    return network.eval().to(device)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError for anything else."""
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: not a safetensors file: {_first_line(error)}") from error


def load_strictly(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Puts `state` into `network`, converting precision; every name and shape has to agree, else InputError."""
    wanted = network.state_dict()
    for what, keys in (("lacks", wanted.keys() - state.keys()), ("has unknown", state.keys() - wanted.keys())):
        if keys:
            raise InputError(f"{path}: {what} {len(keys)} tensors, such as {min(keys)}; is it for this architecture?")
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            given, needed = tuple(state[key].shape), tuple(tensor.shape)
            raise InputError(f"{path}: {key} has shape {given}, the architecture wants {needed}")
    network.load_state_dict(state)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def load_embedder(model: Model, device: torch.device | str = "cpu") -> Embedder:
    """The embedder of `model`, frozen, on `device`. Raises InputError where file and card disagree."""
    network = _network(model)
    spec = model.card.input
    with torch.no_grad():
        dim = int(network(torch.zeros(1, 3, spec.size, spec.size)).shape[1])
    if model.card.dim not in (None, dim):
        raise InputError(f"{model.path}: the embedder gives {dim}-d features, its card says {model.card.dim}")
    return Embedder(network, spec, dim).frozen().to(device)


def _network(model: Model) -> nn.Module:
    from facemae_cli.networks.onnx_graph import load_onnx

    if model.weights is None:
        raise InputError(f"{model.path}: the embedder has no weights")
    return load_onnx(model.weights, model.card.input.size)
