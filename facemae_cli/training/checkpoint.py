"""A training run on disk, to go on from: weights, optimizer moments and counters in one safetensors file.

The file does not depend on the number of ranks or on the device it was written on.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facemae_cli.data.names import one_line
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.networks.weights import first_line

FILE = "checkpoint.safetensors"
# What a damaged file may raise on its way into a network and an optimizer.
_DAMAGE = (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, RecursionError, OverflowError)


@dataclass(frozen=True)
class Checkpoint:
    """`settings`: what must be equal for a run to go on; `state`: JSON-able counters and history; `learnt`: what is
    trained beside the network; `average`: of its weights, where one is kept."""

    settings: dict[str, Any]
    state: dict[str, Any]
    learnt: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, file: str = FILE) -> None:
        """Write the checkpoint whole or not at all, as `file` in the folder. Raises OutputError."""
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"objective.{name}": value for name, value in self.learnt.items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for number, moments in _moments(optimizer).items():
            tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        metadata = {"settings": json.dumps(self.settings, sort_keys=True), "state": json.dumps(self.state)}
        temporary = folder / (file + ".part")
        try:
            save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata)
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(folder / file)
        except (OSError, SafetensorError) as error:
            raise OutputError(f"{folder / file}: {error}; the last one stands: free space, then --resume") from None

    @classmethod
    def load(
        cls,
        folder: Path,
        settings: dict[str, Any],
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        file: str = FILE,
    ) -> Checkpoint:
        """Put a run's state, from `file` in its folder, back into `network` and `optimizer`; nothing on the disk
        changes, so that every rank may.

        Raises UsageError where there is none or where it was made with other settings (naming the first that
        differs), InputError where it is damaged.
        """
        path = folder / file
        if not path.is_file():
            raise UsageError(f"{folder} holds no {file}, so there is nothing to resume; run without --resume")
        try:
            with safe_open(path, framework="pt") as opened:
                metadata = opened.metadata() or {}
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            found, state = json.loads(metadata["settings"]), json.loads(metadata["state"])
            if not isinstance(found, dict) or not isinstance(state, dict) or not _are_lines(state.get("history", [])):
                raise ValueError("its settings, counters or history are of another form")
            if any(value.is_complex() for value in tensors.values()):  # cast to real with no more than a warning
                raise ValueError("it holds complex numbers")
        except (SafetensorError, OSError, *_DAMAGE) as error:
            raise InputError(
                f"{path}: not a checkpoint of a run ({shown(error)}); start again with --overwrite"
            ) from None
        _compare(path, found, settings)
        try:
            network.load_state_dict(_part(tensors, "network."), strict=True)
            _put_moments(optimizer, tensors)
        except _DAMAGE as error:
            raise InputError(f"{path}: not of this network ({shown(error)}); start again with --overwrite") from None
        return cls(found, state, _part(tensors, "objective."), _part(tensors, "average."))


def _are_lines(history: Any) -> bool:
    return isinstance(history, list) and all(isinstance(line, dict) for line in history)


def shown(error: BaseException) -> str:
    """What a library says of a file, which may quote it, on one line."""
    return one_line(first_line(error))


def _compare(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))  # tuples and the like as JSON has them
    for name in sorted(found.keys() | wanted.keys()):
        before, now = found.get(name), wanted.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            _compare(path, before, now)  # a recipe's field, not the whole recipe
        elif before != now:
            raise UsageError(
                f"{path}: made with {one_line(name)} {before!r}, this run says {now!r}; "
                "say the same to --resume, or start again with --overwrite"
            )


def _moments(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """The optimizer's tensors by the number of the parameter they belong to."""
    return {
        number: {name: torch.as_tensor(value) for name, value in moments.items()}
        for number, moments in optimizer.state_dict()["state"].items()
    }


def _put_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimizer.").items():
        place, moment = name.split(".", 1)
        state.setdefault(int(place), {})[moment] = value
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for number, moments in state.items():
        for moment, value in moments.items():
            if value.shape != (torch.Size() if moment == "step" else parameters[number].shape):
                raise ValueError(f"moments of another shape than parameter {number}")
    _require_moments(optimizer, state)
    for number, moments in state.items():
        like = parameters[number]
        for moment, value in moments.items():
            if value.dim():  # fused optimizers walk moments and weights in memory side by side
                moments[moment] = torch.empty_like(like, dtype=value.dtype).copy_(value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _require_moments(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, Tensor]]) -> None:
    """Raises ValueError unless all parameters have moments, those of a group the same ones, or none has any."""
    first = 0
    for group in optimizer.param_groups:
        count = len(group["params"])
        names = {frozenset(state.get(number, ())) for number in range(first, first + count)}
        if len(names) > 1 or (state and frozenset() in names):
            raise ValueError("moments of some parameters are missing")
        first += count


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
