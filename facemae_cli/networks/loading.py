"""From a model of the zoo to a network with its weights. Weights are checked name by name before they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from facemae_cli.errors import InputError
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.architectures.registry import FAMILIES, PUBLISHED, Family
from facemae_cli.networks.card import CARD_NAME, Card, InputSpec, Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.onnx.graph import load_onnx
from facemae_cli.networks.weights import check_state, first_line, read_safetensors, read_state
from facemae_cli.networks.zoo import card_beside

MAX_ARGUMENT = 2**16
# Arguments of timm.create_model that read files or change what comes out; no published configuration needs them.
FORBIDDEN = frozenset(
    ["pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "features_only"]
)
BUILD_ERRORS = (TypeError, ValueError, AssertionError, RuntimeError, KeyError, AttributeError, ZeroDivisionError)


def build_mae(card: Card) -> MaskedAutoencoder:
    """The autoencoder a card describes, with fresh weights. Raises InputError for what it cannot be."""
    where = card.name or "the card"
    network: MaskedAutoencoder = _built(MaskedAutoencoder, card.architecture or {}, where)
    if card.input != InputSpec(network.size):
        raise InputError(
            f"{where}: `input` is {card.input}; an autoencoder of `architecture.size` {network.size} takes that size, "
            "rgb, with mean and std 0.5"
        )
    return network


def load_mae(model: Model, device: torch.device | str = "cpu") -> MaskedAutoencoder:
    """The autoencoder of `model` with its weights, float32, in evaluation mode. Raises InputError without weights."""
    if model.weights is None:
        raise InputError(f"{model.name} is an architecture without weights; `facemae fit --model {model.name}` fits it")
    state = read_safetensors(model.weights)
    with torch.device("meta"):  # as below
        network = build_mae(model.card)
    check_state(network, state, model.weights)
    network.load_state_dict(_filled(network, state), assign=True)
    return network.eval().to(device)


def build_embedder(card: Card, dim: int | None = None) -> nn.Module:
    """The network an embedder's card describes, with fresh weights, float32, in training mode.

    It takes (N, 3, size, size) images normalised as `card.input` says and gives (N, dim) features; `dim` wins over
    the card's. Raises InputError for an `architecture` that is missing or cannot be built.
    """
    where = card.name or "the card"
    arguments = dict(card.architecture or {})
    name = arguments.pop("network", None)
    if name == "timm":
        if dim not in (None, arguments.get("num_classes")):
            raise InputError(f"{where}: a timm network has as many dimensions as `num_classes` says, not {dim}")
        return _timm(arguments, where)
    family = _family(name, where)
    said = _together(card, family, arguments, where)
    return _built(family.factory, said | ({"dim": dim or card.dim} if dim or card.dim else {}), where)


def load_embedder(model: Model, device: torch.device | str = "cpu") -> Embedder:
    """The embedder of `model`, frozen, on `device`. Raises InputError where weights and card disagree."""
    if model.weights is None:
        raise InputError(
            f"{model.name} is an architecture without weights; "
            f"`facemae train-recognizer --model {model.name}` trains it"
        )
    network, spec = _network(model, model.weights).eval(), model.card.input
    try:
        with torch.no_grad():
            sample = network(torch.zeros(1, 3, *spec.sides))
    except BUILD_ERRORS as error:
        reason = first_line(error)
        raise InputError(f"{model.weights}: does not run on an image of {spec.pixels}: {reason}") from error
    if not isinstance(sample, Tensor) or sample.dim() != 2:
        raise InputError(f"{model.weights}: gives no features of shape (N, dim); it is not an embedder")
    dim = sample.shape[1]
    if model.card.dim not in (None, dim):
        raise InputError(f"{model.weights}: the embedder gives {dim}-d features, its card says {model.card.dim}")
    return Embedder(network.to(memory_format=torch.channels_last), spec, dim).frozen().to(device)


def _network(model: Model, weights: Path) -> nn.Module:
    if weights.suffix == ".onnx":
        return load_onnx(weights, model.card.input.sides)
    state, where = read_state(weights), str(model.path)
    arguments = dict(model.card.architecture or {})
    name = arguments.pop("network", None)
    if name == "timm":
        network = _timm(arguments, where)
        state = state if arguments.get("num_classes") else _without_head(network, state)
        check_state(network, state, weights)
    else:
        family, shape = _shown(name, state, arguments, model)
        said = _together(model.card, family, arguments, where)
        _compare(said, shape, weights)
        with torch.device("meta"):  # so that a shape nobody could hold is found before it is allocated
            network = _built(family.factory, said | shape, where)
        check_state(network, state, weights)
        network.load_state_dict(_filled(network, state), assign=True)  # so that no weight is made only to be replaced
        return network
    network.load_state_dict(state, strict=False)
    return network


def _filled(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` in the network's types; the counts of training steps, all that may be missing in it, are 0."""
    return {
        key: state[key].to(value.dtype) if key in state else torch.zeros(value.shape, dtype=value.dtype)
        for key, value in network.state_dict().items()
    }


def _shown(
    name: object, state: Mapping[str, Tensor], arguments: Mapping[str, Any], model: Model
) -> tuple[Family, dict[str, Any]]:
    """What the weights are of: the family called `name`, or the published one whose names they have."""
    if name is not None:
        family = _family(name, str(model.path))
        try:
            return family, family.shape(state, arguments)
        except ValueError as error:
            raise InputError(f"{model.weights}: {error}") from error
    for known in PUBLISHED:
        with suppress(ValueError):
            return FAMILIES[known], FAMILIES[known].shape(state, arguments)
    card = model.path / CARD_NAME if model.path.is_dir() else card_beside(model.path)
    raise InputError(
        f"{model.weights}: its parameters are not named as InsightFace's iresnet or MobileFaceNet names them, and no "
        f"card gives its `architecture`; {'add it to' if card.is_file() else 'write'} {card.name} beside it"
    )


def _compare(said: Mapping[str, Any], shown: Mapping[str, Any], weights: Path) -> None:
    """Raises InputError where the weights are of another shape than the card says."""
    for key in said.keys() & shown.keys():
        value = tuple(said[key]) if isinstance(said[key], list) else said[key]
        if value != shown[key]:
            raise InputError(f"{weights}: was made with {key} {shown[key]}, its card says {said[key]}")


def _family(name: object, where: str) -> Family:
    if not isinstance(name, str) or name not in FAMILIES:
        raise InputError(f"{where}: `architecture.network` is {name!r}; known are {', '.join([*FAMILIES, 'timm'])}")
    return FAMILIES[name]


def _together(card: Card, family: Family, arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All a card says; raises InputError where `architecture` repeats what another key or the network's name says."""
    elsewhere = {**family.fixed, "size": card.input.side}
    if twice := sorted((elsewhere.keys() | {"dim"}) & arguments.keys()):
        raise InputError(f"{where}: `architecture.{twice[0]}` is given by the rest of the card; leave it out")
    return {**elsewhere, **arguments}


def _timm(arguments: Mapping[str, Any], where: str) -> nn.Module:
    import timm

    arguments = dict(arguments)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or not timm.is_model(name):
        raise InputError(f"{where}: {name!r} is not a model of timm {timm.__version__}; a newer timm may have it")
    if refused := FORBIDDEN & arguments.keys():
        raise InputError(f"{where}: `architecture.{min(refused)}` is not allowed there; leave it out")
    return _built(lambda **rest: timm.create_model(name, pretrained=False, **rest), arguments, where)


def _without_head(network: Any, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A timm model's state without its classifier, whose name or names timm keeps in the model's configuration."""
    heads = network.pretrained_cfg.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    return {key: value for key, value in state.items() if not key.startswith(prefixes)}


def _built(factory: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> Any:
    for key, value in arguments.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, int | float) and not abs(item) <= MAX_ARGUMENT:
                raise InputError(f"{where}: `architecture.{key}` is {item}; it must be at most {MAX_ARGUMENT}")
    try:
        return factory(**arguments)
    except BUILD_ERRORS as error:
        raise InputError(f"{where}: its `architecture` cannot be built: {first_line(error)}") from error
