"""Paths as callers of the library give them: text or `Path`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def as_path(given: str | Path | None) -> Path | None:
    """The path, None where there is none."""
    return None if given is None else Path(given)


def as_paths(given: str | Path | Iterable[str | Path] | None) -> list[Path] | None:
    """The paths, of which there may be one alone; None where there are none."""
    if given is None:
        return None
    return [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]
