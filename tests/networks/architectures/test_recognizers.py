"""Recognisers by their cards: built fresh, saved, and loaded again, ours and InsightFace's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from helpers import references
from helpers.references import assert_same_embeddings, faces, scrambled
from safetensors.torch import save_file

from facemae_cli.errors import InputError
from facemae_cli.networks import zoo
from facemae_cli.networks.architectures.registry import FAMILIES
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Card, InputSpec, card_text, load_card
from facemae_cli.networks.loading import build_embedder, load_embedder
from facemae_cli.training.recipes import RecognizerRecipe

CARDS = [path for path in sorted(zoo.root().glob(f"*/{CARD_NAME}")) if load_card(path).kind == "embedder"]
SMALL: dict[str, dict[str, Any]] = {
    "iresnet": {"network": "iresnet", "blocks": [1, 2, 1], "widths": [4, 6, 8, 10], "stem_stride": 2},
    "mobilefacenet": {"network": "mobilefacenet", "blocks": [1, 1, 2, 1], "scale": 1},
    "vit": {"network": "vit", "patch": 8, "width": 12, "depth": 2, "heads": 3},
}
SIDE = 32


def card(architecture: dict[str, Any] | None, dim: int | None = 5, size: int = SIDE) -> Card:
    return Card(kind="embedder", input=InputSpec(size), dim=dim, architecture=architecture)


def saved(folder: Path, name: str, dtype: torch.dtype = torch.float32, **more: Any) -> torch.nn.Module:
    """A small network with its card as a model folder; `more` changes the card."""
    network = scrambled(build_embedder(card(SMALL[name]))).to(dtype).float()
    state = {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in network.state_dict().items()
    }
    save_file(state, folder / WEIGHTS_NAME)
    (folder / CARD_NAME).write_text(card_text(card(SMALL[name] | more, **({"dim": None} if "dim" in more else {}))))
    return network


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_embedder(zoo.resolve(str(folder), "embedder"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_zoo_has_the_recognizers_of_the_paper_and_a_probe() -> None:
    assert {path.parent.name for path in CARDS} >= {"r18", "r34", "r50", "r100", "mbf", "vit_s", "probe"}


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.parent.name)
def test_every_embedders_card_builds_what_it_states_and_says_how_it_is_trained(path: Path) -> None:
    model = zoo.resolve(path.parent.name, "embedder")
    with torch.device("meta"):
        *_, last = build_embedder(model.card).modules()
    assert isinstance(last, torch.nn.BatchNorm1d)
    assert last.num_features == model.card.dim
    if model.weights is None:
        assert path.read_text().startswith(f"# Train it: facemae train-recognizer --model {model.name} ")
        with pytest.raises(InputError, match=f"train-recognizer --model {model.name}"):
            load_embedder(model)


@pytest.mark.parametrize(("name", "blocks"), [("r18", 8), ("r34", 16), ("r50", 24), ("r100", 49), ("probe", 3)])
def test_residual_cards_have_as_many_blocks_as_their_names_say(name: str, blocks: int) -> None:
    with torch.device("meta"):
        state = build_embedder(zoo.resolve(name).card).state_dict()
    assert len([key for key in state if key.endswith("conv2.weight")]) == blocks


def test_the_probe_is_thin() -> None:
    with torch.device("meta"):
        network = build_embedder(zoo.resolve("probe").card)
    state = network.state_dict()
    assert [state[f"layer{stage}.0.conv2.weight"].shape[0] for stage in (1, 2, 3)] == [48, 96, 192]
    assert state["conv1.weight"].shape[0] == 32
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(1.9e6, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dim", [None, 7])
def test_a_card_alone_builds_a_network_that_trains(name: str, dim: int | None) -> None:
    network = build_embedder(card(SMALL[name]), dim)
    assert network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    features = network(faces(3, SIDE))
    assert features.shape == (3, dim or 5)
    assert features.requires_grad


def test_without_a_dimension_it_is_512() -> None:
    with torch.device("meta"):
        assert build_embedder(card({"network": "r18"}, dim=None)).get_parameter("fc.bias").shape == (512,)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_folder_comes_back_as_it_was_saved(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    network = saved(tmp_path, name, dtype)
    loaded = load_embedder(zoo.resolve(str(tmp_path), "embedder"))
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    assert loaded.dim == 5
    with torch.no_grad():
        assert_same_embeddings(loaded((faces(2, SIDE) + 1) / 2), network(faces(2, SIDE)), within=1e-4)


def test_counts_of_training_steps_may_be_missing(tmp_path: Path) -> None:
    network = saved(tmp_path, "iresnet")
    bare = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(bare, tmp_path / WEIGHTS_NAME)
    loaded = load_embedder(zoo.resolve(str(tmp_path)))
    assert int(loaded.network.get_buffer("bn1.num_batches_tracked")) == 0
    with torch.no_grad():
        assert_same_embeddings(loaded((faces(2, SIDE) + 1) / 2), network(faces(2, SIDE)), within=1e-4)


@pytest.mark.parametrize(
    ("name", "change", "named"),
    [
        ("iresnet", {"blocks": [1, 1, 1]}, r"made with blocks (1, 2, 1), its card says [1, 1, 1]"),
        ("iresnet", {"widths": [4, 6, 8, 12]}, "made with widths (4, 6, 8, 10)"),
        ("iresnet", {"stem_stride": 1}, "made with size 16, its card says 32"),
        ("iresnet", {"stem_stride": 3}, "stem_stride 3"),
        ("iresnet", {"network": "mbf"}, "MobileFaceNet"),
        ("mobilefacenet", {"network": "r18"}, "iresnet"),
        ("mobilefacenet", {"scale": 2}, "made with scale 1"),
        ("mobilefacenet", {"network": "vit"}, "vision transformer"),
        ("vit", {"depth": 3}, "made with depth 2"),
        ("vit", {"heads": 5}, "12 is not a multiple of its 5 heads"),
        ("vit", {"dim": 5}, "`architecture.dim` is given by the rest of the card"),
        ("vit", {"drop": 0.1}, "unexpected keyword argument 'drop'"),
    ],
)
def test_weights_of_another_shape_than_the_card_says_are_refused(
    tmp_path: Path, name: str, change: dict[str, Any], named: str
) -> None:
    saved(tmp_path, name, **change)
    assert named in refusal(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        (None, "`architecture.network` is None; known are r18"),
        ({"network": "r51"}, "'r51'"),
        ({"network": ["r50"]}, "known are"),
        ({"network": "r50", "blocks": [1, 1, 1, 1]}, "`architecture.blocks` is given by the rest"),
        ({"network": "r50", "size": 64}, "`architecture.size` is given by the rest"),
        ({"network": "iresnet"}, "blocks"),
        ({"network": "iresnet", "blocks": [1, "x"]}, "cannot be built"),
        ({"network": "iresnet", "blocks": [1, 1], "widths": [4, 8, 2**17]}, "at most 65536"),
    ],
)
def test_an_architecture_that_cannot_be_built_is_refused(architecture: dict[str, Any] | None, named: str) -> None:
    with pytest.raises(InputError) as caught:
        build_embedder(card(architecture))
    assert named in str(caught.value)


def test_a_timm_network_keeps_the_dimension_its_card_gives_it() -> None:
    architecture = {"network": "timm", "name": "vit_tiny_patch16_224", "img_size": 32, "depth": 1, "num_classes": 6}
    with torch.device("meta"):
        assert build_embedder(card(architecture, 6), 6)(torch.empty(1, 3, 32, 32)).shape == (1, 6)
    with pytest.raises(InputError, match="`num_classes` says, not 7"):
        build_embedder(card(architecture, 6), 7)


def test_every_name_an_architecture_may_have_is_documented() -> None:
    text = (zoo.root() / "README.md").read_text()
    assert [name for name in FAMILIES if name not in text] == []


def test_the_recipe_that_is_documented_is_the_default_one() -> None:
    text = (zoo.root() / "README.md").read_text()
    shown = yaml.safe_load(re.findall(r"```yaml\n(recipe:\n  margin.*?)```", text, re.DOTALL)[0])["recipe"]
    assert RecognizerRecipe.of(shown) == RecognizerRecipe(m=0.5)
    assert shown.keys() == RecognizerRecipe().as_dict().keys()


def test_insightfaces_r50_loads_from_its_backbone_pth(tmp_path: Path) -> None:
    torch.save(references.r50().state_dict(), tmp_path / "backbone.pth")
    (tmp_path / "backbone.yaml").write_text(card_text(card({"network": "r50"}, 512, 112)))
    loaded = load_embedder(zoo.resolve(str(tmp_path / "backbone.pth"), "embedder"))
    with torch.no_grad():
        assert_same_embeddings(loaded((faces() + 1) / 2), references.r50()(faces()))


def test_insightfaces_mbf_loads_from_its_backbone_pth_without_a_card(tmp_path: Path) -> None:
    theirs = scrambled(references.MobileFaceNet((1, 4, 6, 2), 2))
    torch.save(theirs.state_dict(), tmp_path / "backbone.pth")
    loaded = load_embedder(zoo.resolve(str(tmp_path / "backbone.pth"), "embedder"))
    assert loaded.dim == 512
    with torch.no_grad():
        assert_same_embeddings(loaded((faces() + 1) / 2), theirs(faces()))
