"""The attacker's own release: masked and drawn in memory as the commands do it, seen by each attacker."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.models import write_embedder, write_mae
from helpers.sources import MemorySource, memory_source

import facemae_cli
from facemae_cli.data.images.codec import decode, encode_png
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.evaluation.leakage import imitation as module
from facemae_cli.evaluation.leakage.dataset_features import see_dataset
from facemae_cli.evaluation.leakage.face_stream import Viewer
from facemae_cli.evaluation.leakage.imitation import Imitation, Imitator, MaskingRecipe
from facemae_cli.inference.embed import Embeddings
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.masking.key import seed_mask_key
from facemae_cli.masking.levels import Level
from facemae_cli.masking.mixing import Mixing
from facemae_cli.networks.card import Model
from facemae_cli.networks.zoo import resolve

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


def imitator(model: Model | None, recipe: MaskingRecipe | None = None) -> Imitator:
    return Imitator(model, recipe or MaskingRecipe(), CPU, "fp32")


def made(source: MemorySource, who: Imitator, phi: Recognizer, **more: object) -> Embeddings:
    options = {"times": 1, "seed": 0, "threads": 2} | more
    times = options.pop("times")
    seen = see_dataset(source, {"phi": Viewer.of(phi, "auto")}, [(who, times)], **options)  # type: ignore[list-item, arg-type]
    return seen.imitated[0]["phi"]


def write(folder: Path, source: MemorySource) -> Path:
    for index in range(len(source)):
        name = source.name(index)
        (folder / str(name.identity)).mkdir(parents=True, exist_ok=True)
        (folder / str(name.identity) / name.photo).write_bytes(source.read(index))
    return folder


def test_an_imitation_is_what_the_commands_would_make(tmp_path: Path, phi: Recognizer, mae: Model) -> None:
    source = memory_source(3, 3)
    write(tmp_path / "raw", source)
    seed = module._mask_seed(5, 0)
    facemae_cli.mask(tmp_path / "raw", tmp_path / "masked", seed=seed, keep_names=True, ratio=0.6)
    facemae_cli.reconstruct(tmp_path / "masked", tmp_path / "made", model=str(mae.path), device="cpu", precision="fp32")
    expected = phi.embed(open_source(tmp_path / "made"))
    found = made(source, imitator(mae, MaskingRecipe(ratio=0.6)), phi, seed=5)
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
    recipe = MaskingRecipe.of(read_manifest(tmp_path / "made"), source)
    assert (recipe.strategy, recipe.size, recipe.ratio) == ("random", None, pytest.approx(0.6, abs=0.003))


def test_an_imitation_of_a_mixed_release_is_what_the_commands_would_make(
    tmp_path: Path, phi: Recognizer, mae: Model
) -> None:
    source, seed = memory_source(4, 2), module._mask_seed(5, 0)
    write(tmp_path / "raw", source)
    (tmp_path / "his.key").write_text(f"{seed_mask_key(seed).hex()}\n")
    (tmp_path / "his.key").chmod(0o600)
    level = Level(Mixing(people=3, copies=2), 0.8)
    facemae_cli.mask(
        tmp_path / "raw", tmp_path / "masked", key=tmp_path / "his.key", seed=seed, protect=level,
        sources=tmp_path / "whom.csv",
    )  # fmt: skip
    facemae_cli.reconstruct(tmp_path / "masked", tmp_path / "made", model=str(mae.path), device="cpu", precision="fp32")
    expected = phi.embed(open_source(tmp_path / "made"))
    recipe = MaskingRecipe.of(read_manifest(tmp_path / "made"), source)
    assert (recipe.mixing, recipe.ratio) == (level.mixing, pytest.approx(0.8, abs=0.01))
    who = imitator(mae, replace(recipe, ratio=0.8))
    mixtures = who.mixtures(source, 5, 1)
    viewer = {"phi": Viewer.of(phi, "auto")}
    found = see_dataset(mixtures, {}, [(who, 1)], watching=viewer, seed=5).imitated[0]["phi"]
    np.testing.assert_allclose(found.features, expected.features, atol=1e-5)
    # Whoever reconstructs a masked mixture need not warp it.
    bare = see_dataset(open_source(tmp_path / "masked"), {}, [(Imitator(mae, None, CPU, "fp32"), 1)], watching=viewer)
    assert np.abs(bare.imitated[0]["phi"].features - expected.features).max() > 1e-3


def test_features_of_mixtures_are_kept_as_others_are(tmp_path: Path, phi: Recognizer, mae: Model) -> None:
    source = memory_source(3, 2)
    who = imitator(mae, MaskingRecipe(mixing=Mixing(2, 1)))
    assert str(who.recipe) == "random, ratio 0.75, 2 people in a face, each photo first in 1"
    viewer = {"phi": Viewer.of(phi, "auto")}

    def made(cache: Path | None, seed: int = 0) -> np.ndarray:
        mixtures = who.mixtures(source, seed, 1)
        again = see_dataset(mixtures, {}, [(who, 1)], watching=viewer, seed=seed, cache=cache)
        return again.imitated[0]["phi"].features

    first = made(tmp_path)
    [kept] = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(made(tmp_path), first)
    assert kept.stat().st_mtime_ns == before
    np.testing.assert_array_equal(made(None), first)
    assert np.abs(made(tmp_path, seed=1) - first).max() > 1e-4
    assert len(list(tmp_path.iterdir())) == 2


def test_several_masks_a_photo_add_up(phi: Recognizer, mae: Model) -> None:
    source, who = memory_source(2, 2), imitator(mae)
    one, two = (made(source, who, phi, times=times).features for times in (1, 2))
    imitation, faces = Imitation(who, source, 2, 0), [source.read(at) for at in range(4)]
    second = [imitation.masked(at, data, decode(data))[1] for at, data in enumerate(faces)]
    shown = [encode_png(imitation.published(image)) for image in imitation.reconstruct(second) if image is not None]
    total = (
        one.astype(float) + phi.embed(MemorySource([("p", str(at), data) for at, data in enumerate(shown)])).features
    )
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
    recipe = MaskingRecipe.of(None, source)
    assert recipe == MaskingRecipe("random", 0.75, 112)
    assert made(source, imitator(mae, recipe), phi).valid.all()
    assert not made(source, imitator(mae), phi).valid.any()


def test_the_recipe_is_that_of_the_release() -> None:
    source = MemorySource([("p", "0.png", encode_png(np.zeros((112, 112, 3), np.uint8)))])
    said = Manifest(command="mask", strategy="eyes", mask_ratio=0.5, extra={"size": 224})
    assert MaskingRecipe.of(said, source) == MaskingRecipe("eyes", 0.5, 224)
    parts = Manifest(command="mask", strategy="parts", mask_ratio=0.8163)
    assert MaskingRecipe.of(parts, source) == MaskingRecipe("parts", None, None)
    assert MaskingRecipe.of(None, source) == MaskingRecipe("random", 0.75, None)


def test_features_are_kept_by_what_made_them(
    tmp_path: Path, phi: Recognizer, mae: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = memory_source(2, 2)
    first = made(source, imitator(mae), phi, cache=tmp_path)

    class Forbidden(Imitation):
        def reconstruct(self, faces: object) -> list[np.ndarray | None]:
            raise AssertionError("nothing has to be made again")

    with monkeypatch.context() as patch:
        patch.setattr("facemae_cli.evaluation.leakage.dataset_features.Imitation", Forbidden)
        np.testing.assert_array_equal(made(source, imitator(mae), phi, cache=tmp_path).features, first.features)
    files = len(list(tmp_path.iterdir()))
    assert files == 2  # of the photos, and of their imitation
    for change in ({"seed": 1}, {"times": 2}):
        made(source, imitator(mae), phi, cache=tmp_path, **change)
    made(source, imitator(mae, MaskingRecipe(ratio=0.5)), phi, cache=tmp_path)
    made(source, imitator(None), phi, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == files + 4
    made(memory_source(1, 2), imitator(mae), phi, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == files + 6
