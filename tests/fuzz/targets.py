"""Every target by its name; its module, which may load what is slow to load, is imported when it is asked for."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from fuzz.engine import Target

_MODULES = {
    "recs": ("rec",),
    "sidelines": ("idx", "lst", "property"),
    "packs": ("bin",),
    "tensors": ("weights", "features", "checkpoint"),
    "pngs": ("png",),
    "jpegs": ("jpeg",),
    "webps": ("webp", "bmp"),
    "yamls": ("cards", "yaml"),
    "manifests": ("json",),
    "journals": ("journal",),
}
NAMES = tuple(name for names in _MODULES.values() for name in names)


@cache
def target(name: str) -> Target:
    """The target called `name`, one of NAMES."""
    module = import_module(f"fuzz.{next(module for module, names in _MODULES.items() if name in names)}")
    found: Target = next(one for one in module.TARGETS if one.name == name)
    return found
