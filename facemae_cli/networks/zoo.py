"""The zoo: from what a person writes after `--model` or `--embedder` to a card and its weights.

Three forms, tried in this order: `hf-hub:owner/name`, the name of a bundled model, a path.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from facemae_cli.data.content import describe_content
from facemae_cli.errors import InputError, UsageError
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Card, InputSpec, Model, load_card
from facemae_cli.networks.onnx.parse import parse_onnx

WEIGHT_SUFFIXES = (".onnx", ".pth", ".pt", ".ckpt", ".pth.tar", ".safetensors")
HUB_PREFIX = "hf-hub:"
HUB_WEIGHTS = "model.safetensors"
HUB_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})(?:@([A-Za-z0-9_.-]{1,96}))?")
MAX_CONFIG_BYTES = 2**20
IMAGENET_CLASSES = 1000
# Bundled with their weights; the second had no teacher.
EMBEDDER, UNTAUGHT_EMBEDDER = "embedder-v1", "probe-v1"
# Of an audit that is given no others: the first is the stronger, the second shares no ancestor with any release.
ATTACKERS = (EMBEDDER, UNTAUGHT_EMBEDDER)
CARD_HELP = "kind, weights, input (size, color, mean, std) and dim"

INSIGHTFACE = InputSpec(size=112, color="rgb", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
# Some of InsightFace's graphs, converted from MXNet, take pixels from 0 to 255 and normalise them themselves.
INSIGHTFACE_RAW = InputSpec(size=112, color="rgb", mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))


def root() -> Path:
    """The folder of the bundled models: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "models"
    return packaged if packaged.is_dir() else package.parent / "models"


def names() -> list[str]:
    """The names of the bundled models, sorted."""
    return sorted(path.parent.name for path in root().glob(f"*/{CARD_NAME}"))


def bundled(sha256: str) -> Model | None:
    """The bundled model whose weights have this digest, if there is one."""
    models = (_from_folder(root() / name) for name in names())
    return next((model for model in models if model.weights is not None and model.digest == sha256), None)


def resolve(text: str, kind: str | None = None) -> Model:
    """The model that `text` names: hf-hub:owner/name, a bundled NAME, or a path.

    A path is a model folder, a weights file with or without its card beside it, or that card. A bundled name wins
    over a folder of the same name (`./NAME` is the folder). `kind` ("mae" or "embedder") is what the caller needs.
    Raises UsageError for an unknown name and for a model of another kind, InputError for what is not a model.
    """
    model = _find(text)
    if kind is not None and model.card.kind != kind:
        raise UsageError(f"{text} is a model of kind {model.card.kind}; one of kind {kind} is needed here")
    return model


def _find(text: str) -> Model:
    if text.startswith(HUB_PREFIX):
        return _from_hub(text)
    if text in names():
        return _from_folder(root() / text)
    path = Path(text)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path)
    if os.sep in text or path.name.endswith((*WEIGHT_SUFFIXES, ".yaml")):
        raise InputError(f"{text}: there is no such file or folder")
    raise UsageError(f"{text}: neither a path nor a model of the zoo; the zoo has {', '.join(names()) or 'none'}")


def _from_folder(folder: Path) -> Model:
    path = folder / CARD_NAME
    if not path.is_file():
        return _from_hub_folder(folder)
    return _beside(path, load_card(path), folder.resolve().name)


def _from_hub_folder(folder: Path) -> Model:
    """A timm model as it was downloaded from a hub: `config.json` and `model.safetensors`, without a card."""
    config, weights = folder / "config.json", folder / HUB_WEIGHTS
    if not config.is_file() or not weights.is_file():
        raise InputError(
            f"{folder}: not a model: there is no {CARD_NAME} in it, and no config.json with {HUB_WEIGHTS} as a hub has"
        )
    return Model(folder.resolve().name, timm_card(_config(config), str(folder)), folder, weights)


def _beside(path: Path, card: Card, name: str) -> Model:
    """The model of the card at `path`, whose weights lie beside it; without the default file it has none."""
    weights = path.parent / (card.weights or WEIGHTS_NAME)
    if weights.is_file():
        return Model(card.name or name, card, weights.parent if path.name == CARD_NAME else weights, weights)
    if card.weights is not None:
        raise InputError(f"{path}: its weights {card.weights} are not in that folder")
    if card.architecture is None:
        raise InputError(f"{path}: the embedder has no weights; put {WEIGHTS_NAME} beside its card")
    return Model(card.name or name, card, path.parent)


def _from_file(path: Path) -> Model:
    if path.suffix in (".yaml", ".yml"):
        return _beside(path, load_card(path), path.resolve().parent.name if path.name == CARD_NAME else path.stem)
    if not path.name.endswith(WEIGHT_SUFFIXES):
        raise InputError(
            f"{path}: not a model{describe_content(path)}; a model is a folder with a {CARD_NAME}, or "
            + ", ".join(WEIGHT_SUFFIXES)
        )
    beside = card_beside(path)
    if beside.is_file():
        card = load_card(beside)
        if card.weights not in (None, path.name):
            raise InputError(f"{beside}: the card is of {card.weights}, not of {path.name} beside it")
        return Model(card.name or beside.stem, card, path, path)
    if path.name == WEIGHTS_NAME and (path.parent / CARD_NAME).is_file():
        return _from_folder(path.parent)
    return _without_card(path)


def card_beside(weights: Path) -> Path:
    """Where the card of a file of weights is looked for: `X.yaml` for `X.pth` and for `X.pth.tar`."""
    suffix = next((each for each in WEIGHT_SUFFIXES if weights.name.endswith(each)), weights.suffix)
    return weights.with_name(weights.name.removesuffix(suffix) + ".yaml")


def _without_card(path: Path) -> Model:
    """InsightFace's convention, for the files InsightFace publishes; whether a .pth is one shows when it is loaded."""
    beside = card_beside(path)
    pickled = dict.fromkeys((".pth", ".pt", ".ckpt", ".tar"), lambda path: INSIGHTFACE)
    spec: dict[str, Callable[[Path], InputSpec]] = {".onnx": _onnx_convention, **pickled}
    if path.suffix not in spec:
        raise InputError(f"{path}: there is no card; write {beside.name} beside it with {CARD_HELP}")
    card = Card(kind="embedder", input=spec[path.suffix](path), assumed=True)
    warning = (
        f"{path} has no card: taken as InsightFace's convention (112 pixels, rgb, mean and std 0.5); "
        f"write {beside.name} beside it with {CARD_HELP}"
    )
    return Model(beside.stem, card, path, path, warning=warning)


def _onnx_convention(path: Path) -> InputSpec:
    graph = parse_onnx(path).graph
    stored = {item.name for item in graph.initializer}
    images = [item for item in graph.input if item.name not in stored][:1]
    sides = [side.dim_value for item in images for side in item.type.tensor_type.shape.dim]
    if sides[2:] != list(INSIGHTFACE.sides):
        raise InputError(
            f"{path}: there is no card, and it takes {sides or 'no images'}, not 112 x 112 pixels as InsightFace's do; "
            f"write {card_beside(path).name} beside it with {CARD_HELP}, the size as a side or as [height, width]"
        )
    first = {node.op_type for node in graph.node[:8]}
    return INSIGHTFACE_RAW if {"Sub", "Mul"} <= first else INSIGHTFACE


def _from_hub(text: str) -> Model:
    match = HUB_ID.fullmatch(text.removeprefix(HUB_PREFIX))
    if match is None or ".." in text:
        raise UsageError(
            f"{text}: no id of a hub; it has the form {HUB_PREFIX}owner/name or {HUB_PREFIX}owner/name@commit"
        )
    owner_name, revision = match.groups()
    path = _download(text, owner_name, CARD_NAME, revision, optional=True)
    if path is not None:
        card = load_card(path)
        wanted = card.weights or WEIGHTS_NAME
    else:
        path = _download(text, owner_name, "config.json", revision)
        assert path is not None
        card, wanted = timm_card(_config(path), text), HUB_WEIGHTS
    if not wanted.endswith(".safetensors"):
        raise InputError(f"{text}: its weights are {wanted}; from a hub only safetensors are taken")
    # All files come from one commit: the name of the cache's folder they lie in.
    weights = _download(text, owner_name, wanted, path.parent.name)
    if card.source is None:
        card = replace(card, source=f"{text}, commit {path.parent.name}")
    return Model(card.name or owner_name, card, path.parent, weights, path.parent.name)


def _download(text: str, repo: str, file: str, revision: str | None, optional: bool = False) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except EntryNotFoundError as error:
        if optional:
            return None
        raise InputError(f"{text}: no {file} there, or not in the cache while the hub is out of reach") from error
    except Exception as error:  # the client's own errors, and those of whatever transport it uses
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{text}: {file} cannot be fetched: {reason}") from error


def _config(path: Path) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        config = json.loads(data) if len(data) <= MAX_CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise InputError(f"{path}: not the configuration of a timm model")
    return config


def timm_card(config: Mapping[str, Any], where: str) -> Card:
    """The card of a timm model on a hub, from its `config.json`.

    The head is kept where it was trained to embed, and left off where it classifies: where the configuration names
    labels or has ImageNet's 1000 classes. Raises InputError for a configuration that does not say what is needed.
    """
    # Both forms that timm has written: settings beside `pretrained_cfg`, and all in one.
    settings = config.get("pretrained_cfg", config)
    name, arguments = config.get("architecture"), config.get("model_args") or {}
    if not isinstance(name, str) or not isinstance(settings, dict) or not isinstance(arguments, dict):
        raise InputError(f"{where}: its config.json names no timm architecture, and there is no {CARD_NAME}")
    sides = settings.get("input_size")
    if not isinstance(sides, list) or len(sides) != 3 or sides[0] != 3 or sides[1] != sides[2]:
        raise InputError(f"{where}: its config.json gives input_size {sides}, not three channels and a square")
    labels = any(part.get(key) for part in (config, settings) for key in ("label_names", "labels"))
    classes = config.get("num_classes", settings.get("num_classes", 0))
    kept = 0 if labels or classes == IMAGENET_CLASSES else classes
    try:
        spec = InputSpec(sides[1], "rgb", settings.get("mean", ()), settings.get("std", ()))
        return Card(
            kind="embedder",
            input=spec,
            architecture={"network": "timm", "name": name, "num_classes": kept, **arguments},
            license=settings.get("license"),
        )
    except InputError as error:
        raise InputError(f"{where}: config.json: {error}") from error
