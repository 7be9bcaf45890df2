"""From files to networks, and files that are not what their card says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

from facemae_cli.errors import InputError
from facemae_cli.networks import zoo
from facemae_cli.networks.architectures.iresnet import IResNet
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.card import Card, InputSpec, Model
from facemae_cli.networks.loading import build_mae, load_embedder, load_mae

SIDE = 32
SPEC = InputSpec(SIDE, "rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MAE = {
    "size": 112, "patch": 8, "width": 8, "depth": 1, "heads": 2,
    "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip


def backbone() -> IResNet:
    torch.manual_seed(0)
    return IResNet((1, 1, 1, 1), dim=6, width=2, size=SIDE).eval()


def embedder(weights: Path, **more: Any) -> Model:
    card = Card(**({"kind": "embedder", "input": SPEC, "dim": 6} | more))
    return Model("m", card, weights, weights)


def refusal(model: Model) -> str:
    with pytest.raises(InputError) as caught:
        (load_mae if model.card.kind == "mae" else load_embedder)(model)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(model: Model, network: IResNet) -> None:
    images = torch.rand(2, 3, SIDE, SIDE)
    torch.testing.assert_close(load_embedder(model)(images), network((images - 0.5) / 0.5), rtol=1e-4, atol=1e-4)


def test_a_backbone_of_112_pixels_needs_no_card(tmp_path: Path) -> None:
    network = IResNet((1, 1, 1, 1), dim=6, width=2).eval()
    torch.save(network.state_dict(), tmp_path / "backbone.pth")
    loaded = load_embedder(zoo.resolve(str(tmp_path / "backbone.pth")))
    assert loaded.dim == 6
    assert loaded.spec == InputSpec(112, "rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_parameters_by_unknown_names_ask_for_a_card_where_one_is_looked_for(tmp_path: Path) -> None:
    torch.save({"strange": torch.zeros(1)}, tmp_path / "net.pth.tar")
    assert refusal(zoo.resolve(str(tmp_path / "net.pth.tar"))).endswith("; write net.yaml beside it")
    said = {"kind": "embedder", "input": {"size": SIDE, "color": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}}
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(said | {"weights": "net.pth.tar"}))
    assert refusal(zoo.resolve(str(tmp_path / "net.pth.tar"))).endswith("; add it to net.yaml beside it")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/model.yaml").write_text(yaml.safe_dump(said))
    save_file({"strange": torch.zeros(1)}, tmp_path / "run/weights.safetensors")
    assert refusal(zoo.resolve(str(tmp_path / "run"))).endswith("; add it to model.yaml beside it")


def test_a_folder_of_ours_with_an_iresnet_loads(tmp_path: Path) -> None:
    network = IResNet((2, 2, 2, 2), dim=6, width=2, size=SIDE).eval()
    card = {"kind": "embedder", "dim": 6, "architecture": {"network": "r18"}}
    card["input"] = {"size": SIDE, "color": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(card))
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    same(zoo.resolve(str(tmp_path), "embedder"), network)


def test_a_network_of_another_depth_than_its_card_says_is_refused(tmp_path: Path) -> None:
    torch.save(backbone().state_dict(), tmp_path / "w.pth")
    message = refusal(embedder(tmp_path / "w.pth", architecture={"network": "r50"}))
    assert "(3, 4, 14, 3)" in message


@pytest.mark.parametrize("dim", [5, 512])
def test_a_wrong_dimension_is_refused(tmp_path: Path, dim: int) -> None:
    torch.save(backbone().state_dict(), tmp_path / "w.pth")
    assert f"6-d features, its card says {dim}" in refusal(embedder(tmp_path / "w.pth", dim=dim))


def test_a_card_may_leave_the_dimension_to_the_weights(tmp_path: Path) -> None:
    torch.save(backbone().state_dict(), tmp_path / "w.pth")
    assert load_embedder(embedder(tmp_path / "w.pth", dim=None)).dim == 6


def test_a_wrong_image_size_is_refused(tmp_path: Path) -> None:
    torch.save(backbone().state_dict(), tmp_path / "w.pth")
    message = refusal(embedder(tmp_path / "w.pth", input=InputSpec(112)))
    assert "size 32, its card says 112" in message


def test_missing_unknown_and_misshapen_tensors_are_refused(tmp_path: Path) -> None:
    path, whole = tmp_path / "w.pth", backbone().state_dict()
    torch.save({key: value for key, value in whole.items() if key != "bn2.weight"}, path)
    assert "lacks 1 tensors, such as bn2.weight" in refusal(embedder(path))
    torch.save(whole | {"extra": torch.zeros(1)}, path)
    assert "unknown 1 tensors, such as extra" in refusal(embedder(path))
    torch.save(whole | {"bn2.weight": torch.zeros(3)}, path)
    assert "bn2.weight has the shape (3,)" in refusal(embedder(path))
    torch.save(whole | {"bn2.weight": torch.zeros(16, dtype=torch.int64)}, path)
    assert "bn2.weight holds torch.int64" in refusal(embedder(path))


def test_a_width_nobody_could_hold_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    one, width = torch.zeros(1), 2**16
    vast = {f"layer{stage}.0.conv2.weight": one.expand(width, width, 3, 3) for stage in (1, 2, 3)}
    torch.save(backbone().state_dict() | vast, tmp_path / "w.pth")  # a few kilobytes
    assert "shape" in refusal(embedder(tmp_path / "w.pth"))


def test_a_pth_of_another_network_without_a_card_says_what_to_write(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "w.pth")
    assert "write w.yaml" in refusal(zoo.resolve(str(tmp_path / "w.pth")))


def test_a_model_without_weights_is_refused(tmp_path: Path) -> None:
    assert "train-recognizer --model m" in refusal(Model("m", Card(kind="embedder", input=SPEC), tmp_path))
    mae = Card(kind="mae", input=InputSpec(112), architecture=MAE)
    assert "facemae fit" in refusal(Model("m", mae, tmp_path))


def write_timm(path: Path, **arguments: Any) -> Model:
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", **arguments)
    save_file(network.state_dict(), path)
    return embedder(path, architecture={"network": "timm", "name": "vit_tiny_patch16_224", **arguments}, dim=None)


VIT = {"img_size": SIDE, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}


@pytest.mark.parametrize(("classes", "dim"), [(0, 16), (7, 7)])
def test_a_timm_model_loads_with_its_head_or_without(tmp_path: Path, classes: int, dim: int) -> None:
    model = write_timm(tmp_path / "w.safetensors", **VIT, num_classes=classes)
    loaded = load_embedder(model)
    assert loaded.dim == dim
    images = torch.rand(2, 3, SIDE, SIDE)
    fresh = timm.create_model("vit_tiny_patch16_224", **VIT, num_classes=classes).eval()
    fresh.load_state_dict(loaded.network.state_dict())
    torch.testing.assert_close(loaded(images), fresh((images - 0.5) / 0.5), rtol=1e-4, atol=1e-4)


def test_a_classifiers_head_that_the_card_leaves_off_is_ignored_in_the_weights(tmp_path: Path) -> None:
    model = write_timm(tmp_path / "w.safetensors", **VIT, num_classes=7)
    bare = embedder(model.path, architecture={**(model.card.architecture or {}), "num_classes": 0}, dim=16)
    assert load_embedder(bare).dim == 16


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "no_such_model"}, "no_such_model"),
        ({"name": "hf-hub:owner/other"}, "hf-hub"),
        ({"checkpoint_path": "/etc/passwd"}, "checkpoint_path"),
        ({"nonsense": 1}, "nonsense"),
        ({"depth": 10**9}, "depth"),
        ({"network": "alexnet"}, "known are r18"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    model = write_timm(tmp_path / "w.safetensors", **VIT, num_classes=0)
    assert named in refusal(embedder(model.path, architecture={**(model.card.architecture or {}), **change}))


def write_mae(folder: Path, architecture: dict[str, Any] = MAE, dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(0)
    path = folder / "weights.safetensors"
    save_file({key: value.to(dtype) for key, value in MaskedAutoencoder(**MAE).state_dict().items()}, path)
    card = Card(kind="mae", input=InputSpec(112), architecture=architecture)
    return Model("m", card, folder, path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_an_autoencoder_comes_back_as_it_was_saved(tmp_path: Path, dtype: torch.dtype) -> None:
    network = load_mae(write_mae(tmp_path, dtype=dtype))
    torch.manual_seed(0)
    saved: dict[str, Tensor] = MaskedAutoencoder(**MAE).state_dict()
    assert not network.training
    for key, value in network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, saved[key].to(dtype).float())
    visible, index = torch.rand(1, 2, 192), torch.tensor([[3, 100]])
    assert network(visible, index).shape == (1, 3, 112, 112)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 16}, "shape"),
        ({"depth": 2}, "lacks"),
        ({"colour": 1}, "colour"),
        ({"width": 2**17}, "architecture.width"),
        ({"heads": 3}, "heads"),
        ({"heads": 0}, "architecture"),
        ({"size": 224, "patch": 16}, "224"),
    ],
)
def test_an_autoencoder_of_another_architecture_is_refused(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    assert named in refusal(write_mae(tmp_path, MAE | change))


@pytest.mark.parametrize(
    "spec", [InputSpec(224), InputSpec(112, "bgr"), InputSpec(112, mean=(0.4, 0.5, 0.5)), InputSpec(112, std=(1, 1, 1))]
)
def test_an_autoencoders_card_may_not_promise_another_input(spec: InputSpec) -> None:
    with pytest.raises(InputError, match=r"rgb, with mean and std 0\.5"):
        build_mae(Card(kind="mae", input=spec, architecture=MAE))


def test_a_card_alone_builds_a_fresh_autoencoder() -> None:
    card = Card(kind="mae", input=InputSpec(112), architecture=MAE)
    assert build_mae(card).size == 112


@pytest.mark.parametrize("name", zoo.names())
def test_every_bundled_card_builds_or_loads(name: str) -> None:
    model = zoo.resolve(name)
    if model.weights is not None:
        (load_mae if model.card.kind == "mae" else load_embedder)(model)
    elif model.card.kind == "mae":
        with torch.device("meta"):
            assert build_mae(model.card).size == model.card.input.size


@pytest.mark.faces
def test_the_real_mobilefacenet_loads_with_its_card(faces_root: Path) -> None:
    network = load_embedder(zoo.resolve(str(faces_root / "mobilefacenet.onnx"), "embedder"))
    assert network.dim == 128
    image = torch.rand(1, 3, 112, 112, requires_grad=True)
    network(image).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
