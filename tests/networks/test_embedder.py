"""What reaches the network behind an embedder: size, colour order, normalisation; by hand on a coloured image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from facemae_cli.networks.card import InputSpec
from facemae_cli.networks.embedder import CPU_PIECE, Embedder, Ensemble

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.25, 0.0625)


class ChannelMeans(nn.Module):
    """The mean of each channel: what the network saw, readable. Keeps the batch sizes it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.given: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.given.append(tuple(x.shape))
        return x.mean(dim=(2, 3)) * self.weight


def embedder(size: int = 8, color: str = "rgb") -> Embedder:
    return Embedder(ChannelMeans(), InputSpec(size, color, MEAN, STD), 3).frozen()


def orange(size: int = 8) -> Tensor:
    """(1, 3, size, size): red 1, green 0.5, blue 0."""
    return torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1).expand(1, 3, size, size)


def test_rgb_is_normalised_channel_by_channel() -> None:
    # (1 - 0.5) / 0.5, (0.5 - 0.25) / 0.25, (0 - 0.125) / 0.0625
    torch.testing.assert_close(embedder()(orange()), torch.tensor([[1.0, 1.0, -2.0]]))


def test_bgr_turns_the_channels_before_it_normalises() -> None:
    # blue first: (0 - 0.5) / 0.5, (0.5 - 0.25) / 0.25, (1 - 0.125) / 0.0625
    torch.testing.assert_close(embedder(color="bgr")(orange()), torch.tensor([[-1.0, 1.0, 14.0]]))


@pytest.mark.parametrize("size", [4, 8, 13])
def test_any_size_reaches_the_network_at_its_own(size: int) -> None:
    network = embedder()
    torch.testing.assert_close(network(orange(size)), torch.tensor([[1.0, 1.0, -2.0]]))
    assert network.network.given == [(1, 3, 8, 8)]


def test_an_image_of_the_right_size_is_not_resampled() -> None:
    image = torch.rand(2, 3, 8, 8)
    seen = embedder().prepare(image)
    wanted = (image - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    assert torch.equal(seen, wanted)


def test_shrinking_averages_what_it_drops() -> None:
    """Columns 0 and 1 by turns: without antialiasing half of them would be lost; with it every pixel is about 0.5."""
    stripes = (torch.arange(32) % 2).float().view(1, 1, 1, 32).expand(1, 3, 32, 32)
    plain = Embedder(ChannelMeans(), InputSpec(8, "rgb", (0.0,) * 3, (1.0,) * 3), 3)
    assert (plain.prepare(stripes) - 0.5).abs().max() < 0.1


def test_gradients_reach_the_image_but_not_the_weights() -> None:
    network = embedder(color="bgr")
    image = torch.rand(1, 3, 4, 4, requires_grad=True)
    network(image).sum().backward()
    assert image.grad is not None
    # Each channel's mean is divided by its std, in the order of bgr: red by the last.
    torch.testing.assert_close(image.grad.sum(dim=(2, 3)), torch.tensor([[1 / 0.0625, 1 / 0.25, 1 / 0.5]]))
    assert network.network.weight.grad is None
    assert not network.training


def test_a_large_batch_goes_through_a_cpu_in_pieces_and_comes_back_in_order() -> None:
    network = embedder()
    images = torch.linspace(0, 1, 2 * CPU_PIECE + 5).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    features = network(images)
    assert [shape[0] for shape in network.network.given] == [CPU_PIECE, CPU_PIECE, 5]
    wanted = (images[:, :, 0, 0] - torch.tensor(MEAN)) / torch.tensor(STD)
    torch.testing.assert_close(features, wanted)


def test_features_are_float32_whatever_the_network_computes_in() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        network = Embedder(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), InputSpec(2), 5).frozen()
        assert network(torch.rand(1, 3, 2, 2)).dtype == torch.float32


def test_an_ensembles_cosine_is_the_mean_of_its_embedders() -> None:
    torch.manual_seed(0)
    sizes = (5, 3)
    embedders = [
        Embedder(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, dim)), InputSpec(8), dim).frozen() for dim in sizes
    ]
    faces = torch.rand(6, 3, 8, 8)
    together = Ensemble(embedders)(faces)
    assert together.shape == (6, 8)
    each = [nn.functional.normalize(embedder(faces), dim=1) for embedder in embedders]
    torch.testing.assert_close(together @ together.T, torch.stack([one @ one.T for one in each]).mean(0))
