"""The demo: what it leaves and shows, and that it never touches somebody's own faces."""

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
from facemae_cli.data.manifest import Manifest, read_manifest, write_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.synthetic import people
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.masking.key import Key
from facemae_cli.masking.patches import read_mask
from facemae_cli.masking.pseudonyms import without_suffix
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports import pictures
from facemae_cli.tasks.demo import DemoResult, Figures, Share, demo

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
def result(model: str, tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """A small demo."""
    return demo(tmp_path_factory.mktemp("demo") / "demo", model=model, **SMALL)


@pytest.fixture
def made(result: DemoResult) -> Path:
    """Where the small demo stands."""
    return result.out


@pytest.fixture
def unlearnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No recognisers, which take the time, and so no strangers and no audit."""
    module = importlib.import_module("facemae_cli.tasks.demo")
    monkeypatch.setattr(module, "_learn", lambda *arguments: Share())
    monkeypatch.setattr(module, "_strangers", lambda *arguments: None)
    monkeypatch.setattr(facemae_cli, "leakage", lambda *arguments, **options: LeakageResult(*arguments))


def test_it_leaves_three_datasets_a_key_and_a_sheet(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {
        *("raw", "masked", "released", "strangers", "strangers.bin", "recogniser", "recogniser-raw"),
        *("facemae.key", "contact-sheet.png", "verification.html", "audit.html", "worst-case.html"),
    }
    for name, command in (("raw", "demo"), ("masked", "mask"), ("released", "reconstruct")):
        manifest = read_manifest(made / name)
        assert manifest is not None
        assert (manifest.command, manifest.counts["out"]) == (command, 6)


def test_raw_holds_the_people_of_the_seed_and_masked_three_quarters_less_of_them(made: Path) -> None:
    raw, masked = open_source(made / "raw"), open_source(made / "masked")
    made_up = dict(people(3, 2, seed=1))
    assert {raw.name(index): raw.read(index) for index in range(6)} == {
        name: encode_jpeg(image) for name, image in made_up.items()
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
    expected = pictures.contact_sheet(rows, ["original", "masked", "released"])
    assert np.array_equal(sheet, expected)
    assert not np.array_equal(sheet, pictures.contact_sheet(rows[::-1], ["original", "masked", "released"]))


def test_strangers_are_not_in_the_release_and_its_pack_says_so(made: Path) -> None:
    strangers, raw = open_source(made / "strangers"), open_source(made / "raw")
    people = [{source.name(index).identity for index in range(len(source))} for source in (strangers, raw)]
    assert (len(people[0]), people[0] & people[1]) == (20, set())


@pytest.mark.usefixtures("unlearnt")
def test_equal_demos_show_equal_people(made: Path, model: str, tmp_path: Path) -> None:
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


def test_a_demo_that_somebody_was_withdrawn_from_is_left_alone(model: str, tmp_path: Path) -> None:
    """Else a step of it would stop, once the photos were written again."""
    for name, left_out in (("raw", {}), ("masked", {"withdrawn": 2})):
        (tmp_path / name).mkdir()
        command = {"raw": "demo"}.get(name, "mask")
        write_manifest(tmp_path / name / "facemae.json", Manifest(command, extra=left_out))
    with pytest.raises(UsageError, match="from which somebody was withdrawn"):
        demo(tmp_path, model=model, overwrite=True, **SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["masked", "raw"]


def test_a_file_in_the_place_of_the_folder_is_left_alone(model: str, tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="demo"):
            demo(tmp_path / "demo", model=model, overwrite=overwrite, **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.usefixtures("unlearnt")
def test_an_empty_folder_will_do(model: str, tmp_path: Path) -> None:
    assert demo(tmp_path, model=model, **LEAST).faces == 2


def test_a_wrong_model_is_told_before_anything_is_made(tmp_path: Path) -> None:
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


@pytest.mark.usefixtures("unlearnt")
def test_the_command_shows_where_things_are(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    words = ["demo", "--out", str(out), "--people", "2", "--photos", "2", "--epochs", "1", "--model", model]
    assert main(words) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(str(out / "contact-sheet.png") in line for line in shown)
    assert shown[-1].strip() == "facemae leakage --k 2 --report audit.html"
    assert [line.split("  ")[0] for line in shown[:5]] == [
        *("", "found, synthetic", "found, real", "told apart, synthetic", "told apart, real"),
    ]
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == {"in": 4, "out": 4, "refused": {}}


def test_it_measures_attackers_who_did_not_learn_the_originals_and_the_worst_case_apart(result: DemoResult) -> None:
    shown = result.as_json()
    assert shown["attacker"]
    assert "recogniser" not in shown["attacker"]
    low, high = shown["accuracy_interval"]["released"]
    assert 0 <= low <= shown["accuracy"]["released"] <= high <= 1
    low, high = shown["leakage_interval"]
    assert 0 <= low <= shown["leakage"] <= high <= 1
    assert shown["real_to_real"] > 0.5
    assert 0 < shown["chance"] < 1
    assert 0 <= shown["worst_case"]["leakage"] <= 1
    assert "recogniser-raw" in Path(shown["worst_case"]["report"]).read_text()
    assert "recogniser-raw" not in Path(shown["audit"]).read_text()
    assert shown["contact_sheet"] == str(result.out / "contact-sheet.png")
    assert shown["mask_ratio"] == 0.75


def test_real_people_s_figures_are_the_card_s_by_the_strongest_attacker() -> None:
    card = {
        "leakage_of_odd_people": {
            "k": 2,
            "people": 9,
            "embedder-v1": 0.2,
            "probe-v1": 0.25,
            "probe-v1-very-photo": 0.9,
            "ensemble": 0.4,
        },
        "lfw_of_a_thin_recogniser": 0.79,
        "originals": {
            "leakage_of_odd_people": {"chance": 0.004, "embedder-v1": 0.8, "probe-v1": 0.46},
            "lfw_of_a_thin_recogniser": 0.83,
        },
    }
    expected = Figures(Share(0.8), Share(0.4), 0.004, Share(0.83), Share(0.79))
    assert Figures.of_real_people(card) == expected
    del card["originals"]
    assert Figures.of_real_people(card) is None
    assert Figures.of_real_people(None) is None
    bundled = resolve("facemae-v1").card.results
    found = Figures.of_real_people(bundled)
    assert found is not None
    assert found.found_released.value == bundled["leakage_of_odd_people"]["ensemble"]


def test_a_share_is_shown_with_its_interval() -> None:
    assert str(Share(0.395, (0.3, 0.499))) == "39.5 % (30.0 to 49.9)"
    assert str(Share(0.0036)) == "0.36 %"
    assert str(Share()) == "–"
