"""Which device and which precision a run uses, and what it says when it has no choice."""

from __future__ import annotations

from typing import Literal

import torch

from facemae_cli.errors import UsageError

Precision = Literal["bf16", "fp32"]


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the first CUDA device where there is one, else the CPU. Raises UsageError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name!r} is no device; say auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: torch {torch.__version__} sees no CUDA device here; say --device cpu")
    return device


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto` is bf16 where the hardware computes in it, else fp32. Raises UsageError for an unknown name."""
    if name == "auto":
        return "bf16" if has_fast_bf16(device) else "fp32"
    if name == "bf16" or name == "fp32":
        return name  # type: ignore[return-value]
    raise UsageError(f"--precision {name!r} is not known; say auto, bf16 or fp32")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by the hardware. A CPU without AVX512-BF16 emulates it a hundred times slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network runs at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
