"""Which device and which precision a run uses, and what it says when it has no choice."""

from __future__ import annotations

from typing import Literal

import torch

from facemae_cli.errors import UsageError
from facemae_cli.runtime import launcher
from facemae_cli.runtime.choices import check_device, check_precision

Precision = Literal["bf16", "fp32"]


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is a device, else the CPU; a rank that torchrun started gets a device of its own.

    Raises UsageError for one that is not there.
    """
    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: torch {torch.__version__} sees no CUDA device here; use --device cpu")
    local_rank = launcher.local_rank()
    if device.type == "cuda" and device.index is None and local_rank is not None:
        return _own_device(local_rank, torch.cuda.device_count())
    return device


def _own_device(rank: int, count: int) -> torch.device:
    """The device of this machine's `rank`, which torch also takes where none is named."""
    if rank >= count:
        raise UsageError(f"rank {rank} of this machine has no GPU of its own; start torchrun --nproc-per-node {count}")
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)


def choose_precision(name: str, device: torch.device) -> Precision:
    """`auto` is bf16 where the hardware computes in it, else fp32. Raises UsageError for an unknown name."""
    check_precision(name)
    wanted = has_fast_bf16(device) if name == "auto" else name == "bf16"
    return "bf16" if wanted else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by the hardware. A CPU without AVX512-BF16 emulates it a hundred times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a network runs at `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
