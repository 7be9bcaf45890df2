"""What can be checked of a command's options without torch, whose import takes seconds: their values, paths, and names
of models. The tasks look at all of it again, by the same functions, for those who call them from Python."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from facemae_cli.data.open import require_exists

DATASETS = ("input", "data", "original", "released", "non_members", "adapt", "trained_on")
PACKS = ("pairs",)
MAE, EMBEDDER = "mae", "embedder"
# What kind of model an option takes, by command.
MODELS = {
    "reconstruct": {"model": MAE},
    "demo": {"model": MAE},
    "fit": {"model": MAE, "init": MAE, "embedder": EMBEDDER},
    "train_recognizer": {"model": EMBEDDER, "init": EMBEDDER, "teacher": EMBEDDER},
    "verify": {"model": EMBEDDER},
    "leakage": {"attacker": EMBEDDER, "imitation_model": MAE},
}


def check_inputs(command: str, options: Mapping[str, Any]) -> None:
    """Raises what the task of `command` would raise, but at once: UsageError for a value that no data could make right
    and for the name of a model that there is not, or of the wrong kind; InputError where a file that the options come
    from, a dataset or a pack is not there.

    What is there is left to the task, and so is what stands on a hub.
    """
    if command not in MODELS:
        return  # loads no torch, and does this itself
    _check_machine(options)
    if command in VALUES:
        VALUES[command](options)
    for option in DATASETS:
        for path in _listed(options.get(option)):
            require_exists(path)
    for option in PACKS:
        missing = [path for path in _listed(options.get(option)) if not os.path.exists(path)]
        if missing:
            from facemae_cli.data.packs.source import open_packs

            open_packs(missing)
    from facemae_cli.networks.zoo import names, resolve

    bundled = names()
    for option, kind in MODELS[command].items():
        for text in _listed(options.get(option)):
            if text in bundled or not (text.startswith("hf-hub:") or os.path.exists(text)):
                resolve(text, kind)
    if command in RECIPES:
        _check_recipe(RECIPES[command], options, MODELS[command]["model"])
    if command == "reconstruct":
        from facemae_cli.data.output.output import check_output

        placed = {name: options[name] for name in ("overwrite", "resume")}
        check_output(options["out"], **placed, inputs=(options["input"],))


def _check_machine(options: Mapping[str, Any]) -> None:
    from facemae_cli.runtime import choices
    from facemae_cli.runtime.threads import thread_count

    thread_count(options.get("workers"))
    checks = (
        ("device", choices.check_device),
        ("precision", choices.check_precision),
        ("backend", choices.check_backend),
    )
    for name, check in checks:
        if name in options:
            check(options[name])
    if isinstance(options.get("batch_size"), str):
        choices.check_batch_size(options["batch_size"])


def _check_leakage(options: Mapping[str, Any]) -> None:
    from facemae_cli.evaluation.leakage.options import check_options

    check_options(options)


def _check_verify(options: Mapping[str, Any]) -> None:
    from facemae_cli.evaluation.verification.gates import check_options

    check_options(options)


def _check_reconstruct(options: Mapping[str, Any]) -> None:
    from facemae_cli.inference.released_writer import ReleasedWriter
    from facemae_cli.masking.mask_color import MaskColor, least_hidden

    color = options["mask_color"]
    MaskColor.parse(color or "000000", options["mask_tolerance"])
    least_hidden(options["min_hidden"], by_color=color is not None)
    ReleasedWriter(options["format"], options["quality"])


def _read_recipe(options: Mapping[str, Any]) -> None:
    from facemae_cli.training.recipes import read_recipe

    read_recipe(options["recipe"])


# What is looked at of an option's value, by command; whose recipe is checked with the card's, and by which class.
VALUES = {
    "leakage": _check_leakage,
    "verify": _check_verify,
    "reconstruct": _check_reconstruct,
    "fit": _read_recipe,
    "train_recognizer": _read_recipe,
}
RECIPES = {"fit": "FitRecipe", "train_recognizer": "RecognizerRecipe"}


def _check_recipe(name: str, options: Mapping[str, Any], kind: str) -> None:
    """Card, file and flags together, where the card is at hand."""
    from facemae_cli.networks.zoo import resolve
    from facemae_cli.training import recipes

    if options["model"].startswith("hf-hub:"):
        return
    recipe = getattr(recipes, name)
    flags = {field.name: options[field.name] for field in dataclasses.fields(recipe) if field.name in options}
    recipe.of(resolve(options["model"], kind).card.recipe, recipes.read_recipe(options["recipe"]), flags)


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
