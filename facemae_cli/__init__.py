"""facemae: turn a face dataset into one that still trains recognisers while its people are harder to find.

The command line's tasks are importable under the same names and with the same defaults:
`from facemae_cli import reconstruct` does what `facemae reconstruct` does, and returns its result. Paths may be text or
`Path`. Without a `progress`, what a person should know goes to the logger `facemae`, as warnings. What goes wrong is
raised as a `FacemaeError`; a gate that did not pass stands in the result's `failed_gates`. Types: `__init__.pyi`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each name is defined: loaded when asked for, so that `facemae --help` stays free of torch.
_TASKS = (
    *("align", "convert", "demo", "fit", "inspect", "leakage", "mask", "names"),
    *("reconstruct", "train_recognizer", "verify", "withdraw"),
)
_HOMES = {
    **{name: f"tasks.{name}" for name in _TASKS},
    "AlignResult": "tasks.align",
    "ConvertResult": "tasks.convert",
    "DemoResult": "tasks.demo",
    "FitResult": "tasks.fit",
    "InspectResult": "tasks.inspect",
    "LeakageResult": "evaluation.leakage.leakage_result",
    "MaskResult": "tasks.mask",
    "NamesResult": "tasks.names",
    "ReconstructResult": "tasks.reconstruct",
    "TrainRecognizerResult": "tasks.train_recognizer",
    "VerifyResult": "tasks.verify",
    "WithdrawResult": "tasks.withdraw",
    "AllRefused": "errors",
    "FaceError": "errors",
    "FacemaeError": "errors",
    "InputError": "errors",
    "OutputError": "errors",
    "UsageError": "errors",
    "Progress": "runtime.progress",
    "Refusal": "data.faces",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'facemae_cli' has no attribute {name!r}")
    return getattr(import_module(f"facemae_cli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
