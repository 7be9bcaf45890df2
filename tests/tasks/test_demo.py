"""The demo: the three datasets and the sheet it leaves, and that it never touches somebody's own faces."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import facemae_cli
from facemae_cli.app import main
from facemae_cli.data.images.codec import decode, decode_masked, encode_jpeg
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.synthetic import people
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.masking.key import Key, without_suffix
from facemae_cli.masking.patches import read_mask
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.reports import pictures
from facemae_cli.tasks.demo import demo

SMALL = {"people": 3, "photos": 2, "seed": 1, "epochs": 1}
LEAST = {"people": 2, "photos": 1, "epochs": 1}
CARD = """kind: mae
input: {size: 112, color: rgb, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
architecture: {width: 16, depth: 1, heads: 1, decoder_width: 16, decoder_depth: 1, decoder_heads: 1}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An autoencoder that was fitted to nothing."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    network = MaskedAutoencoder(width=16, depth=1, heads=1, decoder_width=16, decoder_depth=1, decoder_heads=1)
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "weights.safetensors"
    )
    (folder / "model.yaml").write_text(CARD)
    return str(folder)


@pytest.fixture(scope="module")
def made(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo."""
    out = tmp_path_factory.mktemp("demo") / "demo"
    demo(out, model=model, **SMALL)
    return out


@pytest.fixture
def unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recognisers, which take the time, and so no audit."""
    monkeypatch.setattr(importlib.import_module("facemae_cli.tasks.demo"), "_learn", lambda *arguments: None)
    monkeypatch.setattr(facemae_cli, "leakage", lambda *arguments, **options: LeakageResult(*arguments))


def test_it_leaves_three_datasets_a_key_and_a_sheet(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        *("raw", "masked", "released", "strangers", "strangers.bin", "recogniser", "recogniser-raw"),
        *("facemae.key", "contact-sheet.png", "verification.html", "audit.html"),
    }
    for name, command in (("raw", "demo"), ("masked", "mask"), ("released", "reconstruct")):
        manifest = read_manifest(made / name)
        assert manifest is not None
        assert (manifest.command, manifest.counts["out"]) == (command, 6)


def test_raw_holds_the_people_of_the_seed_and_masked_three_quarters_less_of_them(made: Path) -> None:
    raw, masked = open_source(made / "raw"), open_source(made / "masked")
    drawn = dict(people(3, 2, seed=1))
    assert {raw.name(index): raw.read(index) for index in range(6)} == {
        name: encode_jpeg(image) for name, image in drawn.items()
    }
    assert [int(read_mask(decode_masked(masked.read(index))).sum()) for index in range(6)] == [147] * 6


def test_no_name_of_raw_is_in_masked_or_released(made: Path) -> None:
    names = {path.name for path in (made / "raw").iterdir() if path.is_dir()}
    assert len(names) == 3
    for folder in ("masked", "released"):
        for path in (made / folder).rglob("*"):
            held = str(path.relative_to(made)).encode() + (path.read_bytes() if path.is_file() else b"")
            assert not any(name.encode() in held for name in names)


def test_the_sheet_puts_each_person_s_three_faces_side_by_side(made: Path) -> None:
    sheet = cv2.imread(str(made / "contact-sheet.png"))[..., ::-1].astype(int)
    key = Key.load(made / "facemae.key")
    raw, masked, released = (open_source(made / name) for name in ("raw", "masked", "released"))
    keyed = [{without_suffix(source.name(i)): source.read(i) for i in range(6)} for source in (masked, released)]
    rows = []
    for index in (0, 2, 4):
        name = key.name(raw.name(index))
        rows.append([decode(raw.read(index)), decode_masked(keyed[0][name]), decode(keyed[1][name])])
    expected = pictures.contact_sheet(rows, ["original", "masked", "reconstructed"])
    assert np.array_equal(sheet, expected)
    assert not np.array_equal(sheet, pictures.contact_sheet(rows[::-1], ["original", "masked", "reconstructed"]))


def test_strangers_are_not_in_the_release_and_its_pack_says_so(made: Path) -> None:
    strangers, raw = open_source(made / "strangers"), open_source(made / "raw")
    people = [{source.name(index).identity for index in range(len(source))} for source in (strangers, raw)]
    assert (len(people[0]), people[0] & people[1]) == (20, set())


@pytest.mark.usefixtures("unlearnt")
def test_equal_demos_draw_equal_people(made: Path, model: str, tmp_path: Path) -> None:
    demo(tmp_path / "again", model=model, **SMALL)
    files = [
        {p.relative_to(out): p.read_bytes() for p in (out / "raw").rglob("*.jpg")} for out in (made, tmp_path / "again")
    ]
    assert list(files[0].values()) == list(files[1].values())


@pytest.mark.usefixtures("unlearnt")
def test_an_existing_demo_is_made_anew_only_when_asked(model: str, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    demo(out, model=model, **LEAST)
    before = (out / "contact-sheet.png").read_bytes()
    with pytest.raises(UsageError, match=r"demo exists; --overwrite"):
        demo(out, seed=5, model=model, **LEAST)
    assert (out / "contact-sheet.png").read_bytes() == before
    assert demo(out, people=2, photos=2, epochs=1, seed=5, model=model, overwrite=True).faces == 4
    assert (out / "contact-sheet.png").read_bytes() != before
    assert len(open_source(out / "released")) == 4


@pytest.mark.parametrize("folder", ["raw", "masked", "released"])
def test_somebody_s_own_faces_are_never_overwritten(folder: str, model: str, tmp_path: Path) -> None:
    own = tmp_path / folder / "anna" / "1.jpg"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"the only copy")
    with pytest.raises(UsageError, match="no demo made"):
        demo(tmp_path, model=model, overwrite=True, **SMALL)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [own]


def test_a_file_in_the_place_of_the_folder_is_left_alone(model: str, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="demo"):
            demo(tmp_path / "demo", model=model, overwrite=overwrite, **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.usefixtures("unlearnt")
def test_an_empty_folder_will_do(model: str, tmp_path: Path) -> None:
    assert demo(tmp_path, model=model, **LEAST).faces == 2


def test_a_wrong_model_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises((UsageError, InputError), match="neither a path nor a model"):
        demo(tmp_path / "demo", model="no-such-model", **SMALL)
    assert not (tmp_path / "demo").exists()


def test_no_people_is_a_usage_error(model: str, tmp_path: Path) -> None:
    for count in (0, 1):
        with pytest.raises(UsageError, match=f"--people {count}"):
            demo(tmp_path / "demo", people=count, model=model)
    assert not (tmp_path / "demo").exists()


def test_the_library_function_is_at_the_front_door_with_the_defaults_of_reconstruct() -> None:
    assert facemae_cli.demo is demo
    default = inspect.signature(facemae_cli.reconstruct).parameters["model"].default
    assert inspect.signature(demo).parameters["model"].default == default


def test_the_command_shows_where_things_are(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    words = ["demo", "--out", str(out), "--people", "2", "--photos", "2", "--epochs", "1", "--model", model]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert str(out / "contact-sheet.png") in shown
    assert "facemae mask --in" in shown
    assert shown.splitlines()[-1].split() == ["open", str(out / "audit.html")]
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["faces"] == {"in": 4, "out": 4, "refused": {}}
    assert 0 <= result["accuracy"]["released"] <= 1
    assert 0 <= result["leakage"] <= 1
    assert result["real_to_real"] > 0.5
    assert result["contact_sheet"] == str(out / "contact-sheet.png")
    assert result["mask_ratio"] == 0.75
