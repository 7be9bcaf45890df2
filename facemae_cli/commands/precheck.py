"""What can be checked of a command's options without torch, whose import takes seconds: paths and names of models."""

from __future__ import annotations

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
    """Raises what the task of `command` would raise, but at once: InputError where the path of a dataset or pack does
    not exist, UsageError for the name of a model that there is not, or of the wrong kind.

    What is there is left to the task, and so is what stands on a hub.
    """
    if command not in MODELS:
        return  # loads no torch, and does this itself
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


def _listed(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)
