"""facemae: release a face dataset that protects its people and still trains recognisers.

The command line's tasks are importable under the same names and with the same defaults:
`from facemae_cli import reconstruct` does what `facemae reconstruct` does, and returns its result.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "align",
    "convert",
    "demo",
    "fit",
    "inspect",
    "leakage",
    "mask",
    "names",
    "reconstruct",
    "train_recognizer",
    "verify",
    "withdraw",
]


def __getattr__(name: str) -> Any:
    # Loaded when asked for, so that `facemae --help` and `facemae_cli.data.open` stay free of torch.
    if name not in __all__:
        raise AttributeError(f"module 'facemae_cli' has no attribute {name!r}")
    return getattr(import_module(f"facemae_cli.tasks.{name}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
