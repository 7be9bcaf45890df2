"""The average of weights by hand, in and out of the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from facemae_cli.training.weight_average import WeightAverage, take_mean


def network(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, -value)
    layer.bias.requires_grad = False
    return layer


def test_by_hand() -> None:
    """Kept of the average: 1/10 after the first step, 2/11 after the second, 0.9 in the end."""
    layer = network(4.0)
    average = WeightAverage(layer, 0.9)
    wanted = 4.0
    for step, value, kept in ((1, 6.0, 1 / 10), (2, 5.0, 2 / 11), (81, 1.0, 0.9), (999, 3.0, 0.9)):
        nn.init.constant_(layer.weight, value)
        average.update(step)
        wanted = kept * wanted + (1 - kept) * value
        with average.in_place():
            assert layer.weight.item() == pytest.approx(wanted)
            assert layer.bias.item() == -4.0
        assert layer.weight.item() == value


def test_the_network_gets_its_own_weights_back_whatever_happens() -> None:
    layer = network(2.0)
    average = WeightAverage(layer, 0.5)
    nn.init.constant_(layer.weight, 7.0)
    seen = []

    def stopped() -> None:
        with average.in_place():
            seen.append(layer.weight.item())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (seen, layer.weight.item()) == ([2.0], 7.0)


def test_what_was_kept_comes_back_and_another_network_s_does_not() -> None:
    first, second = WeightAverage(network(3.0), 0.5), WeightAverage(network(1.0), 0.5)
    second.restore(first.state())
    assert second.state()["weight"].item() == 3.0
    with pytest.raises(KeyError, match="of 2 weights, not of 1"):
        second.restore({"weight": torch.zeros(1, 1), "more": torch.zeros(1)})
    with pytest.raises(ValueError, match="average of weight has another shape"):
        second.restore({"weight": torch.zeros(2, 2)})


def test_the_mean_of_several_networks_by_hand() -> None:
    first = network(1.0)
    take_mean(first, [network(2.0), network(6.0)])
    assert (first.weight.item(), first.bias.item()) == (3.0, -3.0)
    take_mean(first, [])
    assert first.weight.item() == 3.0
    with pytest.raises(KeyError):
        take_mean(first, [nn.Linear(1, 1, bias=False)])
