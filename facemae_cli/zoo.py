"""The zoo: from what a person writes after `--model` or `--embedder` to a card and its weights."""

from __future__ import annotations

from pathlib import Path

from facemae_cli.card import CARD_NAME, WEIGHTS_NAME, Card, InputSpec, Model, load_card
from facemae_cli.errors import InputError, UsageError

WEIGHT_SUFFIXES = (".onnx", ".pth", ".pt", ".safetensors")
HUB_PREFIX = "hf-hub:"
ASSUMED = InputSpec(size=112, color="rgb", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def root() -> Path:
    """The folder of the bundled models: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).parent
    packaged = package / "models"
    return packaged if packaged.is_dir() else package.parent / "models"


def names() -> list[str]:
    """The names of the bundled models, sorted."""
    return sorted(path.parent.name for path in root().glob(f"*/{CARD_NAME}"))


def resolve(text: str, kind: str | None = None) -> Model:
    """The model that `text` names: a bundled NAME, a path, or hf-hub:owner/name.

    A bundled name wins over a folder of the same name (write `./NAME` for that). `kind` ("mae" or
    "embedder") is what the caller needs: another kind is a UsageError. Raises InputError for what is no model.
    """
    model = _find(text)
    if kind is not None and model.card.kind != kind:
        raise UsageError(f"{text} is a model of kind {model.card.kind}; one of kind {kind} is needed here")
    return model


def _find(text: str) -> Model:
    if text in names():
        return _from_folder(root() / text)
    path = Path(text)
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_file(path)
    raise UsageError(f"{text}: neither a path nor a model of the zoo; the zoo has {', '.join(names()) or 'none'}")


def _from_folder(folder: Path) -> Model:
    path = folder / CARD_NAME
    if not path.is_file():
        raise InputError(f"{folder}: not a model: no {CARD_NAME} in it")
    card = load_card(path)
    weights = folder / (card.weights or WEIGHTS_NAME)
    if not weights.is_file():
        if card.weights is not None:
            raise InputError(f"{path}: its weights {card.weights} are not in that folder")
        return Model(card.name or folder.resolve().name, card, folder)
    return Model(card.name or folder.resolve().name, card, folder, weights)


def _from_file(path: Path) -> Model:
    beside = path.with_suffix(".yaml")
    if not beside.is_file():
        return _assumed(path)
    card = load_card(beside)
    return Model(card.name or path.stem, card, path, path)


def _assumed(path: Path) -> Model:
    card = Card(kind="embedder", input=ASSUMED, assumed=True)
    return Model(path.stem, card, path, path, warning=f"{path}: no card; taken as InsightFace's convention")
