"""The autoencoder against independent numpy: positions, patch order, token order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facemae_cli.networks.architectures.mae import MaskedAutoencoder, patchify, select, sincos_positions, unpatchify

SMALL = {"width": 16, "depth": 2, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}


def network(**changes: object) -> MaskedAutoencoder:
    torch.manual_seed(0)
    return MaskedAutoencoder(**{**SMALL, **changes}).eval()  # type: ignore[arg-type]


def slow_positions(width: int) -> np.ndarray:
    """One position at a time, in plain Python."""
    quarter = width // 4
    table = []
    for row in range(14):
        for column in range(14):
            line = []
            for coordinate in (column, row):
                line += [math.sin(coordinate / 10000 ** (k / quarter)) for k in range(quarter)]
                line += [math.cos(coordinate / 10000 ** (k / quarter)) for k in range(quarter)]
            table.append(line)
    return np.array(table)


@pytest.mark.parametrize("width", [8, 192])
def test_positions_equal_a_plain_loop(width: int) -> None:
    assert np.abs(sincos_positions(width).numpy() - slow_positions(width)).max() < 1e-6


def test_positions_of_all_tokens_differ() -> None:
    positions = sincos_positions(16)
    assert torch.cdist(positions, positions).fill_diagonal_(9).min() > 0.05


def test_positions_need_a_width_that_four_divides() -> None:
    with pytest.raises(ValueError, match="10 is not a multiple of 4"):
        sincos_positions(10)


def test_patchify_puts_rows_columns_and_channels_where_numpy_does() -> None:
    images = torch.rand(2, 3, 112, 112)
    patches = patchify(images, 8)
    assert patches.shape == (2, 196, 192)
    array = images.permute(0, 2, 3, 1).numpy()
    for token in (0, 1, 14, 195):
        row, column = divmod(token, 14)
        expected = array[1, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].reshape(-1)
        assert np.array_equal(patches[1, token].numpy(), expected)
    assert torch.equal(unpatchify(patches, 8), images)


def test_select_takes_the_named_patches_in_order() -> None:
    patches = torch.arange(2 * 196.0).reshape(2, 196, 1)
    index = torch.tensor([[3, 0], [195, 7]])
    assert select(patches, index).squeeze(-1).tolist() == [[3, 0], [196 + 195, 196 + 7]]


def slow_forward(net: MaskedAutoencoder, visible: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One face through the same blocks, tokens placed by a Python loop and faces assembled by numpy."""
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    tokens = (visible * 2 - 1) @ state["embed.weight"].T + state["embed.bias"]
    tokens = tokens + slow_positions(16)[index]
    x = torch.from_numpy(tokens).float()[None]
    for block in net.encoder:
        x = block(x)
    x = net.decoder_embed(net.encoder_norm(x))[0].detach().numpy()
    full = np.repeat(state["mask_token"][0], 196, axis=0)
    for at, token in zip(index, x, strict=True):
        full[at] = token
    y = torch.from_numpy(full + slow_positions(8)).float()[None]
    for block in net.decoder:
        y = block(y)
    patches = net.head(net.decoder_norm(y))[0].detach().numpy()
    face = np.zeros((3, 112, 112))
    for token in range(196):
        row, column = divmod(token, 14)
        patch = patches[token].reshape(8, 8, 3).transpose(2, 0, 1)
        face[:, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] = patch
    return face / 2 + 0.5


@torch.no_grad()
def test_forward_equals_an_independent_assembly() -> None:
    net = network()
    random = np.random.default_rng(1)
    index = random.permutation(196)[:49]
    visible = random.random((49, 192))
    made = net(torch.from_numpy(visible).float()[None], torch.from_numpy(index)[None])[0].numpy()
    assert np.abs(made - slow_forward(net, visible, index)).max() < 1e-5


@torch.no_grad()
def test_the_order_of_visible_patches_does_not_matter() -> None:
    net = network(seam=4)
    visible, index = torch.rand(1, 49, 192), torch.randperm(196)[None, :49]
    shuffled = torch.randperm(49)
    again = net(visible[:, shuffled], index[:, shuffled])
    assert torch.allclose(net(visible, index), again, atol=1e-5)


@torch.no_grad()
def test_any_number_of_visible_patches_and_both_geometries() -> None:
    for size, patch, count in ((112, 8, 1), (112, 8, 196), (224, 16, 20)):
        net = network(size=size, patch=patch)
        made = net(torch.rand(2, count, patch * patch * 3), torch.arange(count).repeat(2, 1))
        assert made.shape == (2, 3, size, size)


@torch.no_grad()
def test_the_matrices_between_inner_layers_are_those_of_the_blocks_and_between_encoder_and_decoder() -> None:
    network = MaskedAutoencoder(width=12, depth=2, heads=2, decoder_width=8, decoder_depth=1, decoder_heads=2, seam=4)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = [names[id(parameter)] for parameter in network.hidden_matrices()]
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    blocks = ("encoder.0", "encoder.1", "decoder.0")
    assert set(found) == {f"{block}.{layer}.weight" for block in blocks for layer in layers} | {"decoder_embed.weight"}
    assert len(found) == 13


def test_a_fresh_seam_changes_nothing_and_a_trained_one_does() -> None:
    net = network(seam=4)
    images = torch.rand(1, 3, 112, 112)
    assert torch.equal(net.seam(images), images)
    torch.nn.init.ones_(net.seam.narrow.weight)
    assert not torch.allclose(net.seam(images), images)


@torch.no_grad()
def test_bf16_is_within_40_decibels_of_fp32() -> None:
    net = network()
    visible, index = torch.rand(1, 49, 192), torch.randperm(196)[None, :49]
    exact = net(visible, index)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(visible, index)
    assert rough.dtype == torch.bfloat16
    error = float((exact - rough.float()).square().mean())
    assert 0 < error < 1e-4  # 1e-4 is 40 dB on [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"size": 100}, "size 100 is not 14 patches of 8"), ({"heads": 3}, "width 16 is not a multiple of its 3 heads")],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**changes)
