"""What may be said of the machine: device, precision, backend, batch size; looked at before torch is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable

from facemae_cli.errors import UsageError

PRECISIONS = ("auto", "bf16", "fp32")
BACKENDS = ("auto", "torch", "onnxruntime", "openvino")
_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d{1,4})?")


def texts(given: str | Iterable[str] | None) -> list[str]:
    """What an option of a list says, of which there may be one alone, or none."""
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def check_device(name: str) -> None:
    """Raises UsageError unless `name` is `auto` or a device by torch's name; whether it is there only torch can say."""
    if not _DEVICE.fullmatch(name):
        raise UsageError(f"--device {name!r} is not a device; give auto, cpu, cuda or cuda:N")


def check_precision(name: str) -> None:
    """Raises UsageError for an unknown name."""
    if name not in PRECISIONS:
        raise UsageError(f"--precision {name!r} is not known; say auto, bf16 or fp32")


def check_backend(name: str) -> None:
    """Raises UsageError for an unknown name."""
    if name not in BACKENDS:
        raise UsageError(f"--backend {name!r} is not known; say auto, torch, onnxruntime or openvino")


def check_batch_size(said: str | int) -> None:
    """Raises UsageError unless it is `auto` or a number of faces."""
    text = str(said)
    if text != "auto" and not (text.isdecimal() and int(text) >= 1):
        raise UsageError(f"--batch-size {text!r} is neither auto nor a number from 1")
