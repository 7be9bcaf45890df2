"""InsightFace's iresnet: its parameter names and shapes, and what it computes."""

from __future__ import annotations

import pytest
import torch
from helpers import references
from helpers.references import ResNet, assert_same_embeddings, faces, normed, scrambled

from facemae_cli.networks.architectures.iresnet import DEPTHS, Block, IResNet, iresnet_shape

BLOCK = {
    "bn1": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    "conv1": ("weight",),
    "bn2": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    "prelu": ("weight",),
    "conv2": ("weight",),
    "bn3": ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
}
NORM = BLOCK["bn1"]


def on_meta(name: str, **more: int) -> IResNet:
    with torch.device("meta"):
        return IResNet(DEPTHS[name], **more)


def insightface_names(blocks: tuple[int, ...]) -> set[str]:
    names = {"conv1.weight", "prelu.weight", "fc.weight", "fc.bias"}
    names |= {f"{norm}.{part}" for norm in ("bn1", "bn2", "features") for part in NORM}
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            names |= {f"layer{stage}.{block}.{part}.{item}" for part, items in BLOCK.items() for item in items}
        names |= {f"layer{stage}.0.downsample.0.weight"} | {f"layer{stage}.0.downsample.1.{part}" for part in NORM}
    return names


@pytest.mark.parametrize("name", DEPTHS)
def test_names_shapes_and_sizes_are_insightfaces(name: str) -> None:
    state = on_meta(name).state_dict()
    assert set(state) == insightface_names(DEPTHS[name])
    assert tuple(state["conv1.weight"].shape) == (64, 3, 3, 3)
    assert tuple(state["layer1.0.conv1.weight"].shape) == (64, 64, 3, 3)
    assert tuple(state["layer2.0.conv1.weight"].shape) == (128, 64, 3, 3)
    assert tuple(state["layer2.0.conv2.weight"].shape) == (128, 128, 3, 3)
    assert tuple(state["layer4.0.bn1.weight"].shape) == (256,)
    assert tuple(state["layer4.0.downsample.0.weight"].shape) == (512, 256, 1, 1)
    assert tuple(state["layer4.1.prelu.weight"].shape) == (512,)
    assert tuple(state["fc.weight"].shape) == (512, 512 * 7 * 7)
    assert tuple(state["features.weight"].shape) == (512,)


def test_r50_has_as_many_parameters_as_insightfaces() -> None:
    assert sum(parameter.numel() for parameter in on_meta("r50").parameters()) == 43_590_848  # as its users report


@pytest.mark.parametrize("name", DEPTHS)
def test_a_state_dict_says_which_network_it_is_of(name: str) -> None:
    shape = iresnet_shape(on_meta(name, dim=256, width=32, size=64).state_dict())
    assert shape == {"blocks": DEPTHS[name], "dim": 256, "widths": (32, 32, 64, 128, 256), "size": 64, "stem_stride": 1}


def test_a_thin_short_network_is_described_by_its_widths_and_the_stride_of_its_stem() -> None:
    shape = {"blocks": (1, 2, 1), "dim": 5, "widths": (3, 4, 6, 8), "size": 48, "stem_stride": 2}
    network = IResNet(**shape)
    assert iresnet_shape(network.state_dict(), stem_stride=2) == shape
    assert tuple(network.layer3[0].conv1.weight.shape) == (8, 6, 3, 3)
    assert tuple(network.fc.weight.shape) == (5, 8 * 3 * 3)
    assert network(torch.rand(2, 3, 48, 48)).shape == (2, 5)


@pytest.mark.parametrize("missing", ["conv1.weight", "fc.weight"])
def test_a_state_dict_of_something_else_is_refused(missing: str) -> None:
    state = on_meta("r18").state_dict()
    del state[missing]
    with pytest.raises(ValueError, match="iresnet"):
        iresnet_shape(state)


@pytest.mark.parametrize("key", ["layer9.0.x", "layerx.0.x", "layer1"])
def test_strange_layer_names_are_refused(key: str) -> None:
    state = on_meta("r18").state_dict() | {key: torch.zeros(1)}
    with pytest.raises(ValueError, match="iresnet"):
        iresnet_shape(state)


def test_weights_go_both_ways_between_r50_and_insightfaces() -> None:
    theirs, ours = ResNet(DEPTHS["r50"]), on_meta("r50")
    ours.eval().load_state_dict(references.r50().state_dict(), assign=True)
    with torch.no_grad():
        wanted = references.r50()(faces())
        assert_same_embeddings(ours(faces()), wanted)
        theirs.eval().load_state_dict(scrambled(ours, seed=2).state_dict(), assign=True)
        assert_same_embeddings(theirs(faces()), ours(faces()))
        assert not torch.allclose(theirs(faces()), wanted, rtol=0.1)


@pytest.mark.parametrize(("inputs", "stride"), [(4, 2), (4, 1), (6, 1)])
def test_a_block_is_norm_conv_norm_prelu_strided_conv_norm_and_the_shortcut(inputs: int, stride: int) -> None:
    block = Block(inputs, 6, stride)
    scrambled(block)
    x = torch.randn(2, inputs, 8, 8)
    y = torch.conv2d(normed(x, block.bn1), block.conv1.weight, padding=1)
    y = normed(y, block.bn2)
    y = torch.where(y < 0, y * block.prelu.weight.view(1, -1, 1, 1), y)
    y = normed(torch.conv2d(y, block.conv2.weight, padding=1, stride=stride), block.bn3)
    if stride == 1 and inputs == 6:
        assert block.downsample is None
        shortcut = x
    else:
        shortcut = normed(torch.conv2d(x, block.downsample[0].weight, stride=stride), block.downsample[1])
    torch.testing.assert_close(block(x), y + shortcut, rtol=1e-4, atol=1e-4)


def test_the_stem_and_the_head_are_where_insightface_has_them() -> None:
    network = IResNet((1, 1, 1, 1), dim=5, width=2, size=32, dropout=0.4)
    scrambled(network)
    x = torch.randn(2, 3, 32, 32)
    y = normed(torch.conv2d(x, network.conv1.weight, padding=1), network.bn1)
    y = torch.where(y < 0, y * network.prelu.weight.view(1, -1, 1, 1), y)
    assert y.shape == (2, 2, 32, 32)
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        y = stage(y)
    assert y.shape == (2, 16, 2, 2)
    y = normed(y, network.bn2).reshape(2, -1) @ network.fc.weight.t() + network.fc.bias
    torch.testing.assert_close(network(x), normed(y, network.features), rtol=1e-4, atol=1e-4)


def test_the_last_norm_keeps_its_weight_at_one() -> None:
    network = IResNet((1, 1, 1, 1), dim=5, width=2, size=16)
    assert not network.features.weight.requires_grad
    assert network.features.weight.tolist() == [1.0] * 5
    assert network.features.bias.requires_grad


def test_the_last_layer_stays_in_float32_under_autocast() -> None:
    network = IResNet((1, 1, 1, 1), dim=3, width=2, size=16).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.rand(1, 3, 16, 16)).dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 100}, "100 is not a multiple of 16"),
        ({"size": 112, "stem_stride": 2}, "multiple of 32"),
        ({"size": 0}, "size 0"),
        ({"stem_stride": 3}, "stem_stride 3"),
        ({"blocks": ()}, "blocks"),
        ({"blocks": (1,) * 9}, "blocks"),
        ({"blocks": (1, 0, 1, 1)}, "blocks"),
        ({"blocks": (1, 1, 1, 400)}, "400 in all"),
        ({"widths": (4, 4, 8, 16)}, "one for the stem and one for each of 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        IResNet(**({"blocks": (1, 1, 1, 1)} | arguments))
