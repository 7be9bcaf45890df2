"""From a model of the zoo to a network with its weights. Weights are checked name by name before they are used."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facemae_cli.card import Card, InputSpec, Model
from facemae_cli.errors import InputError
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.iresnet import DEPTHS, IResNet, iresnet_shape
from facemae_cli.networks.mae import MaskedAutoencoder
from facemae_cli.networks.onnx_graph import load_onnx

MAX_ARGUMENT = 2**16
# Where trainers put a network's state in a checkpoint, and what they wrap around its names.
NESTS = ("state_dict", "model_state_dict", "model", "backbone", "net", "network")
WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")
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
    with torch.device("meta"):
        _check_state(build_mae(model.card), state, model.weights)
    network = build_mae(model.card)
    network.load_state_dict(state)
    return network.eval().to(device)


def load_embedder(model: Model, device: torch.device | str = "cpu") -> Embedder:
    """The embedder of `model`, frozen, on `device`. Raises InputError where weights and card disagree."""
    if model.weights is None:
        raise InputError(f"{model.path}: the embedder has no weights")
    network, spec = _network(model, model.weights).eval(), model.card.input
    try:
        with torch.no_grad():
            sample = network(torch.zeros(1, 3, spec.size, spec.size))
    except BUILD_ERRORS as error:
        reason = _first_line(error)
        raise InputError(f"{model.weights}: does not run on an image of {spec.size} x {spec.size}: {reason}") from error
    if not isinstance(sample, Tensor) or sample.dim() != 2:
        raise InputError(f"{model.weights}: gives no features of shape (N, dim); it is no embedder")
    dim = sample.shape[1]
    if model.card.dim not in (None, dim):
        raise InputError(f"{model.weights}: the embedder gives {dim}-d features, its card says {model.card.dim}")
    return Embedder(network.to(memory_format=torch.channels_last), spec, dim).frozen().to(device)


def _network(model: Model, weights: Path) -> nn.Module:
    if weights.suffix == ".onnx":
        return load_onnx(weights, model.card.input.size)
    state = read_safetensors(weights) if weights.suffix == ".safetensors" else read_pickled(weights)
    arguments = dict(model.card.architecture or {})
    family = arguments.pop("network", "iresnet")
    if family == "timm":
        network = _timm(arguments, str(model.path))
        state = state if arguments.get("num_classes") else _without_head(network, state)
        _check_state(network, state, weights)
    elif family in ("iresnet", *DEPTHS):
        shape = _iresnet_arguments(model, state, family) | arguments
        with torch.device("meta"):  # so that a shape nobody could hold is found before it is allocated
            _check_state(_built(IResNet, shape, str(model.path)), state, weights)
        network = _built(IResNet, shape, str(model.path))
    else:
        known = ", ".join([*DEPTHS, "iresnet", "timm"])
        raise InputError(f"{model.path}: `architecture.network` is {family!r}; known are {known}")
    network.load_state_dict(state, strict=False)
    return network


def _iresnet_arguments(model: Model, state: Mapping[str, Tensor], family: str) -> dict[str, Any]:
    try:
        shape = iresnet_shape(state)
    except ValueError as error:
        if model.card.architecture is not None:
            raise InputError(f"{model.weights}: {error}") from error
        raise InputError(
            f"{model.weights}: {error}, and no card gives its `architecture`; write {model.path.stem}.yaml beside it"
        ) from error
    if family in DEPTHS and shape["blocks"] != DEPTHS[family]:
        raise InputError(f"{model.weights}: has {shape['blocks']} blocks a stage; {family} has {DEPTHS[family]}")
    if shape["size"] != model.card.input.size:
        raise InputError(
            f"{model.weights}: is for images of {shape['size']} pixels, its card says {model.card.input.size}"
        )
    return shape


def _timm(arguments: Mapping[str, Any], where: str) -> nn.Module:
    import timm

    arguments = dict(arguments)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or not timm.is_model(name):
        raise InputError(f"{where}: {name!r} is no model of timm {timm.__version__}; a newer timm may have it")
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
        if isinstance(value, int | float) and not abs(value) <= MAX_ARGUMENT:
            raise InputError(f"{where}: `architecture.{key}` is {value}; it must be at most {MAX_ARGUMENT}")
    try:
        return factory(**arguments)
    except BUILD_ERRORS as error:
        raise InputError(f"{where}: its `architecture` cannot be built: {_first_line(error)}") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError for anything else."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a safetensors file: {_first_line(error)}") from error


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The network's state in a `.pth` file of someone else's, its wrappings removed. No code in it is run.

    Raises InputError for what `torch.load(weights_only=True)` refuses and for what holds no state.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which is no news to who was given the file
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        raise InputError(f"{path}: not weights that are safe to read; only a plain state dict in a .pth is") from error
    for _ in NESTS:
        inner = next((found[key] for key in NESTS if key in found), None) if isinstance(found, dict) else None
        found = inner if isinstance(inner, Mapping) else found
    if not isinstance(found, Mapping) or not found or not all(isinstance(item, Tensor) for item in found.values()):
        raise InputError(f"{path}: holds no state dict, a mapping of names to tensors")
    state = {str(key): value for key, value in found.items()}
    while wrapper := next((w for w in WRAPPERS if all(key.startswith(w) for key in state)), None):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state


def _check_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError unless `state` has exactly the names and shapes of `network`, which may be on `meta`."""
    wanted = network.state_dict()
    # A count of training steps that no network computes with; older files lack it.
    needed = {key for key in wanted if not key.endswith("num_batches_tracked")}
    for what, keys in (("lacks", needed - state.keys()), ("has unknown", state.keys() - wanted.keys())):
        if keys:
            raise InputError(f"{path}: {what} {len(keys)} tensors, such as {min(keys)}; is it of this architecture?")
    for key in wanted.keys() & state.keys():
        if wanted[key].shape != state[key].shape:
            given, right = tuple(state[key].shape), tuple(wanted[key].shape)
            raise InputError(f"{path}: {key} has the shape {given}, its architecture wants {right}")
        if math.prod(state[key].shape) and not state[key].is_floating_point() and wanted[key].is_floating_point():
            raise InputError(f"{path}: {key} holds {state[key].dtype}, not numbers a network computes with")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
