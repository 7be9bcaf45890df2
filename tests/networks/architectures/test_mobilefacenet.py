"""MobileFaceNet: InsightFace's parameter names and shapes, and what it computes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import references
from helpers.references import assert_same_embeddings, faces, scrambled

from facemae_cli.networks.architectures.mobilefacenet import MobileFaceNet, mobilefacenet_shape

LARGE: dict[str, Any] = {"blocks": (2, 8, 12, 4), "scale": 4}
# As arcface_torch's module makes them: of a unit the convolution, its norm and its slopes are layers 0, 1 and 2.
SHAPES = {
    "layers.0.layers.0.weight": (128, 3, 3, 3),
    "layers.0.layers.1.running_var": (128,),
    "layers.0.layers.2.weight": (128,),
    "layers.1.layers.0.weight": (128, 2, 3, 3),
    "layers.2.layers.0.layers.0.weight": (128, 128, 1, 1),
    "layers.2.layers.1.layers.0.weight": (128, 1, 3, 3),
    "layers.2.layers.2.layers.0.weight": (128, 128, 1, 1),
    "layers.3.layers.3.layers.1.layers.0.weight": (128, 1, 3, 3),
    "layers.4.layers.0.layers.0.weight": (256, 128, 1, 1),
    "layers.4.layers.2.layers.0.weight": (256, 256, 1, 1),
    "layers.5.layers.5.layers.2.layers.1.bias": (256,),
    "layers.6.layers.0.layers.0.weight": (512, 256, 1, 1),
    "layers.6.layers.1.layers.0.weight": (512, 1, 3, 3),
    "layers.6.layers.2.layers.0.weight": (256, 512, 1, 1),
    "layers.7.layers.1.layers.0.layers.0.weight": (256, 256, 1, 1),
    "conv_sep.layers.0.weight": (512, 256, 1, 1),
    "conv_sep.layers.2.weight": (512,),
    "features.layers.0.layers.0.weight": (512, 1, 7, 7),
    "features.layers.0.layers.1.running_mean": (512,),
    "features.layers.2.weight": (512, 512),
    "features.layers.3.bias": (512,),
}
ABSENT = (
    "layers.2.layers.2.layers.2.weight",  # a bottleneck's last unit has no slopes
    "layers.3.layers.4.layers.0.layers.0.weight",
    "layers.5.layers.6.layers.0.layers.0.weight",
    "layers.7.layers.2.layers.0.layers.0.weight",
    "features.layers.0.layers.2.weight",
    "features.layers.2.bias",
)


def on_meta(**arguments: Any) -> MobileFaceNet:
    with torch.device("meta"):
        return MobileFaceNet(**arguments)


def test_names_and_shapes_are_insightfaces() -> None:
    state = on_meta().state_dict()
    assert {name: tuple(state[name].shape) for name in SHAPES} == SHAPES
    assert not set(ABSENT) & state.keys()
    # 2 units, 15 bottlenecks of three, the one before the head, and the head's: convolutions and norms; then the rest.
    units = 2 + 3 * (3 + 4 + 6 + 2) + 1 + 1
    assert len(state) == units * (1 + 5) + (units - 15 - 1) + 1 + 5


@pytest.mark.parametrize(
    ("arguments", "millions"), [({}, 2.05), (LARGE, 6.30), ({"blocks": (2, 6, 8, 3), "scale": 3}, 3.71)]
)
def test_it_has_as_many_parameters_as_its_users_report(arguments: dict[str, Any], millions: float) -> None:
    count = sum(parameter.numel() for parameter in on_meta(**arguments).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(("arguments", "blocks", "scale"), [({}, (1, 4, 6, 2), 2), (LARGE, *LARGE.values())])
def test_weights_go_both_ways_between_it_and_insightfaces(
    arguments: dict[str, Any], blocks: tuple[int, ...], scale: int
) -> None:
    theirs, ours = scrambled(references.MobileFaceNet(blocks, scale)), on_meta(**arguments)
    ours.eval().load_state_dict(theirs.state_dict(), assign=True)
    with torch.no_grad():
        wanted = theirs(faces())
        assert_same_embeddings(ours(faces()), wanted)
        theirs.load_state_dict(scrambled(ours, seed=2).state_dict())
        assert_same_embeddings(theirs(faces()), ours(faces()))
        assert not torch.allclose(theirs(faces()), wanted, rtol=0.1)


@pytest.mark.parametrize(
    "shape",
    [
        {"dim": 512, "blocks": (1, 4, 6, 2), "scale": 2, "size": 112},
        {"dim": 64, "blocks": (2, 8, 12, 4), "scale": 4, "size": 112},
        {"dim": 512, "blocks": (1, 2, 6, 2), "scale": 1, "size": 64},
        {"dim": 512, "blocks": (3, 1, 1, 1), "scale": 1, "size": 112},
    ],
)
def test_a_state_dict_says_which_network_it_is_of(shape: dict[str, Any]) -> None:
    assert mobilefacenet_shape(on_meta(**shape).state_dict()) == shape


def test_a_state_dict_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="MobileFaceNet"):
        mobilefacenet_shape({"conv1.weight": torch.zeros(1)})
    state = on_meta().state_dict() | {"layers.0.layers.0.weight": torch.zeros(100, 3, 3, 3)}
    with pytest.raises(ValueError, match="100 channels"):
        mobilefacenet_shape(state)


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    network = MobileFaceNet(dim=3, blocks=(1, 1, 1, 1), scale=1, size=16)
    (network(faces(2, 16)) * torch.tensor([1.0, 2.0, 3.0])).pow(3).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_last_layers_stay_in_float32_under_autocast() -> None:
    network = MobileFaceNet(dim=3, blocks=(1, 1, 1, 1), scale=1, size=16).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(faces(1, 16)).dtype == torch.float32
        assert network.layers[0](faces(1, 16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 100}, "100 is not a multiple of 16"),
        ({"size": 0}, "size 0"),
        ({"blocks": (1, 1, 1)}, "blocks"),
        ({"blocks": (0, 1, 1, 1)}, "blocks"),
        ({"blocks": (1, 1, 1, 400)}, "400 in all"),
        ({"scale": 0}, "scale 0"),
        ({"scale": 65}, "scale 65"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        on_meta(**arguments)
