"""The attacker's own release: masked and drawn in memory as the commands do it, seen by each attacker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import write_embedder, write_mae
from helpers.sources import MemorySource, memory_source

import facemae_cli
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.evaluation.leakage import imitation as module
from facemae_cli.evaluation.leakage.imitation import Imitator, Recipe, imitate
from facemae_cli.inference.embed import Embeddings
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Model
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.progress import SILENT

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def phi(folder: Path) -> Recognizer:
    return Recognizer.load(str(write_embedder(folder / "phi.onnx", dim=16)), "cpu")


@pytest.fixture(scope="module")
def mae(folder: Path) -> Model:
    return resolve(str(write_mae(folder / "mae")), "mae")


def imitator(model: Model | None, recipe: Recipe | None = None) -> Imitator:
    return Imitator(model, recipe or Recipe(), CPU, "fp32")


def made(source: MemorySource, who: Imitator, phi: Recognizer, **more: object) -> Embeddings:
    options = {"times": 1, "seed": 0, "threads": 2, "digest": "faces"} | more
    (found,) = imitate(source, who, [phi], **options)  # type: ignore[arg-type]
    return found


def write(folder: Path, source: MemorySource) -> Path:
    for index in range(len(source)):
        name = source.name(index)
        (folder / str(name.identity)).mkdir(parents=True, exist_ok=True)
        (folder / str(name.identity) / name.photo).write_bytes(source.read(index))
    return folder


def test_an_imitation_is_what_the_commands_would_make(
    tmp_path: Path, phi: Recognizer, mae: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    source = memory_source(3, 3)
    write(tmp_path / "raw", source)
    seed = module._mask_seed(5, 0)
    facemae_cli.mask(tmp_path / "raw", tmp_path / "masked", seed=seed, keep_names=True, ratio=0.6)
    facemae_cli.reconstruct(tmp_path / "masked", tmp_path / "made", model=str(mae.path), device="cpu", precision="fp32")
    expected = phi.embed(open_source(tmp_path / "made"))
    found = made(source, imitator(mae, Recipe(ratio=0.6)), phi, seed=5)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
    recipe = Recipe.of(read_manifest(tmp_path / "made"), source)
    assert (recipe.strategy, recipe.size, recipe.ratio) == ("random", None, pytest.approx(0.6, abs=0.003))


def test_several_masks_a_photo_add_up(phi: Recognizer, mae: Model) -> None:
    source = memory_source(2, 2)
    who = imitator(mae)
    one, two = (made(source, who, phi, times=times).features for times in (1, 2))
    drawn = who.faces(source, module._mask_seed(0, 1), who.reconstructor(2), SILENT)
    total = one.astype(float) + np.concatenate([phi.embed(faces).features for faces in drawn])
    np.testing.assert_allclose(two, total / np.linalg.norm(total, axis=1, keepdims=True), atol=1e-6)
    assert np.abs(one - two).max() > 1e-4


def test_masks_follow_the_seed(phi: Recognizer) -> None:
    source = memory_source(2, 2)
    first, again, other = (made(source, imitator(None), phi, seed=seed).features for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-4


def test_a_release_that_was_only_masked_is_imitated_by_masking(tmp_path: Path, phi: Recognizer) -> None:
    source = memory_source(2, 2)
    seed = module._mask_seed(0, 0)
    facemae_cli.mask(write(tmp_path / "raw", source), tmp_path / "masked", seed=seed, keep_names=True)
    expected = phi.embed(open_source(tmp_path / "masked"))
    np.testing.assert_allclose(made(source, imitator(None), phi).features, expected.features, atol=1e-6)
    assert imitator(None).name == "mask"


def test_faces_that_cannot_be_masked_have_no_imitation(phi: Recognizer, mae: Model) -> None:
    faces = [*memory_source(2, 2).faces, ("p9", "0.png", b"broken")]
    for model in (mae, None):
        found = made(MemorySource(faces), imitator(model), phi)
        assert found.valid.tolist() == [True] * 4 + [False]
        assert found.refused == []


def test_faces_of_another_size_are_resized_before_they_are_masked(phi: Recognizer, mae: Model) -> None:
    source = memory_source(1, 2, size=100)
    recipe = Recipe.of(None, source)
    assert recipe == Recipe("random", 0.75, 112)
    assert made(source, imitator(mae, recipe), phi).valid.all()
    assert not made(source, imitator(mae), phi).valid.any()


def test_the_recipe_is_that_of_the_release() -> None:
    source = MemorySource([("p", "0.png", encode_png(np.zeros((112, 112, 3), np.uint8)))])
    said = Manifest(command="mask", strategy="eyes", mask_ratio=0.5, extra={"size": 224})
    assert Recipe.of(said, source) == Recipe("eyes", 0.5, 224)
    parts = Manifest(command="mask", strategy="parts", mask_ratio=0.8163)
    assert Recipe.of(parts, source) == Recipe("parts", None, None)
    assert Recipe.of(None, source) == Recipe("random", 0.75, None)


def test_features_are_kept_by_what_made_them(
    tmp_path: Path, phi: Recognizer, mae: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = memory_source(2, 2)
    first = made(source, imitator(mae), phi, cache=tmp_path)
    draws = []
    monkeypatch.setattr(module.Imitator, "reconstructor", lambda self, threads: draws.append(self) or module._read)
    np.testing.assert_array_equal(made(source, imitator(mae), phi, cache=tmp_path).features, first.features)
    assert draws == []
    for change in ({"seed": 1}, {"times": 2}, {"digest": "others"}):
        made(source, imitator(mae), phi, cache=tmp_path, **change)
    made(source, imitator(mae, Recipe(ratio=0.5)), phi, cache=tmp_path)
    made(source, imitator(None), phi, cache=tmp_path)
    assert len(draws) == 5
