"""From what a person writes to a model: names, paths, the hub; and what is refused on the way."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from facemae_cli.errors import FacemaeError, InputError, UsageError
from facemae_cli.networks import zoo
from facemae_cli.networks.card import InputSpec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SPEC = {"size": 112, "color": "rgb", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
EMBEDDER = {"kind": "embedder", "input": SPEC, "dim": 8}
MAE = {"kind": "mae", "input": SPEC, "architecture": {"patch": 8}}


def write_card(path: Path, card: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(card))
    return path


def write_graph(path: Path, side: int = 112, *, normalises: bool = False) -> Path:
    """An ONNX file that could be an embedder, to be looked at and never run."""
    nodes = [helper.make_node("Flatten", ["z"], ["y"])]
    steps = [("Sub", "x", "s"), ("Mul", "s", "z")] if normalises else [("Relu", "x", "z")]
    for op, source, target in reversed(steps):
        inputs = [source, "c"] if normalises else [source]
        nodes.insert(0, helper.make_node(op, inputs, [target]))
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, side, side])
    features = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "d"])
    constant = numpy_helper.from_array(torch.tensor(127.5).numpy(), "c")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [images], [features], [constant])), path)
    return path


def refused(text: object, kind: str | None = None, error: type[FacemaeError] = InputError) -> str:
    with pytest.raises(error) as caught:
        zoo.resolve(str(text), kind)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of two models in place of the bundled ones."""
    folder = tmp_path / "zoo"
    write_card(folder / "one" / "model.yaml", MAE)
    write_card(folder / "two" / "model.yaml", EMBEDDER)
    (folder / "two" / "weights.safetensors").write_bytes(b"w")
    (folder / "no-model").mkdir()
    monkeypatch.setattr(zoo, "root", lambda: folder)
    return folder


def test_every_bundled_model_resolves_by_its_name() -> None:
    for name in zoo.names():
        model = zoo.resolve(name)
        assert model.name == name
        assert not model.card.assumed


def test_bundled_weights_are_small_and_their_cards_say_where_they_come_from() -> None:
    known = [model for model in map(zoo.resolve, zoo.names()) if model.weights is not None]
    assert {zoo.EMBEDDER, zoo.UNTAUGHT_EMBEDDER} <= {model.name for model in known}
    for model in known:
        assert model.weights is not None
        assert model.weights.stat().st_size < (10 if model.card.kind == "embedder" else 50) * 2**20
        assert model.card.license
        assert {"faces", "sets", "terms"} <= model.card.data.keys()
        assert {"about", "weights"} <= model.card.notes.keys()
        assert model.card.results


def test_names_are_the_folders_with_a_card(bundled: Path) -> None:
    assert zoo.names() == ["one", "two"]


def test_a_name_gives_a_model_with_its_weights_or_without(bundled: Path) -> None:
    one, two = zoo.resolve("one"), zoo.resolve("two")
    assert (one.name, one.card.kind, one.weights, one.digest) == ("one", "mae", None, None)
    assert two.weights == bundled / "two" / "weights.safetensors"


def test_an_unknown_name_lists_the_known_ones(bundled: Path) -> None:
    assert "one, two" in refused("three", error=UsageError)


def test_a_name_wins_over_a_folder_unless_written_as_a_path(
    bundled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_card(tmp_path / "one" / "model.yaml", MAE | {"source": "mine"})
    monkeypatch.chdir(tmp_path)
    assert zoo.resolve("one").card.source is None
    assert zoo.resolve("./one").card.source == "mine"


@pytest.mark.parametrize(("text", "kind"), [("one", "embedder"), ("two", "mae")])
def test_a_model_of_another_kind_is_a_usage_error(bundled: Path, text: str, kind: str) -> None:
    assert f"kind {kind} is needed" in refused(text, kind, UsageError)


def test_a_folder_its_card_and_its_weights_are_one_model(tmp_path: Path) -> None:
    card = write_card(tmp_path / "run" / "model.yaml", MAE | {"weights": "w.safetensors"})
    (tmp_path / "run" / "w.safetensors").write_bytes(b"w")
    assert zoo.resolve(str(card.parent)) == zoo.resolve(str(card))
    assert zoo.resolve(str(card)).name == "run"


def test_the_default_weights_of_a_folder_bring_its_card(tmp_path: Path) -> None:
    card = write_card(tmp_path / "run" / "model.yaml", MAE)
    weights = card.with_name("weights.safetensors")
    weights.write_bytes(b"w")
    assert zoo.resolve(str(weights)) == zoo.resolve(str(card.parent))


def test_weights_take_the_card_beside_them(tmp_path: Path) -> None:
    weights = write_graph(tmp_path / "net.onnx")
    card = write_card(tmp_path / "net.yaml", EMBEDDER | {"weights": "net.onnx"})
    by_weights, by_card = zoo.resolve(str(weights), "embedder"), zoo.resolve(str(card))
    assert by_weights == by_card
    assert (by_weights.name, by_weights.weights, by_weights.warning) == ("net", weights, None)


def test_a_card_of_other_weights_is_refused(tmp_path: Path) -> None:
    weights = write_graph(tmp_path / "net.onnx")
    write_card(tmp_path / "net.yaml", EMBEDDER | {"weights": "other.onnx"})
    assert "other.onnx" in refused(weights)


def test_a_card_whose_weights_are_missing_is_refused(tmp_path: Path) -> None:
    write_card(tmp_path / "run" / "model.yaml", MAE | {"weights": "gone.safetensors"})
    assert "gone.safetensors" in refused(tmp_path / "run")


def test_an_embedder_without_weights_and_architecture_is_refused(tmp_path: Path) -> None:
    write_card(tmp_path / "run" / "model.yaml", EMBEDDER)
    assert "no weights" in refused(tmp_path / "run")


def test_an_embedders_architecture_needs_no_weights(tmp_path: Path) -> None:
    card = write_card(tmp_path / "run" / "model.yaml", EMBEDDER | {"architecture": {"network": "r50"}})
    model = zoo.resolve(str(card.parent), "embedder")
    assert (model.name, model.weights, model.digest) == ("run", None, None)
    card.with_name("weights.safetensors").write_bytes(b"w")
    assert zoo.resolve(str(card.parent)).weights == card.with_name("weights.safetensors")


@pytest.mark.parametrize("name", ["gone", "gone.onnx", "gone.pth"])
def test_a_path_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    assert "no such file" in refused(tmp_path / name)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "not a model" in refused(tmp_path / "notes.txt")
    assert "not a model" in refused(tmp_path)


def test_without_a_card_an_onnx_of_112_pixels_is_insightfaces(tmp_path: Path) -> None:
    model = zoo.resolve(str(write_graph(tmp_path / "w600k.onnx")))
    assert model.card.assumed
    assert model.card.input == InputSpec(112, "rgb", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert model.warning is not None
    assert "w600k.yaml" in model.warning
    assert "\n" not in model.warning


def test_a_graph_that_normalises_itself_gets_pixels_from_0_to_255(tmp_path: Path) -> None:
    spec = zoo.resolve(str(write_graph(tmp_path / "old.onnx", normalises=True))).card.input
    assert spec.mean == (0.0, 0.0, 0.0)
    assert spec.std == pytest.approx((1 / 255,) * 3)


def test_without_a_card_a_pth_is_insightfaces(tmp_path: Path) -> None:
    (tmp_path / "backbone.pth").write_bytes(b"")
    assert zoo.resolve(str(tmp_path / "backbone.pth")).card.assumed


def test_without_a_card_anything_else_is_an_error_that_says_what_to_write(tmp_path: Path) -> None:
    assert "big.yaml" in refused(write_graph(tmp_path / "big.onnx", side=160))
    (tmp_path / "s.safetensors").write_bytes(b"")
    assert "s.yaml" in refused(tmp_path / "s.safetensors")
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 100)
    assert "not an ONNX file" in refused(tmp_path / "broken.onnx")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The client's cache on disk, offline, with one commit of `owner/face`; returns that commit's folder."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "cache" / "models--owner--face"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


CONFIG = {
    "architecture": "resnet18",
    "num_classes": 8,
    "model_args": {"drop_rate": 0.1},
    "pretrained_cfg": {"input_size": [3, 96, 96], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "license": "mit"},
}


def write_timm(snapshot: Path, config: dict[str, Any], weights: str = "model.safetensors") -> None:
    (snapshot / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(1)}, snapshot / weights)


def test_a_timm_model_of_the_hub_gets_its_card_from_its_configuration(hub: Path) -> None:
    write_timm(hub, CONFIG)
    model = zoo.resolve("hf-hub:owner/face", "embedder")
    assert model.name == "owner/face"
    assert model.revision == COMMIT
    assert model.weights == hub / "model.safetensors"
    assert model.card.input == InputSpec(96, "rgb", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert model.card.architecture == {"network": "timm", "name": "resnet18", "num_classes": 8, "drop_rate": 0.1}
    assert model.card.license == "mit"
    assert COMMIT in str(model.card.source)


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 1000},
        {"label_names": ["a", "b"]},
        {"pretrained_cfg": CONFIG["pretrained_cfg"] | {"labels": ["a"]}},
    ],
)
def test_a_classifiers_head_is_left_off(change: dict[str, Any]) -> None:
    card = zoo.timm_card(CONFIG | change, "x")
    assert card.architecture is not None
    assert card.architecture["num_classes"] == 0


def test_timms_older_flat_configuration_is_read() -> None:
    flat = {"architecture": "resnet18", "num_classes": 8, **CONFIG["pretrained_cfg"]}
    assert zoo.timm_card(flat, "x").input == zoo.timm_card(CONFIG, "x").input


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"architecture": 3, "pretrained_cfg": CONFIG["pretrained_cfg"]},
        {"architecture": "resnet18"},
        CONFIG | {"pretrained_cfg": CONFIG["pretrained_cfg"] | {"input_size": [3, 96, 64]}},
        CONFIG | {"pretrained_cfg": CONFIG["pretrained_cfg"] | {"std": [1, 1, 0]}},
        CONFIG | {"model_args": [1]},
    ],
)
def test_a_configuration_that_says_too_little_is_refused(hub: Path, config: dict[str, Any]) -> None:
    write_timm(hub, config)
    assert "hf-hub:owner/face" in refused("hf-hub:owner/face")


def test_a_model_folder_of_ours_on_the_hub_resolves_like_one_on_disk(hub: Path) -> None:
    write_card(hub / "model.yaml", MAE)
    (hub / "weights.safetensors").write_bytes(b"w")
    model = zoo.resolve(f"hf-hub:owner/face@{COMMIT}", "mae")
    assert (model.revision, model.weights) == (COMMIT, hub / "weights.safetensors")


def test_from_the_hub_only_safetensors_are_taken(hub: Path) -> None:
    write_card(hub / "model.yaml", EMBEDDER | {"weights": "net.pth"})
    (hub / "net.pth").write_bytes(b"w")
    assert "safetensors" in refused("hf-hub:owner/face")
    (hub / "model.yaml").unlink()
    write_timm(hub, CONFIG, weights="pytorch_model.bin")
    assert "model.safetensors" in refused("hf-hub:owner/face")


def test_an_id_that_is_not_cached_is_one_line_offline(hub: Path) -> None:
    assert "owner/other" in refused("hf-hub:owner/other")


@pytest.mark.parametrize(
    "name", ["", "face", "../x", "/etc/passwd", "owner/../face", "a/b/c", "owner/face@", "o w/n", "owner/..", "./a/b"]
)
def test_an_id_that_is_none_is_refused_before_anything_is_fetched(name: str) -> None:
    assert "owner/name" in refused(f"hf-hub:{name}", error=UsageError)


def test_a_folder_as_a_hub_has_it_is_a_model(tmp_path: Path) -> None:
    config = {
        "architecture": "resnet10t",
        "num_classes": 0,
        "pretrained_cfg": {"input_size": [3, 112, 112], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "no config.json with model.safetensors" in refused(tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    model = zoo.resolve(str(tmp_path), "embedder")
    assert (model.weights, model.card.input.size) == (tmp_path / "model.safetensors", 112)
    assert model.card.architecture == {"network": "timm", "name": "resnet10t", "num_classes": 0}
    (tmp_path / "config.json").write_text('{"model_type": "vit", "architectures": ["ViTModel"]}')
    assert "names no timm architecture" in refused(tmp_path)


@pytest.mark.parametrize("name", ["backbone.ckpt", "backbone.pth.tar"])
def test_checkpoints_by_other_names_take_insightfaces_convention_or_their_card(tmp_path: Path, name: str) -> None:
    torch.save({}, tmp_path / name)
    model = zoo.resolve(str(tmp_path / name))
    assert (model.name, model.card.assumed) == ("backbone", True)
    assert model.warning is not None
    [advised] = re.findall(r"write (\S+) beside it", model.warning)
    card: dict[str, Any] = {"kind": "embedder", "weights": name, "architecture": {"network": "r18"}}
    card["input"] = {"size": 112, "color": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}
    write_card(tmp_path / advised, card)
    found = zoo.resolve(str(tmp_path / name))
    assert (found.name, found.card.architecture) == ("backbone", {"network": "r18"})
    assert zoo.resolve(str(tmp_path / advised)) == found


def test_what_stands_in_a_model_s_place_is_named(tmp_path: Path) -> None:
    for name in ("x.onnx", "x.txt"):
        (tmp_path / name).write_bytes(b"<!doctype html><title>Sign in</title>")
        assert "it is an HTML page" in refused(tmp_path / name)
