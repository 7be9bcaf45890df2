"""Files of weights as plain tensors by name, and whether these are the ones a network has. No code in them is run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from facemae_cli.data.content import SAFETENSORS, content_of, describe_content, unpacks_to
from facemae_cli.data.names import one_line
from facemae_cli.data.reading import unreadable
from facemae_cli.errors import InputError

# Where trainers put a network's state in a checkpoint, and what they wrap around its names.
NESTS = ("state_dict", "model_state_dict", "state_dict_backbone", "model", "backbone", "net", "network")
WRAPPERS = ("module.", "_orig_mod.", "backbone.", "model.")


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or pickled (`.pth`, `.pt`, `.ckpt`, `.pth.tar`) file by name.

    Raises InputError for anything else.
    """
    plain = path.suffix == ".safetensors" or content_of(path) == SAFETENSORS
    return read_safetensors(path) if plain else read_pickled(path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises InputError for anything else."""
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = describe_content(path) or f": {one_line(first_line(error))}"
        raise InputError(f"{path}: not a safetensors file{reason}") from error


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The network's state in a `.pth` file of someone else's, its wrappings removed. No code in it is run.

    Raises InputError for what `torch.load(weights_only=True)` refuses, for an archive that unpacks to more than torch
    would have written, and for what holds no state.
    """
    _refuse_bomb(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which is no news to who was given the file
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        raise InputError(
            f"{path}: not weights that are safe to read{describe_content(path)}; only a plain state dict, as in a "
            ".pth, is"
        ) from error
    for _ in NESTS:
        inner = next((found[key] for key in NESTS if key in found), None) if isinstance(found, dict) else None
        found = inner if isinstance(inner, Mapping) else found
    if not isinstance(found, Mapping) or not found or not all(isinstance(item, Tensor) for item in found.values()):
        raise InputError(f"{path}: holds no state dict, a mapping of names to tensors")
    state = {str(key): value for key, value in found.items()}
    while wrapper := next((w for w in WRAPPERS if all(key.startswith(w) for key in state)), None):
        state = {key.removeprefix(wrapper): value for key, value in state.items()}
    return state


def _refuse_bomb(path: Path) -> None:
    """torch stores tensors as they are: what unpacks to more than the file was made to fill the memory."""
    try:
        size = unpacks_to(path)
    except OSError as error:
        raise unreadable(path, error, "make it readable") from error
    if size is not None:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes that unpack to {size}, and torch compresses nothing; it is not read, "
            "save the weights again"
        )


def check_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Raises InputError unless `state` has exactly the names and shapes of `network`, which may be on `meta`."""
    wanted = network.state_dict()
    # A count of training steps that no network computes with; older files lack it.
    needed = {key for key in wanted if not key.endswith("num_batches_tracked")}
    for what, keys in (("lacks", needed - state.keys()), ("has unknown", state.keys() - wanted.keys())):
        if keys:
            said = f"{what} {len(keys)} tensors, such as {one_line(min(keys))}"
            raise InputError(f"{path}: {said}; is it of this architecture?")
    for key in wanted.keys() & state.keys():
        if wanted[key].shape != state[key].shape:
            given, right = tuple(state[key].shape), tuple(wanted[key].shape)
            raise InputError(f"{path}: {key} has the shape {given}, its architecture wants {right}")
        if state[key].untyped_storage().nbytes() < state[key].nbytes:  # one number, said to be many
            raise InputError(f"{path}: {key} has fewer numbers in the file than its shape {tuple(state[key].shape)}")
        if math.prod(state[key].shape) and not state[key].is_floating_point() and wanted[key].is_floating_point():
            raise InputError(f"{path}: {key} holds {state[key].dtype}, not numbers a network computes with")


def first_line(error: BaseException) -> str:
    """What an error of a library says, cut to one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
