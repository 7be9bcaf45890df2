"""Inputs for the three readers of safetensors: a model's weights, kept features, a run's checkpoint.

A file is `u64 size, JSON header of that size, numbers`; a header gives each tensor's dtype, shape and place.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from random import Random
from typing import Any

import numpy as np
import torch
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, change_value, nudged, number
from safetensors.torch import save

from facemae_cli.inference import feature_cache
from facemae_cli.networks.weights import check_state, read_state
from facemae_cli.runtime.progress import Silent
from facemae_cli.training.checkpoint import FILE, Checkpoint

_DTYPES = (
    *(
        "BOOL",
        "U8",
        "I8",
        "I16",
        "U16",
        "I32",
        "U32",
        "I64",
        "U64",
        "F16",
        "BF16",
        "F32",
        "F64",
        "C64",
        "F8_E4M3",
        "F8_E5M2",
    ),
    *("F8_E8M0", "F4", "F6_E2M3", "f32", "X"),
)
_SETTINGS = {"lr": 0.1, "epochs": 2}
_NAMES = (
    "network.weight",
    "optimizer.0.exp_avg",
    "optimizer.x",
    "optimizer.9.step",
    "optimizer.1.é",
    "features",
    "valid",
)
_JSON = (json.dumps(_SETTINGS), "[]", "{}", "null", '{"history": 3}', '{"history": [{}]}', '{"step": 1}')
_WORDS = (
    "dtype",
    "shape",
    "data_offsets",
    "__metadata__",
    "weight",
    "bias",
    "settings",
    "state",
    *_DTYPES,
    *_NAMES,
    *_JSON,
)
_LISTS = ([0, 8], [0, 0], [2**62, 4], [0], [2, 2], [8, 0], [8])
_SIDES = (0, 1, 2, 3, 4, 6, 2**31, 2**62, 2**63, 2**64)


class _Ears(Silent):
    """Hears what the reader of features says."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, line: str) -> None:
        self.notices.append(line)


@cache
def _network() -> torch.nn.Linear:
    """A network of six numbers."""
    return torch.nn.Linear(2, 2)


@cache
def _run() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
    """The network and its optimizer after a step."""
    network = _network()
    optimizer = torch.optim.AdamW(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return network, optimizer


@cache
def _weights() -> list[bytes]:
    state = _network().state_dict()
    others = {
        "a": torch.zeros(3, dtype=torch.bfloat16),
        "b": torch.tensor(1),
        "c": torch.zeros(0, 4),
        "d": torch.ones(2) > 0,
    }
    return [save(state), save({"module." + key: value for key, value in state.items()}, {"format": "pt"}), save(others)]


@cache
def _features() -> list[bytes]:
    path = scratch() / "seed.safetensors"
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    feature_cache.save(path, rows, np.array([True, False]), 1)
    first = path.read_bytes()
    feature_cache.save(path, rows[:1], np.array([True]), 0)
    return [first, path.read_bytes()]


@cache
def _checkpoints() -> list[bytes]:
    network, optimizer = _run()
    folder = scratch() / "seed"
    folder.mkdir(exist_ok=True)
    seeds = []
    for state, learnt in (({"step": 4, "history": [{"loss": 0.5}]}, {}), ({}, {"centres": torch.ones(2, 3)})):
        Checkpoint(_SETTINGS, state, learnt).save(folder, network, optimizer)
        seeds.append((folder / FILE).read_bytes())
    return seeds


@lru_cache(1024)
def _header(data: bytes) -> tuple[Any, bytes]:
    """The header and the numbers; None for a header that is no JSON."""
    size = int.from_bytes(data[:8], "little")
    try:
        return json.loads(data[8 : 8 + size]) if data.count(b"[") < 60 else None, data[8 + size :]
    except (ValueError, RecursionError):
        return None, data[8:]


def _whole(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + numbers


def _edit_value(random: Random, data: bytes) -> bytes:
    header, numbers = _header(data)
    return data if header is None else _whole(change_value(random, header, (*_WORDS, *_LISTS)), numbers)


def _edit_tensor(random: Random, data: bytes) -> bytes:
    """Another dtype, shape or place of a tensor, such that the rest still holds together or not."""
    header, numbers = _header(data)
    tensors = [key for key, value in header.items() if key != "__metadata__"] if isinstance(header, dict) else []
    if not tensors or not isinstance(header[tensors[0]], dict):
        return data
    header = json.loads(json.dumps(header))
    key = random.choice(tensors)
    entry = header[key] if isinstance(header[key], dict) else {}
    kind = random.randrange(6)
    if kind == 0:
        entry["dtype"] = random.choice(_DTYPES)
    elif kind == 1:
        entry["shape"] = [
            random.choice((0, 1, 2, 3, 4, 6, 2**31, 2**62, 2**63, 2**64)) for _ in range(random.randrange(4))
        ]
    elif kind == 2 and isinstance(entry.get("shape"), list):
        entry["shape"] = [*entry["shape"][::-1], *([1] * random.randrange(3))]
    elif kind == 3:
        entry["data_offsets"] = [
            nudged(random, int(at) & 0xFFFF, 64) for at in random.choice(([0, 8], [0, 0], [8, 0], [8]))
        ]
    elif kind == 4:
        header[random.choice(_NAMES)] = header.pop(key)
    else:
        return _whole({**header, key + "2": entry}, numbers)
    return _whole(header, numbers)


def _edit_metadata(random: Random, data: bytes) -> bytes:
    """Another text of the metadata, which a checkpoint keeps JSON in."""
    header, numbers = _header(data)
    said = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(said, dict) or not said:
        return _edit_value(random, data)
    key = random.choice(list(said))
    try:
        tree = json.loads(said[key]) if len(said[key]) < 500 else {}
        inner = json.dumps(change_value(random, tree, ("history", "lr", 4, [{}])))
    except (ValueError, TypeError, RecursionError):
        inner = random.choice(("[" * 5000, "9" * 5000, "1e999", "{}", '"\\ud800"'))
    return _whole({**header, "__metadata__": {**said, key: inner}}, numbers)


def _edit_size(random: Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], "little")
    return struct.pack("<Q", nudged(random, size, 64)) + data[8:]


def _edit_numbers(random: Random, data: bytes) -> bytes:
    header, numbers = _header(data)
    cut = random.randrange(len(numbers) + 1)
    return _whole(
        header, random.choice((numbers[:cut], numbers + bytes(cut), b"\xff" * len(numbers), bytes(number(random, 9))))
    )


_EDITS = (
    _edit_tensor,
    _edit_tensor,
    _edit_tensor,
    _edit_value,
    _edit_metadata,
    _edit_metadata,
    _edit_size,
    _edit_numbers,
)


def _change(random: Random, pool: Sequence[bytes]) -> bytes:
    data = random.choice(pool)
    return data if random.random() < 0.08 else apply(random, data, _EDITS, 0.05)


def _change_features(random: Random, pool: Sequence[bytes]) -> bytes:
    """As `_change`, and for one in two the checksum made right, which would else be all that is looked at."""
    data = _change(random, pool)
    if random.random() < 0.5:
        with suppress(Exception):  # what cannot be read has no checksum
            found = feature_cache.unpack(data)
            told = feature_cache._checksum(found["features"], found["valid"], found["resized"])
            return feature_cache.pack({**found, "sha256": np.frombuffer(told, np.uint8)})
    return data


def _read_weights(data: bytes) -> Reading:
    path = scratch() / "weights.safetensors"
    path.write_bytes(data)
    state = read_state(path)
    features = (len(state), *sorted({str(value.dtype) for value in state.values()}))
    check_state(_network(), state, path)
    return Reading(features)


def _read_features(data: bytes) -> Reading:
    path = scratch() / "features.safetensors"
    path.write_bytes(data)
    ears = _Ears()
    kept = feature_cache.load(path, (2, 3), ears)
    if kept is None:
        assert len(ears.notices) == 1, "a damaged file is told once"
        return Reading(refused="embedded again")
    features, valid, resized = kept
    assert (features.shape, features.dtype, valid.shape, valid.dtype) == ((2, 3), np.float32, (2,), np.bool_)
    return Reading((bool(resized), bool(valid.all())))


def _read_checkpoint(data: bytes) -> Reading:
    folder = scratch() / "run"
    folder.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(data)
    found = Checkpoint.load(folder, _SETTINGS, *_run())
    assert found.settings == _SETTINGS
    return Reading((len(found.learnt), min(len(found.state), 3)))


TARGETS = [
    Target("weights", 1_000_000, _weights, _change, _read_weights),
    Target("features", 1_000_000, _features, _change_features, _read_features),
    Target("checkpoint", 1_000_000, _checkpoints, _change, _read_checkpoint),
]
