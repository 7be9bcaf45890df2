"""Whether all that a command is to write may stand where its options put it: looked at before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from facemae_cli.data.side_files import SideFile, SideFileKind, check_cache, check_side_files
from facemae_cli.errors import FacemaeError
from facemae_cli.networks.zoo import resolve

# Options that name a file to be written beside the output, and what it is.
SIDE_FILES: Mapping[str, SideFileKind] = {
    "refused": "list",
    "report": "page",
    "preview": "picture",
    "doubtful": "picture",
}
CACHE = "cache"


def check_places(options: Mapping[str, Any]) -> None:
    """Raises UsageError where a side file among a command's `options`, by parameter name, may not be written.

    Every other option that is a path, or the text of one that exists, is an input, an output or a key, in which none
    of them may lie.
    """
    files = [SideFile(options[name], f"--{name}", kind) for name, kind in SIDE_FILES.items() if options.get(name)]
    cache = options.get(CACHE)
    others = {name: value for name, value in options.items() if name not in (*SIDE_FILES, CACHE)}
    places = [*_paths(others.values()), *_model_folder(options)]
    if cache is not None:
        check_cache(cache, [*places, *(file.path for file in files)])
        places.append(cache)
    check_side_files(files, overwrite=bool(options.get("overwrite")), resume=bool(options.get("resume")), places=places)


def _paths(values: Any) -> Iterator[Path]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _paths(value)
        elif isinstance(value, Path):
            yield value
        elif isinstance(value, str) and value and os.path.lexists(value):
            yield Path(value)


def _model_folder(options: Mapping[str, Any]) -> Iterator[Path]:
    """Where a command that trains writes by default."""
    if "out" in options and options["out"] is None:
        with suppress(FacemaeError):  # what is no model is refused by the task
            yield resolve(str(options["model"])).run_folder
