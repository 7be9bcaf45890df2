"""Fit recipes: layers, checks, and every card's recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from facemae_cli.errors import InputError, UsageError
from facemae_cli.networks.card import load_card
from facemae_cli.networks.loading import build_mae
from facemae_cli.networks.zoo import root
from facemae_cli.training.recipes import FitRecipe, RecognizerRecipe, read_recipe

MAE_CARDS = sorted(path for path in root().glob("facemae-*/model.yaml"))
RECOGNISER_CARDS = [root() / name / "model.yaml" for name in ("r18", "r34", "r50", "r100", "mbf", "vit_s", "probe")]


def test_later_layers_win_and_none_says_nothing() -> None:
    recipe = FitRecipe.of({"beta": 2, "lr": 0.1}, None, {"beta": None, "lr": 0.2})
    assert (recipe.beta, recipe.lr, recipe.epochs) == (2, 0.2, 200)
    assert FitRecipe.of(recipe.as_dict()) == recipe


def test_a_recipe_file_is_a_layer_and_one_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert read_recipe(None) is None
    (tmp_path / "r.yaml").write_text("lr: 1e-3\n")
    assert read_recipe(tmp_path / "r.yaml") == {"lr": 0.001}
    with pytest.raises(InputError, match=r"--recipe .*nowhere\.yaml cannot be read: No such file .*; name a YAML file"):
        read_recipe(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("bta", 1, "no field 'bta'; there are loss, beta"),
        ("beta", "1", "recipe beta: '1' is not a float"),
        ("beta", True, "recipe beta: True is not a float"),
        ("beta", float("nan"), "recipe beta: nan is not a float"),
        ("beta", -1, "recipe beta: -1 must be 0 or more"),
        ("epochs", 1.5, "recipe epochs: 1.5 is not an int"),
        ("epochs", -1, "recipe epochs: -1 must be 0 or more"),
        ("seed", -1, r"recipe seed: -1 must be in \[0, 9223372036854775807\]"),
        ("seed", 2**63, "recipe seed"),
        ("view_shift", 113, r"recipe view_shift: 113 must be in \[0, 112\]"),
        ("view_blur", 1e6, "recipe view_blur: 1000000.0 must be in"),
        ("flip", 1, "recipe flip: 1 is not a bool"),
        ("loss", "l1", "recipe loss: 'l1' is not known; say irm or mse or mixed"),
        ("beta2", 1.0, r"recipe beta2: 1.0 must be in \[0, 1\)"),
        ("ratio", 0.1, "ratio 0.1 hides"),
        ("strategy", "nose", "unknown masking strategy 'nose'"),
        ("optimizer", "sgd", "recipe optimizer: 'sgd' is not known; say adamw or muon"),
        ("schedule", "poly", "recipe schedule: 'poly' is not known; say cosine or wsd"),
        ("ema", 1.0, r"recipe ema: 1.0 must be in \[0, 1\)"),
        ("cooldown", 1.0, "recipe cooldown: 1.0 is of schedule: wsd; say that, or cooldown: 0"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FitRecipe.of({field: value})


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="phi teaches nothing"):
        FitRecipe.of({"instance_weight": 0, "beta": 0})


def test_a_rise_and_a_fall_longer_than_the_run_are_refused() -> None:
    with pytest.raises(UsageError, match=r"warmup 2 and cooldown 3.5 are more than the 5 epochs; shorten them"):
        FitRecipe.of({"schedule": "wsd", "epochs": 5, "warmup": 2, "cooldown": 3.5})
    FitRecipe.of({"schedule": "wsd", "epochs": 5, "warmup": 2, "cooldown": 3})


def test_a_run_keeps_all_fields_but_the_length_of_wsd() -> None:
    cosine, wsd = FitRecipe(), FitRecipe(schedule="wsd")
    assert cosine.fixed() == cosine.as_dict()
    assert wsd.as_dict().keys() - wsd.fixed().keys() == {"epochs", "cooldown"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"loss": "mse", "privacy_margin": 0.1}, "judged by phi"), ({"privacy_margin": 1.0}, r"1.0 must be in \[-1, 1\)")],
)
def test_a_privacy_margin_that_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FitRecipe.of(fields)


def test_what_the_pixel_error_counts_for() -> None:
    weights = {loss: FitRecipe(loss=loss, pixel_weight=7).effective_pixel_weight for loss in ("irm", "mse", "mixed")}
    assert weights == {"irm": 0, "mse": 1, "mixed": 7}


def test_there_are_cards_for_three_sizes_and_two_geometries() -> None:
    assert {path.parent.name for path in MAE_CARDS} >= {
        f"facemae-{size}{geometry}" for size in ("tiny", "small", "base") for geometry in ("", "-224")
    }


@pytest.mark.parametrize("path", MAE_CARDS, ids=lambda path: path.parent.name)
def test_every_card_loads_and_says_how_it_is_fitted(path: Path) -> None:
    card = load_card(path)
    FitRecipe.of(card.recipe)
    assert card.architecture is not None
    assert card.architecture["size"] == card.input.size
    assert path.read_text().startswith("# Fit it: facemae fit --model " + path.parent.name)


def test_the_base_card_has_the_paper_s_shape_and_recipe() -> None:
    card = load_card(root() / "facemae-base-224" / "model.yaml")
    with torch.device("meta"):  # shapes alone: 112 million numbers take long to draw
        network = build_mae(card)
    assert (network.embed.in_features, network.embed.out_features) == (16 * 16 * 3, 768)
    assert (len(network.encoder), len(network.decoder), network.decoder_embed.out_features) == (12, 8, 512)
    recipe = FitRecipe.of(card.recipe)
    assert (recipe.loss, recipe.beta, recipe.epochs, recipe.warmup, recipe.lr) == ("irm", 1.0, 200, 40, 1.5e-4)


@pytest.mark.parametrize(("heading", "recipe"), [("an autoencoder", FitRecipe()), ("a recogniser", RecognizerRecipe())])
def test_the_recipes_of_the_page_are_the_defaults(heading: str, recipe: FitRecipe | RecognizerRecipe) -> None:
    page = (root() / "README.md").read_text().split(f"## The recipe of {heading}\n")[1]
    shown = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])["recipe"]
    assert list(shown) == list(recipe.as_dict())
    assert {**shown, "m": None} == {**recipe.as_dict(), "m": None} | {
        name: list(value) for name, value in recipe.as_dict().items() if isinstance(value, tuple)
    }


@pytest.mark.parametrize("path", RECOGNISER_CARDS, ids=lambda path: path.parent.name)
def test_a_recognizer_card_s_recipe_is_one(path: Path) -> None:
    recipe = load_card(path).recipe
    assert recipe is not None
    assert RecognizerRecipe.of(recipe).epochs == recipe["epochs"]


def test_r50_is_trained_as_the_paper_says() -> None:
    recipe = RecognizerRecipe.of(load_card(root() / "r50" / "model.yaml").recipe)
    assert recipe == RecognizerRecipe()
    assert (recipe.batch_size, recipe.lr, recipe.momentum, recipe.weight_decay) == (512, 0.1, 0.9, 5e-4)
    assert (recipe.milestones, recipe.epochs, recipe.warmup, recipe.margin_m) == ((20, 28, 32), 34, 1.0, 0.5)


def test_milestones_keep_their_place_in_a_run_of_another_length() -> None:
    card = {"epochs": 34, "milestones": [20, 28, 32]}
    assert RecognizerRecipe.of(card, {"epochs": 17}).milestones == (10, 14, 16)
    assert RecognizerRecipe.of(card, {"epochs": 17, "milestones": [5.5]}).milestones == (5.5,)
    assert RecognizerRecipe.of(card, None, {"epochs": None, "lr": 1}).milestones == (20, 28, 32)
    again = RecognizerRecipe.of(RecognizerRecipe.of(card, {"epochs": 17}).as_dict())
    assert (again.epochs, again.milestones) == (17, (10, 14, 16))


def test_the_margin_has_its_loss_s_own_size_unless_said() -> None:
    assert [RecognizerRecipe(margin=kind).margin_m for kind in ("arcface", "cosface", "none")] == [0.5, 0.4, 0.0]
    assert RecognizerRecipe(m=0.25).margin_m == 0.25


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sample_rate", 1.5, r"sample_rate: 1.5 must be in \(0, 1\]"),
        ("sample_rate", 0, r"sample_rate: 0 must be in \(0, 1\]"),
        ("lr", 0, "lr: 0 must be above 0"),
        ("m", 1.6, r"m: 1.6 must be in \[0, 1.5\)"),
        ("batch_size", 1, "batch_size: 1 must be 2 or more"),
        ("seed", -1, "recipe seed: -1 must be in"),
        ("milestones", [3, 2], r"milestones: \[3, 2\] must be epochs above 0 that rise"),
        ("milestones", 3, "milestones: 3 is not a list of numbers"),
        ("milestones", ["3"], "milestones: '3' is not a float"),
        ("momentum", 1.0, r"momentum: 1.0 must be in \[0, 1\)"),
        ("schedule", "linear", "schedule: 'linear' is not known; say steps or poly or cosine"),
    ],
)
def test_a_wrong_field_of_a_recognizer_is_named(field: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RecognizerRecipe.of({field: value})


def test_no_epochs_need_no_warm_up() -> None:
    assert FitRecipe(schedule="wsd", warmup=0.3, cooldown=1.0, epochs=0).epochs == 0
    with pytest.raises(UsageError, match="are more than the 1 epochs"):
        FitRecipe(schedule="wsd", warmup=0.3, cooldown=1.0, epochs=1)
