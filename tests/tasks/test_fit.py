"""`fit` end to end on small data: losses, layers of settings, resuming, ranks, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from helpers.models import write_embedder, write_mae
from helpers.ranks import end_of, run_ranks
from helpers.sources import smooth_face
from safetensors import safe_open
from safetensors.torch import load_file

from facemae_cli.data.images.codec import encode_png
from facemae_cli.errors import FacemaeError, InputError, UsageError
from facemae_cli.networks.card import load_card
from facemae_cli.networks.zoo import resolve
from facemae_cli.tasks.fit import FitResult, fit
from facemae_cli.training import trainer
from facemae_cli.training.checkpoint import FILE
from facemae_cli.training.run_folder import samples_beside

QUICK = {"epochs": 2, "batch_size": 4, "warmup": 0.0, "precision": "fp32"}
FILES = {"checkpoint.safetensors", "curves.png", "history.jsonl", "model.yaml", "weights.safetensors"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten people of two faces."""
    for person in range(10):
        (tmp_path / "public" / f"p{person}").mkdir(parents=True)
        for photo in range(2):
            face = encode_png(smooth_face(10 * person + photo))
            (tmp_path / "public" / f"p{person}" / f"{photo}.png").write_bytes(face)
    return tmp_path / "public"


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_mae(tmp_path / "card", weights=False, recipe={"loss": "mse", "lr": 0.01}))


def run(data: Path, out: Path, model: str, /, **options: object) -> FitResult:
    return fit(**{"data": data, "out": out, "model": model, **QUICK, **options})  # type: ignore[arg-type]


def history(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def test_the_result_is_a_model_folder_that_says_how_it_was_made(tmp_path: Path, data: Path, model: str) -> None:
    (data / "#recycle" / "gone").mkdir(parents=True)
    (data / "#recycle" / "gone" / "1.png").write_bytes(b"deleted")
    (data / "notes.txt").write_text("not an image")
    result = run(data, tmp_path / "out", model)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert dict(result.summary())["passed over"].startswith("1 #recycle: ")
    assert (result.as_json()["passed_over"], result.as_json()["ignored_files"]) == ({"#recycle": 1}, 1)
    card = load_card(tmp_path / "out" / "model.yaml")
    assert card.recipe is not None
    assert (card.recipe["loss"], card.recipe["lr"], card.recipe["epochs"]) == ("mse", 0.01, 2)
    assert card.results == {"held_out_faces": result.held_out, **result.figures}
    assert card.lineage == ()
    assert card.data["faces"] == 18
    assert resolve(str(tmp_path / "out"), "mae").digest is not None
    assert result.figures["val_psnr"] == history(tmp_path / "out")[-1]["val_psnr"]


@pytest.mark.parametrize("loss", ["irm", "mixed"])
def test_losses_with_an_embedder_name_it_as_an_ancestor(tmp_path: Path, data: Path, model: str, loss: str) -> None:
    embedder = write_embedder(tmp_path / "phi.onnx")
    run(data, tmp_path / "out", model, loss=loss, embedder=[str(embedder)], view_shift=2, view_blur=0.5)
    card = load_card(tmp_path / "out" / "model.yaml")
    assert card.lineage == (resolve(str(embedder)).digest,)
    line = history(tmp_path / "out")[0]
    assert {"loss", "pixel", "im", "rm", "val_cosine", "val_im", "val_rm", "val_psnr"} <= set(line)


def test_several_embedders_teach_as_one_and_are_all_ancestors(tmp_path: Path, data: Path, model: str) -> None:
    embedders = [str(write_embedder(tmp_path / f"{name}.onnx", seed=seed)) for seed, name in enumerate("ab")]
    run(data, tmp_path / "out", model, loss="irm", embedder=embedders)
    assert set(load_card(tmp_path / "out" / "model.yaml").lineage) == {resolve(text).digest for text in embedders}
    with pytest.raises(UsageError, match="made with embedder 2"):
        run(data, tmp_path / "out", model, loss="irm", embedder=embedders[:1], resume=True)


def test_recipe_file_wins_over_the_card_and_flags_win_over_both(tmp_path: Path, data: Path, model: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("lr: 0.005\nseed: 7\nweights_dtype: float16\n")
    run(data, tmp_path / "out", model, recipe=recipe, seed=8)
    made = load_card(tmp_path / "out" / "model.yaml").recipe
    assert made is not None
    assert (made["loss"], made["lr"], made["seed"]) == ("mse", 0.005, 8)
    with safe_open(tmp_path / "out" / "weights.safetensors", framework="pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118
    recipe.write_text("learning_rate: 0.005\n")
    with pytest.raises(UsageError, match="no field 'learning_rate'"):
        run(data, tmp_path / "other", model, recipe=recipe)


def test_init_continues_from_weights_and_is_an_ancestor(tmp_path: Path, data: Path, model: str) -> None:
    run(data, tmp_path / "first", model)
    run(data, tmp_path / "second", model, init=str(tmp_path / "first"), seed=3)
    assert history(tmp_path / "second")[0]["loss"] < history(tmp_path / "first")[0]["loss"]
    assert load_card(tmp_path / "second" / "model.yaml").lineage == (resolve(str(tmp_path / "first")).digest,)


def test_the_mean_of_two_models_is_measured_written_and_has_both_ancestors(
    tmp_path: Path, data: Path, model: str
) -> None:
    made = [str(tmp_path / name) for name in ("first", "second")]
    for seed, folder in enumerate(made):
        run(data, Path(folder), model, seed=seed)
    result = run(data, tmp_path / "mean", model, init=made, epochs=0)
    first, second, mean = (load_file(Path(folder) / "weights.safetensors") for folder in (*made, tmp_path / "mean"))
    assert first.keys() == mean.keys()
    for name, value in mean.items():
        torch.testing.assert_close(value, (first[name] + second[name]) / 2)
    assert load_card(tmp_path / "mean" / "model.yaml").lineage == tuple(resolve(folder).digest for folder in made)
    assert (result.faces, result.steps, set(result.figures)) == (0, 0, {"val_psnr"})
    assert history(tmp_path / "mean") == [{"epoch": 0, "step": 0, **result.figures}]
    again = run(data, tmp_path / "mean", model, init=made, epochs=0, resume=True)
    assert again.figures == result.figures
    with pytest.raises(UsageError, match=r"made with init 2 .*, this run says None"):
        run(data, tmp_path / "mean", model, init=made[:1], epochs=0, resume=True)


def test_equal_runs_write_equal_bytes(tmp_path: Path, data: Path, model: str) -> None:
    for name in ("a", "b"):
        run(data, tmp_path / name, model)
    for name in ("history.jsonl", "weights.safetensors", "model.yaml"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many as a forked process has, so that sums are of the same order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, *arguments: Any, **options: Any) -> None:
    """A run that ends itself as `kill -9` would, with a checkpoint after every step."""
    before = trainer.Trainer._step

    def stop(self: trainer.Trainer, *more: Any) -> Any:
        if self.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(self, *more)

    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=count(0, 1000).__next__))
    monkeypatch.setattr(trainer.Trainer, "_step", stop)
    run(*arguments, **options)


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_goes_on_as_if_unbroken(
    tmp_path: Path, data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second epoch, after a checkpoint in its middle."""
    run(data, tmp_path / "whole", model)
    broken = tmp_path / "broken"
    assert end_of(lambda: killed_at(7, monkeypatch, data, broken, model)) == -signal.SIGKILL
    assert not (broken / "model.yaml").exists()
    run(data, broken, model, resume=True)
    for name in ("history.jsonl", "weights.safetensors", "model.yaml"):
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in broken.iterdir()} == FILES


LONG = {"optimizer": "muon", "schedule": "wsd", "cooldown": 1.0, "ema": 0.9, "lr": 0.01}


@pytest.mark.usefixtures("one_thread")
def test_a_finished_run_of_wsd_is_made_longer_as_if_it_had_been_meant_to_be(
    tmp_path: Path, data: Path, model: str
) -> None:
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(LONG))
    options = {"recipe": tmp_path / "long.yaml"}
    run(data, tmp_path / "whole", model, **options, epochs=3)
    grown = tmp_path / "grown"
    run(data, grown, model, **options, epochs=2)
    run(data, grown, model, **options, epochs=3, resume=True)
    for name in ("history.jsonl", "weights.safetensors", "model.yaml"):
        assert (grown / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert {path.name for path in grown.iterdir()} == FILES | {"stable.safetensors"}
    recipe = load_card(grown / "model.yaml").recipe
    assert recipe is not None
    assert {**LONG, "epochs": 3}.items() <= recipe.items()
    with safe_open(grown / "weights.safetensors", "pt") as saved, safe_open(grown / FILE, "pt") as kept:
        for name in saved.keys():  # noqa: SIM118
            assert torch.equal(saved.get_tensor(name), kept.get_tensor(f"average.{name}"))


def test_ranks_follow_one_rank_and_finish_its_run(
    tmp_path: Path, data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same losses to 1e-4 on two gloo ranks; a run begun on one rank is gone on with on two."""
    options = {"loss": "mixed", "embedder": [str(write_embedder(tmp_path / "phi.onnx"))]}
    run(data, tmp_path / "one", model, **options)
    begun = tmp_path / "begun"
    assert end_of(lambda: killed_at(6, monkeypatch, data, begun, model, **options)) == -signal.SIGKILL
    run_ranks(2, tmp_path, lambda rank: run(data, begun, model, **options, resume=True).steps)
    run_ranks(2, tmp_path, lambda rank: run(data, tmp_path / "two", model, **options).steps)
    for folder in ("two", "begun"):
        for one, other in zip(history(tmp_path / "one"), history(tmp_path / folder), strict=True):
            for name, value in one.items():
                assert other[name] == pytest.approx(value, abs=1e-4), (folder, name)


def test_what_cannot_be_fitted_is_one_clear_error(tmp_path: Path, data: Path, model: str) -> None:
    wrong = write_embedder(tmp_path / "wrong.onnx", dim=8, says=512)
    cases: list[tuple[dict[str, object], str]] = [
        ({"loss": "irm"}, "give --embedder"),
        ({"loss": "irm", "embedder": [str(wrong)]}, "gives 8-d features, its card says 512"),
        ({"loss": "irm", "pixel_weight": 3.0}, "--pixel-weight is of the pixel error, which --loss irm leaves out"),
        ({"loss": "irm", "embedder": [model]}, "kind mae; one of kind embedder is needed"),
        ({"model": str(wrong)}, "kind embedder; one of kind mae is needed"),
        ({"batch_size": 19}, "--batch-size 19 is more than the 18 faces"),
        ({"epochs": -1}, "recipe epochs: -1"),
        ({"epochs": 0}, "--epochs 0 learns nothing"),
        ({"init": model}, "an architecture without weights"),
        ({"out": data / "run"}, "lies inside the input"),
        ({"data": tmp_path / "nowhere"}, "does not exist"),
        ({"lr": 1e30}, "the loss became"),
    ]
    for number, (options, message) in enumerate(cases):
        with pytest.raises(FacemaeError, match=message) as caught:
            run(data, tmp_path / f"out{number}", model, **options)
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="too few"):
        run(_one_face(tmp_path), tmp_path / "one-face", model)


def _one_face(tmp_path: Path) -> Path:
    (tmp_path / "single").mkdir()
    (tmp_path / "single" / "face.png").write_bytes(encode_png(smooth_face(0)))
    return tmp_path / "single"


def test_an_unreadable_face_is_listed_and_fitting_goes_on(tmp_path: Path, data: Path, model: str) -> None:
    (data / "p0" / "0.png").write_bytes(b"not an image")
    result = run(data, tmp_path / "out", model)
    assert [(item.reason, Path(item.where).name) for item in result.refused] == [("not-an-image", "0.png")]
    whole = len(list(data.rglob("*.png")))
    assert result.faces + result.held_out == whole - 1


def test_an_embedder_that_only_measures_is_no_ancestor(tmp_path: Path, data: Path, model: str) -> None:
    phi = str(write_embedder(tmp_path / "phi.onnx", dim=8))
    digest = resolve(phi).digest
    run(data, tmp_path / "plain", model, loss="mse", embedder=[phi])
    assert "lineage" not in (tmp_path / "plain" / "model.yaml").read_text()
    run(data, tmp_path / "taught", model, loss="mixed", embedder=[phi])
    assert resolve(str(tmp_path / "taught")).card.lineage == (digest,)


@pytest.mark.parametrize("wrong", ["data", "init", "embedder", "recipe"])
def test_overwrite_touches_nothing_where_anything_else_is_wrong(
    tmp_path: Path, data: Path, model: str, wrong: str
) -> None:
    out = tmp_path / "out"
    run(data, out, model, epochs=1)
    before = {path.name: path.read_bytes() for path in (*out.iterdir(), samples_beside(out))}
    given = {"data": {"data": tmp_path / "none"}, "recipe": {"recipe": tmp_path / "none.yaml"}}
    more = given.get(wrong, {wrong: ["none"] if wrong == "embedder" else "none"})
    with pytest.raises((FacemaeError, FileNotFoundError)):
        fit(**{"data": data, "out": out, "model": model, **QUICK, **more, "overwrite": True})  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in (*out.iterdir(), samples_beside(out))} == before
    assert not list(tmp_path.glob("*facemae-part"))


def test_a_model_may_start_from_the_one_it_replaces(tmp_path: Path, data: Path, model: str) -> None:
    out = tmp_path / "out"
    run(data, out, model, epochs=1)
    old = (out / "weights.safetensors").read_bytes()
    run(data, out, model, epochs=1, init=str(out), overwrite=True)
    assert (out / "weights.safetensors").read_bytes() != old
    assert yaml.safe_load((out / "model.yaml").read_text())["lineage"] == [hashlib.sha256(old).hexdigest()]


def test_a_model_folder_holds_no_face_and_samples_are_their_owners(tmp_path: Path, data: Path, model: str) -> None:
    result = run(data, tmp_path / "out", model, epochs=1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert result.samples == tmp_path / "out.samples.png"
    assert result.samples.stat().st_mode & 0o777 == 0o600
    assert "not to be published" in dict(result.summary())["samples"]
