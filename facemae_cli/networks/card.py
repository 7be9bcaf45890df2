"""A model's card: what `model.yaml` says about weights, checked, and the weights' identity.

Its keys are those of `Card`, of which `kind` and `input` must be there. A card may come from a stranger, so nothing in
it is trusted: its size is bounded, every key and type is checked, and `weights` may only name a file beside the card.
"""

from __future__ import annotations

import hashlib
import math
import os
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from facemae_cli.data.safe_yaml import load_mapping
from facemae_cli.errors import InputError

CARD_NAME = "model.yaml"
WEIGHTS_NAME = "weights.safetensors"
KINDS = ("mae", "embedder")
COLORS = ("rgb", "bgr")
MAX_CARD_BYTES = 2**18
MAX_SIDE = 4096
MAX_DIM = 2**16
_HEX = frozenset("0123456789abcdef")


def _refuse(key: str, value: object, wanted: str) -> InputError:
    return InputError(f"`{key}` is {reprlib.repr(value)}; it must be {wanted}")


def _whole(key: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _refuse(key, value, f"a whole number from {low} to {high}")
    return value


def _sides(value: object) -> int | tuple[int, int]:
    """One side of a square, or height and width."""
    if not isinstance(value, list | tuple):
        return _whole("input.size", value, 1, MAX_SIDE)
    if len(value) != 2:
        raise _refuse("input.size", value, "a side in pixels, or height and width")
    height, width = (_whole("input.size", side, 1, MAX_SIDE) for side in value)
    return height if height == width else (height, width)


def _triple(key: str, value: object, above: float) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise _refuse(key, value, "three numbers, one a colour channel in the order of `color`")
    if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
        raise _refuse(key, value, "three numbers, one a colour channel in the order of `color`")
    if any(not math.isfinite(item) or item <= above for item in value):
        raise _refuse(key, value, f"three finite numbers above {above:g}, on pixels scaled to [0, 1]")
    red, green, blue = (float(item) for item in value)
    return red, green, blue


def _text(key: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise _refuse(key, value, "text")


def _free(key: str, value: object) -> None:
    """Checks that a value of a free-form part of a card is plain: what JSON can say as well."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise _refuse(f"{key}.{name}", name, "a key that is text")
            _free(f"{key}.{name}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            _free(key, item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refuse(key, value, "a finite number")
    elif not (value is None or isinstance(value, str | bool | int | float)):
        raise _refuse(key, value, "text, a number, true, false, null, or a list or mapping of these")


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to be fed: RGB or BGR images normalised as `(x - mean) / std`, x in [0, 1].

    `size` is the side in pixels of a square image, or its height and width; `mean` and `std` are given in the order of
    `color`.
    """

    size: int | tuple[int, int]
    color: str = "rgb"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", _sides(self.size))
        if self.color not in COLORS:
            raise _refuse("input.color", self.color, " or ".join(COLORS))
        object.__setattr__(self, "mean", _triple("input.mean", self.mean, -math.inf))
        object.__setattr__(self, "std", _triple("input.std", self.std, 0.0))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def side(self) -> int:
        """The side of a square image. Raises InputError for another."""
        if isinstance(self.size, tuple):
            raise InputError(f"`input.size` is {self.pixels}; only an .onnx can take images that are not square")
        return self.size

    @property
    def pixels(self) -> str:
        """The sides in words: 112 x 96."""
        return " x ".join(map(str, self.sides))


@dataclass(frozen=True, kw_only=True)
class Card:
    """One model: how to feed it, how to build it, and where it comes from.

    `weights` names a file beside the card (None: an architecture without weights, or the default
    `weights.safetensors` where that lies in the folder). `lineage` lists the sha256 of every ancestor of the
    weights: those they started from, every teacher, and the lineages of these. `assumed` marks a card that
    nobody wrote. `paste_visible` says that a reconstruction keeps the visible patches (which releases real pixels).
    """

    kind: str
    input: InputSpec
    name: str | None = None
    weights: str | None = None
    dim: int | None = None
    architecture: Mapping[str, Any] | None = None
    paste_visible: bool = False
    recipe: Mapping[str, Any] | None = None
    results: Mapping[str, Any] | None = None
    source: str | None = None
    license: str | None = None
    data: Any = None
    lineage: tuple[str, ...] = ()
    notes: Any = None
    assumed: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise _refuse("kind", self.kind, " or ".join(KINDS))
        if not isinstance(self.input, InputSpec):
            raise _refuse("input", self.input, "a mapping of size, color, mean and std")
        for key in ("name", "source", "license"):
            _text(key, getattr(self, key))
        for key in ("paste_visible", "assumed"):
            if not isinstance(getattr(self, key), bool):
                raise _refuse(key, getattr(self, key), "true or false")
        for key in ("architecture", "recipe", "results"):
            if not isinstance(getattr(self, key), Mapping | None):
                raise _refuse(key, getattr(self, key), "a mapping")
            _free(key, getattr(self, key))
        _free("data", self.data)
        _free("notes", self.notes)
        self._check_weights()
        self._check_lineage()
        if self.dim is not None:
            _whole("dim", self.dim, 1, MAX_DIM)
        if self.kind == "mae" and self.dim is not None:
            raise _refuse("dim", self.dim, "left out of a mae's card: only an embedder has a dimension")
        if self.kind == "mae" and self.architecture is None:
            raise _refuse("architecture", None, "a mapping: the arguments the autoencoder is built from")

    def _check_weights(self) -> None:
        _text("weights", self.weights)
        name = self.weights
        if name is not None and (name != os.path.basename(name) or name in ("", ".", "..") or "\\" in name):
            raise _refuse("weights", name, "the name of a file beside the card, without a folder")

    def _check_lineage(self) -> None:
        if not isinstance(self.lineage, list | tuple):
            raise _refuse("lineage", self.lineage, "a list of sha256 values")
        for item in self.lineage:
            if not isinstance(item, str) or len(item) != 64 or not _HEX.issuperset(item):
                raise _refuse("lineage", item, "a list of sha256 values, 64 lower-case hex digits each")
        object.__setattr__(self, "lineage", tuple(self.lineage))


@dataclass(frozen=True)
class Model:
    """A card together with the place it was found in. `weights` is None for an architecture alone.

    `revision` is the commit of a model from a hub; `warning` is one line the caller should show, if any.
    """

    name: str
    card: Card
    path: Path
    weights: Path | None = None
    revision: str | None = None
    warning: str | None = None

    @property
    def run_folder(self) -> Path:
        """Where a run that trains it works by default."""
        return Path("runs") / self.name

    @cached_property
    def digest(self) -> str | None:
        """The sha256 of the weights' bytes, in hex; None without weights. Raises InputError if unreadable."""
        if self.weights is None:
            return None
        try:
            with open(self.weights, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.weights}: cannot be read: {error.strerror}") from error


def ancestors(model: Model) -> set[str]:
    """The sha256 of a model's weights and of all they descend from: what a child's `lineage` must list."""
    own = {model.digest} if model.digest else set()
    return own | set(model.card.lineage)


def lineage_of(parents: Iterable[Model | None]) -> tuple[str, ...]:
    """The `lineage` of a child of `parents`, teachers and starting weights alike; None stands for one there was not."""
    return tuple(sorted(set().union(*(ancestors(parent) for parent in parents if parent is not None))))


def _known(mapping: Mapping[Any, Any], cls: type, prefix: str = "") -> None:
    known = [field.name for field in fields(cls)]
    for key in mapping:
        if key not in known:
            said = reprlib.repr(key).strip("'")
            raise InputError(f"`{prefix}{said}` is not a key of a card; known are {', '.join(known)}")


def load_card(path: Path) -> Card:
    """The card in a YAML file, checked. Raises InputError naming the file and the key at fault."""
    try:
        raw = load_mapping(path, MAX_CARD_BYTES)
    except OSError as error:
        raise InputError(f"{path}: the card cannot be read: {error.strerror}") from error
    try:
        return _card(raw)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _card(raw: dict[Any, Any]) -> Card:
    _known(raw, Card)
    for key in ("kind", "input"):
        if key not in raw:
            raise InputError(f"`{key}` is missing")
    spec = raw["input"]
    if not isinstance(spec, dict):
        raise _refuse("input", spec, "a mapping of size, color, mean and std")
    _known(spec, InputSpec, "input.")
    for field in fields(InputSpec):
        if field.name not in spec:
            raise InputError(f"`input.{field.name}` is missing")
    return Card(**{**raw, "input": InputSpec(**spec), "lineage": raw.get("lineage") or ()})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def card_text(card: Card) -> str:
    """A card as YAML that `load_card` reads back equal: keys in the order of `Card`, defaults left out."""
    spec = {field.name: _plain(getattr(card.input, field.name)) for field in fields(InputSpec)}
    said: dict[str, Any] = {"kind": card.kind}
    for field in fields(Card)[2:]:
        if (value := getattr(card, field.name)) != field.default:
            said[field.name] = _plain(value)
        if field.name == "weights":
            said["input"] = spec
    return yaml.safe_dump(said, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110)
