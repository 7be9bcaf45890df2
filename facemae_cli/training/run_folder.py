"""A training run: its folder, claimed by one process and never overwritten by surprise, and what it comes from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from facemae_cli.data.faces import FaceSource, fingerprint
from facemae_cli.data.files import is_aside, write_whole
from facemae_cli.errors import OutputError, UsageError
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Card, Model, card_text, lineage_of
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime import distributed
from facemae_cli.runtime.progress import Progress

LOCK = ".lock"


def write_model(folder: Path, network: nn.Module, card: Card, dtype: str) -> None:
    """Write `network` as a model folder, its numbers as `dtype` (float32 or float16). Raises OutputError.

    Weights first, then the card: a folder is a model only when both are there and whole.
    """
    number = torch.float16 if dtype == "float16" else torch.float32
    state = {
        name: (value.to(number) if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    write_whole(folder / WEIGHTS_NAME, save(state))
    write_whole(folder / CARD_NAME, card_text(card))


def ancestor(name: str | None, kind: str, progress: Progress) -> Model | None:
    """The model a run learns from, if one is said; an assumed card is remarked on. Raises UsageError, InputError."""
    if name is None:
        return None
    found = resolve(name, kind)
    if found.warning:
        progress.notice(found.warning)
    return found


def same_to_resume(
    recipe: dict[str, Any], card: Card, source: FaceSource, precision: str, ancestors: Mapping[str, Model | None]
) -> dict[str, Any]:
    """What must be equal for a run to go on."""
    return {
        "recipe": recipe,
        "architecture": dict(card.architecture or {}),
        "data": fingerprint(source),
        "precision": precision,
        **{name: model.digest if model else None for name, model in ancestors.items()},
    }


def child_card(card: Card, ancestors: Sequence[Model | None], *, steps: int, data: dict[str, Any], **made: Any) -> Card:
    """The card of what was made of `card`'s architecture: nothing that was said of other weights stays."""
    known = [model for model in ancestors if model is not None]
    return replace(
        card,
        name=None,
        weights=None,
        data={**data, "trained": date.today().isoformat()},
        lineage=lineage_of(known),
        notes={"steps": steps, "ancestors": [model.name for model in known]},
        source=None,
        license=None,
        assumed=False,
        **made,
    )


@contextmanager
def claim_run(folder: Path, own: Sequence[str], data: Path, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold `folder` for one run while the context lasts; `own` are the file names a run may write there.

    Raises UsageError where the folder holds a run and neither `resume` nor `overwrite` is said, where it holds
    something else, where it lies inside `data` or another process works in it; OutputError where it cannot be made.
    With `overwrite` the files of the earlier run are removed first, and nothing else.
    """
    if distributed.rank():
        yield
        return
    if folder.resolve().is_relative_to(data.resolve()):
        raise UsageError(f"--out {folder} lies inside --data {data}; give a folder outside of it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"--out {folder} is a file; give a folder that is new") from None
    except OSError as error:
        raise OutputError(f"--out {folder}: {error.strerror}; give a folder that can be written") from None
    try:
        _lock(lock, folder)
        _make_room(folder, own, resume, overwrite)
        yield
        (folder / LOCK).unlink(missing_ok=True)
    finally:
        os.close(lock)


def _lock(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"--out {folder}: another process works there; wait for it, or give another") from None


def _make_room(folder: Path, own: Sequence[str], resume: bool, overwrite: bool) -> None:
    for path in folder.iterdir():
        if is_aside(path.name):
            path.unlink()  # what a killed run left half written
    present = sorted(path.name for path in folder.iterdir() if path.name != LOCK)
    strange = [name for name in present if name.removesuffix(".part") not in own]
    if strange:
        raise UsageError(f"--out {folder} holds {strange[0]!r}, which is of no run; give a folder that is new")
    if present and not resume and not overwrite:
        raise UsageError(f"--out {folder} holds a run; say --resume to go on with it or --overwrite to start again")
    for name in present if overwrite and not resume else ():
        (folder / name).unlink()
