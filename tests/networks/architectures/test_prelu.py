"""PReLU against torch's own, and against derivatives by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from facemae_cli.networks.architectures.prelu import PReLU, prelu


def _faces(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def test_a_slope_by_hand() -> None:
    x = torch.tensor([[2.0, -3.0]], requires_grad=True)
    slope = torch.tensor([0.5, 0.25], requires_grad=True)
    made = prelu(x, slope)
    assert made.tolist() == [[2.0, -0.75]]
    made.backward(torch.tensor([[10.0, 100.0]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[10.0, 25.0]]
    assert slope.grad is not None
    assert slope.grad.tolist() == [0.0, -300.0]


@pytest.mark.parametrize("shape", [(4, 3, 6, 5), (7, 3)])
@pytest.mark.parametrize("slopes", [1, 3])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_values_and_gradients_are_torchs(shape: tuple[int, ...], slopes: int, dtype: torch.dtype, near: float) -> None:
    found = []
    for function in (prelu, functional.prelu):
        x = _faces(shape, dtype).requires_grad_()
        slope = torch.linspace(0.1, 0.9, slopes).to(dtype).requires_grad_()
        made = function(x, slope)
        made.square().sum().backward()
        assert x.grad is not None
        assert slope.grad is not None
        found.append((made.detach(), x.grad, slope.grad))
    for ours, theirs in zip(*found, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=near, atol=near)


def test_memory_stays_channels_last_and_bf16_needs_no_gradient() -> None:
    x = _faces((2, 3, 4, 4), torch.bfloat16)
    with torch.no_grad():
        made = prelu(x, torch.full((3,), 0.25))
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(made, functional.prelu(x, torch.full((3,), 0.25, dtype=torch.bfloat16)))


def test_parameters_are_named_as_torchs() -> None:
    assert {name: value.shape for name, value in PReLU(5).state_dict().items()} == {
        name: value.shape for name, value in nn.PReLU(5).state_dict().items()
    }
