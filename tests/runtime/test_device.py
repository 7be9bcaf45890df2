"""Choosing device and precision."""

from __future__ import annotations

import pytest
import torch

from facemae_cli.errors import UsageError
from facemae_cli.runtime.device import autocast, choose_device, choose_precision, has_fast_bf16

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == CPU


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=r"--device cuda: torch .* sees no CUDA device here; use --device cpu"):
        choose_device("cuda")
    with pytest.raises(UsageError, match="'toaster' is not a device"):
        choose_device("toaster")


def test_each_rank_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    assert choose_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == torch.device("cuda:1")
    assert choose_device("cuda:0") == torch.device("cuda:0")
    assert choose_device("cpu") == CPU
    assert taken == [1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="has no GPU of its own; start torchrun --nproc-per-node 2"):
        choose_device("cuda")


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("facemae_cli.runtime.device.has_fast_bf16", lambda device, fast=fast: fast)
        assert choose_precision("auto", CPU) == expected
    assert choose_precision("bf16", CPU) == "bf16"
    with pytest.raises(UsageError, match="'fp8' is not known; say auto, bf16 or fp32"):
        choose_precision("fp8", CPU)


def test_a_cpu_that_emulates_bf16_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    assert not has_fast_bf16(CPU)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert has_fast_bf16(CPU)


def test_autocast_computes_in_what_was_chosen() -> None:
    a = torch.ones(2, 2)
    with autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32
