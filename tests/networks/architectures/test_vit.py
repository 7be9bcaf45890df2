"""The vision transformer: what it computes, written out, and its sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers.references import assert_same_embeddings, faces, normed, scrambled
from torch import Tensor

from facemae_cli.networks.architectures.vit import VisionTransformer, transformer_shape

SMALL: dict[str, Any] = {"dim": 5, "size": 24, "patch": 8, "width": 12, "depth": 2, "heads": 3}


def small(**more: Any) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(**(SMALL | more))


def layer_norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    x = x - x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return x @ state[f"{name}.weight"].t() + state[f"{name}.bias"]


def attention(x: Tensor, state: dict[str, Tensor], name: str, heads: int) -> Tensor:
    """Each head on its own: x is (tokens, width)."""
    query, key, value = linear(x, state, f"{name}.qkv").split(x.shape[-1], dim=-1)
    parts = []
    for head in range(heads):
        own = slice(head * x.shape[-1] // heads, (head + 1) * x.shape[-1] // heads)
        weights = torch.softmax(query[:, own] @ key[:, own].t() / (x.shape[-1] // heads) ** 0.5, dim=-1)
        parts.append(weights @ value[:, own])
    return linear(torch.cat(parts, dim=-1), state, f"{name}.proj")


def tokens_of(image: Tensor, network: VisionTransformer, patch: int, depth: int, heads: int) -> Tensor:
    """(3, S, S) -> (tokens, width), before the embedding."""
    state = network.state_dict()
    side = image.shape[-1] // patch
    x = torch.stack(
        [
            torch.einsum("chw,dchw->d", image[:, y : y + patch, x : x + patch], state["embed.weight"])
            for y in range(0, side * patch, patch)
            for x in range(0, side * patch, patch)
        ]
    )
    x = x + state["embed.bias"] + state["positions"][0]
    for block in range(depth):
        name = f"blocks.{block}"
        x = x + attention(layer_norm(x, state, f"{name}.norm1"), state, f"{name}.attn", heads)
        hidden = linear(layer_norm(x, state, f"{name}.norm2"), state, f"{name}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        x = x + linear(hidden, state, f"{name}.mlp.fc2")
    return layer_norm(x, state, "norm")


@torch.no_grad()
def test_it_computes_what_the_paper_says() -> None:
    network = small()
    scrambled(network)
    images = faces(2, 24)
    flat = torch.stack([tokens_of(image, network, 8, 2, 3).flatten() for image in images])
    features = network.features
    flat = normed(flat @ features[0].weight.t(), features[1])
    wanted = normed(flat @ features[2].weight.t(), features[3])
    assert_same_embeddings(network(images), wanted)


def test_vit_s_has_the_size_of_vit_s() -> None:
    with torch.device("meta"):
        network = VisionTransformer()
    assert (len(network.blocks), network.blocks[0].attn.heads) == (12, 6)
    block = 4 * 384 * 384 + 2 * 4 * 384 * 384 + (3 + 1 + 4 + 1) * 384 + 2 * 2 * 384
    assert sum(parameter.numel() for parameter in network.blocks.parameters()) == 12 * block
    assert network.positions.shape == (1, 196, 384)
    assert tuple(network.embed.weight.shape) == (384, 3, 8, 8)
    assert tuple(network.features[0].weight.shape) == (384, 196 * 384)
    assert tuple(network.features[2].weight.shape) == (512, 384)


def test_a_state_dict_says_which_network_it_is_of() -> None:
    shown = transformer_shape(small().state_dict())
    assert shown == {key: value for key, value in SMALL.items() if key != "heads"}
    with pytest.raises(ValueError, match="vision transformer"):
        transformer_shape({"conv1.weight": torch.zeros(1)})


def test_every_weight_learns_and_nothing_is_dropped_by_default() -> None:
    network = small()
    first, second = network(faces(3, 24)), network(faces(3, 24))
    assert torch.equal(first, second)
    (first * torch.arange(1.0, 6)).pow(3).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_blocks_are_dropped_where_asked_and_only_while_training() -> None:
    network = small(drop_path=0.9, depth=4)
    images = faces(8, 24)
    torch.manual_seed(0)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))


def test_the_last_layers_stay_in_float32_under_autocast() -> None:
    network = small().eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(faces(1, 24)).dtype == torch.float32
        assert network.blocks[0](torch.rand(1, 9, 12)).dtype == torch.float32
        assert network.blocks[0].attn(torch.rand(1, 9, 12)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 20}, "size 20 is not a multiple of patch, 8"),
        ({"size": 0}, "size 0"),
        ({"patch": 0}, "patch, 0"),
        ({"heads": 5}, "width 12 is not a multiple of its 5 heads"),
        ({"heads": 0}, "0 heads"),
        ({"depth": 0}, "depth 0"),
        ({"depth": 401}, "depth 401"),
        ({"drop_path": 1.0}, "drop_path 1.0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        small(**arguments)
