"""`train-recognizer` end to end on small data: what is learnt, resuming, ranks, exports, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from helpers.models import write_embedder, write_recognizer
from helpers.packcases import write_lfw
from helpers.ranks import run_ranks
from helpers.sources import smooth_face
from safetensors.torch import load_file

from facemae_cli.data.images.codec import encode_png
from facemae_cli.errors import FacemaeError, InputError, UsageError
from facemae_cli.networks.card import load_card
from facemae_cli.networks.loading import load_embedder
from facemae_cli.networks.zoo import resolve
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.train_recognizer import TrainRecognizerResult, train_recognizer
from facemae_cli.training.trainer import Trainer

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 6, "lr": 0.4, "precision": "fp32"}
FILES = {"checkpoint.safetensors", "curves.png", "history.jsonl", "model.yaml", "weights.safetensors"}


def write_faces(folder: Path, people: int = 5, photos: int = 4) -> Path:
    """People whose photos are one smooth picture with a little of another."""
    for person in range(people):
        (folder / f"p{person}").mkdir(parents=True)
        for photo in range(photos):
            face = 0.7 * smooth_face(person) + 0.3 * smooth_face(100 + 10 * person + photo)
            (folder / f"p{person}" / f"p{person}_{photo + 1:04d}.png").write_bytes(encode_png(face.astype(np.uint8)))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_faces(tmp_path / "data")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """An architecture of a few thousand parameters."""
    return str(write_recognizer(tmp_path / "card"))


def run(data: Path, out: Path, model: str, /, **options: object) -> TrainRecognizerResult:
    return train_recognizer(**{"data": data, "out": out, "model": model, **QUICK, **options})  # type: ignore[arg-type]


def history(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def test_the_result_is_a_model_folder_that_says_how_it_was_made(tmp_path: Path, data: Path, model: str) -> None:
    out = tmp_path / "out"
    (data / "#recycle" / "gone").mkdir(parents=True)
    (data / "#recycle" / "gone" / "1.png").write_bytes(b"deleted")
    (data / "notes.txt").write_text("not an image")
    result = run(data, out, model)
    assert {path.name for path in out.iterdir()} == FILES
    assert dict(result.summary())["passed over"].startswith("1 #recycle: ")
    assert (result.as_json()["passed_over"], result.as_json()["ignored_files"]) == ({"#recycle": 1}, 1)
    assert (result.faces, result.classes, result.steps, result.refused) == (20, 5, 6, [])
    found = resolve(str(out), "embedder")
    card = found.card
    assert card.recipe is not None
    assert (card.recipe["lr"], card.recipe["epochs"], card.recipe["scale"]) == (0.4, 2, 16.0)
    assert (card.dim, card.lineage, card.assumed) == (8, (), False)
    assert card.data | {"trained": ""} == {"kind": "folder", "faces": 20, "people": 5, "trained": ""}
    assert load_embedder(found)(torch.rand(2, 3, 112, 112)).shape == (2, 8)
    assert {"epoch", "step", "lr", "loss", "margin", "accuracy"} == set(history(out)[0])
    assert result.as_json()["classes"] == 5


def test_learning_lowers_the_loss_and_tells_people_apart(tmp_path: Path, data: Path, model: str) -> None:
    run(data, tmp_path / "out", model, epochs=10)
    lines = history(tmp_path / "out")
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["accuracy"] > 0.9


def broken(monkeypatch: pytest.MonkeyPatch, steps: int, data: Path, out: Path, model: str, **options: Any) -> None:
    """A run whose process dies after so many steps, with a checkpoint after each."""
    before = Trainer._step

    def step(self: Trainer, *arguments: Any) -> Any:
        if self.step == steps:
            raise KeyboardInterrupt
        self.checkpoint_seconds = -1.0
        return before(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_step", step)
        with pytest.raises(KeyboardInterrupt):
            run(data, out, model, **options)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_broken_run_goes_on_as_if_unbroken(
    tmp_path: Path, data: Path, model: str, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Weights, centres, momenta and history; with classes sampled and a margin that grows."""
    options = {"sample_rate": 0.6, "recipe": tmp_path / "more.yaml"}
    (tmp_path / "more.yaml").write_text("margin_warmup: 1.5\n")
    run(data, tmp_path / "whole", model, **options)
    broken(monkeypatch, steps, data, tmp_path / "broken", model, **options)
    run(data, tmp_path / "broken", model, **options, resume=True)
    for name in ("history.jsonl", "weights.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    got, wanted = (load_file(tmp_path / run / "checkpoint.safetensors") for run in ("broken", "whole"))
    assert {"objective.centres", "objective.moments"} < wanted.keys() == got.keys()
    assert all(torch.equal(got[name], wanted[name]) for name in wanted)


def test_a_run_is_not_gone_on_with_on_other_packs(tmp_path: Path, data: Path, model: str) -> None:
    """Its figures would be told of packs it was not verified on."""
    packs = [write_lfw(tmp_path / name / "lfw", people) / "pairs.txt" for name, people in (("a", 12), ("b", 14))]
    run(data, tmp_path / "out", model, pairs=packs[:1])
    again = run(data, tmp_path / "out", model, pairs=packs[:1], resume=True)
    assert "val_lfw" in again.figures
    for other in ([packs[1]], []):
        with pytest.raises(UsageError, match=r"made with .*pairs.*say the same to --resume"):
            run(data, tmp_path / "out", model, pairs=other, resume=True)


def test_ranks_follow_one_rank_and_one_finishes_their_run(
    tmp_path: Path, data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses on 2 and 3 ranks, and of a run that 2 ranks began and 1 went on with, agree with those of one to 1e-4."""
    options = {"sample_rate": 0.8, "lr": 0.1}
    run(data, tmp_path / "one", model, **options)
    wanted = history(tmp_path / "one")
    for world in (2, 3):
        out = tmp_path / f"ranks{world}"
        run_ranks(world, tmp_path, lambda rank, out=out: run(data, out, model, **options).steps)
        for got, want in zip(history(out), wanted, strict=True):
            assert got["loss"] == pytest.approx(want["loss"], abs=1e-4)

    run_ranks(2, tmp_path, lambda rank: broken(monkeypatch, 4, data, tmp_path / "begun", model, **options))
    run(data, tmp_path / "begun", model, **options, resume=True)
    for got, want in zip(history(tmp_path / "begun"), wanted, strict=True):
        assert got["loss"] == pytest.approx(want["loss"], abs=1e-4)


def test_a_teacher_is_followed_with_and_without_labels_and_is_an_ancestor(
    tmp_path: Path, data: Path, model: str
) -> None:
    teacher = str(write_embedder(tmp_path / "teacher.onnx", dim=6))
    digest = resolve(teacher).digest
    run(data, tmp_path / "both", model, teacher=teacher)
    assert {"margin", "teacher"} <= set(history(tmp_path / "both")[0])
    for face in data.rglob("*.png"):
        face.rename(data / face.name)
    for folder in data.iterdir():
        if folder.is_dir():
            folder.rmdir()
    result = run(data, tmp_path / "alone", model, teacher=teacher, margin="none", epochs=8)
    assert result.summary()[0] == ("trained on", f"{result.faces} faces, 8 epochs, {result.steps} steps")
    lines = history(tmp_path / "alone")
    assert lines[-1]["teacher"] < lines[0]["teacher"] - 0.05
    assert "margin" not in lines[0]
    assert (result.classes, result.unlabelled) == (0, 0)
    card = load_card(tmp_path / "alone" / "model.yaml")
    assert (card.dim, card.lineage) == (6, (digest,))


def test_masked_faces_are_learnt_as_they_look(tmp_path: Path, data: Path, model: str) -> None:
    masked = tmp_path / "masked.rec"
    mask(input=data, out=masked, key=tmp_path / "k.key")
    result = run(masked, tmp_path / "out", model)
    assert (result.faces, result.classes, result.refused) == (20, 5, [])


def test_packs_are_verified_each_epoch_and_people_in_both_are_counted(tmp_path: Path, data: Path, model: str) -> None:
    pairs = [
        ("Ann", 1, "Ann", 2),
        ("Bob", 1, "Ann", 1),
        ("Ann", 3, "Ann", 4),
        ("Bob", 2, "Ann", 3),
        ("Bob", 3, "Bob", 9),
    ]
    (data / "p0").rename(data / "Ann")
    (data / "p1").rename(data / "Bob")
    for folder in ("Ann", "Bob"):
        for face in list((data / folder).iterdir()):
            face.rename(data / folder / f"{folder}_{face.name.split('_')[1]}")
    lines = [f"{a}\t{i}\t{j}" if a == b else f"{a}\t{i}\t{b}\t{j}" for a, i, b, j in pairs]
    (data / "pairs.txt").write_text("5\n" + "\n".join(lines) + "\n")
    notices: list[str] = []

    class Heard:
        def start(self, *_: object, **__: object) -> None: ...
        def advance(self, *_: object, **__: object) -> None: ...
        def notice(self, line: str) -> None:
            notices.append(line)

    result = run(data, tmp_path / "out", model, pairs=[data], progress=Heard())
    assert "warning: 2 people of data are, by name, among those trained on, which inflates the figure" in notices
    assert 0 <= history(tmp_path / "out")[-1]["val_data"] <= 1
    assert [refusal.reason for refusal in result.refused] == ["missing-photo"]


def test_held_out_people_are_verified(tmp_path: Path, model: str) -> None:
    data = write_faces(tmp_path / "many", people=220, photos=2)
    result = run(data, tmp_path / "out", model, validation=44, epochs=1, batch_size=66)
    assert (result.held_out, result.classes) == (44, 198)
    assert 0 <= result.figures["val_held_out"] <= 1


def test_exports_compute_what_the_network_computes(tmp_path: Path, data: Path, model: str) -> None:
    out = tmp_path / "out"
    result = run(data, out, model, export=["pth", "onnx"], epochs=1)
    assert result.exported == ["model.onnx", "model.pth"]
    faces = torch.rand(3, 3, 32, 32)
    wanted = load_embedder(resolve(str(out)))(faces)
    for name in result.exported:
        torch.testing.assert_close(load_embedder(resolve(str(out / name)))(faces), wanted, atol=1e-4, rtol=1e-4)


def test_init_goes_on_from_weights_and_is_an_ancestor(tmp_path: Path, data: Path, model: str) -> None:
    run(data, tmp_path / "first", model, epochs=8)
    run(data, tmp_path / "second", model, epochs=1, init=str(tmp_path / "first"), lr=0.01)
    first = resolve(str(tmp_path / "first"))
    assert load_card(tmp_path / "second" / "model.yaml").lineage == (first.digest,)
    other = dict(yaml.safe_load((Path(model) / "model.yaml").read_text()), dim=9)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.yaml").write_text(yaml.safe_dump(other))
    with pytest.raises(UsageError, match="--init first has another architecture or dimension than --model other"):
        run(data, tmp_path / "third", str(tmp_path / "other"), init=str(tmp_path / "first"))


def test_what_cannot_be_trained_is_one_clear_error(tmp_path: Path, data: Path, model: str) -> None:
    out = tmp_path / "out"
    one = write_faces(tmp_path / "one", people=1)
    three = write_faces(tmp_path / "three", people=3, photos=1)
    flat = write_faces(tmp_path / "flat", people=1) / "p0"
    cases: list[tuple[Path, dict[str, Any], type[FacemaeError], str]] = [
        (
            one,
            {},
            InputError,
            "1 person is too few to learn: a recogniser needs 2 or more to tell apart; give more, or --teacher",
        ),
        (flat, {}, InputError, "not one of its 4 faces that can be read has an identity; give a folder a person"),
        (three, {}, UsageError, "--batch-size 6 is more than the 3 faces there are to train on; give 3 or less"),
        (data, {"batch_size": 1}, UsageError, "recipe batch_size: 1 must be 2 or more"),
        (data, {"margin": "none"}, UsageError, "--margin none learns no classes, so give --teacher"),
        (data, {"export": ["tflite"]}, UsageError, "--export 'tflite' is not known; say onnx or pth"),
        (
            data,
            {"margin": "softmax"},
            UsageError,
            "margin: 'softmax' is not known; say arcface or cosface or none",
        ),
        (data, {"model": "r99"}, UsageError, "r99: neither a path nor a model of the zoo"),
        (data, {"model": "facemae-tiny"}, UsageError, "is a model of kind mae; one of kind embedder is needed"),
        (data, {"pairs": [data]}, InputError, "holds no pairs.txt"),
        (data, {"validation": 2}, InputError, "--validation 2 holds out 4 faces, a tenth at most: .*too few to sample"),
        (data, {"cache": data / "cache"}, UsageError, "--cache .*cache is inside the dataset"),
    ]
    for source, options, kind, message in cases:
        with pytest.raises(kind, match=message):
            run(source, out, options.pop("model", model), **options)
        assert not (out / "weights.safetensors").exists()


def test_classes_that_memory_cannot_hold_are_refused_with_the_rate_that_fits(
    tmp_path: Path, data: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facemae_cli.training.memory.free_bytes", lambda device: 400_000)
    with pytest.raises(UsageError, match=r"training takes about .* of memory of .* that cpu has free"):
        run(data, tmp_path / "out", model, batch_size=20)


def test_nothing_is_trained_into_a_pack(tmp_path: Path, data: Path, model: str) -> None:
    write_lfw(tmp_path / "lfw", people=12)
    pack = tmp_path / "lfw" / "pairs.txt"
    with pytest.raises(UsageError, match="lies inside the input"):
        run(data, tmp_path / "lfw" / "run", model, pairs=[pack])
    assert not (tmp_path / "lfw" / "run").exists()


def test_an_unreadable_face_is_listed_and_training_goes_on(tmp_path: Path, data: Path, model: str) -> None:
    for photo in (data / "p1").iterdir():
        photo.write_bytes(b"not a face")
    result = run(data, tmp_path / "out", model)
    assert [refusal.reason for refusal in result.refused] == ["not-an-image"] * 4
    assert (result.faces, result.classes) == (16, 4)
    said = resolve(str(tmp_path / "out")).card.data or {}
    assert (said["faces"], said["people"]) == (16, 4)
    for person in ("p2", "p3", "p4"):
        for photo in (data / person).iterdir():
            photo.write_bytes(b"not a face")
    with pytest.raises(InputError, match="1 person is too few to learn"):
        run(data, tmp_path / "again", model)
    assert not (tmp_path / "again" / "model.yaml").exists()


def test_bf16_learns_too(tmp_path: Path, data: Path, model: str) -> None:
    run(data, tmp_path / "out", model, precision="bf16", epochs=4)
    lines = history(tmp_path / "out")
    assert lines[-1]["loss"] < lines[0]["loss"]
