"""The benchmarks run, on a handful of faces; what they measure is nobody's pass or failure."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import write_embedder, write_mae
from helpers.releases import PHOTOS, make_mixed_release, only_given_attackers, write_faces
from PIL import Image

from facemae_cli import app, leakage, mask
from facemae_cli.data.open import open_source
from facemae_cli.data.packs.source import open_pack
from facemae_cli.evaluation.leakage.statistics import Clusters
from facemae_cli.reports import pictures

BENCHMARKS = Path(__file__).parent / "benchmarks"
ONCE = "--rounds 0 --rows"
RUNS = {
    "records": "--records 40",
    "codec": "--faces 4",
    "mask": "--faces 6",
    "reconstruct": "--model facemae-tiny --faces 2",
    "fit": "--phi probe --batch 2 --steps 1",
    "train": "--models probe --batch 2 --steps 1 --classes 20",
    "embed": "--models probe --faces 2",
    "backends": "--models probe-v1 --faces 2",
    "audit": "--faces 4",
    "retrieval": "--faces 100 --dim 16",
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts, with a copy and a product that take no time."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    timing = importlib.import_module("timing")
    monkeypatch.setattr(timing, "COPIED", 2**16)
    monkeypatch.setattr(timing, "PRODUCT", {"cpu": (32, 32, 32)})


@pytest.mark.parametrize("script", RUNS)
def test_each_measures_facemae_beside_others(script: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "rows"
    importlib.import_module(script).main([*RUNS[script].split(), *ONCE.split(), str(kept)])
    rows = [json.loads(line) for line in kept.read_text().splitlines()]
    for what in {row["what"] for row in rows}:
        sides = [row for row in rows if row["what"] == what]
        assert any("facemae" in row["side"] for row in sides), what
        assert not all("facemae" in row["side"] for row in sides), what
    assert rows
    assert all(row["best"] > 0 and row["x"] > 0 and row["floor"] > 0 for row in rows)
    assert "floor" in capfd.readouterr().out


def test_without_a_gpu_its_rows_say_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for script in RUNS:
        importlib.import_module(script).main(["--device", "cuda"])
        assert capsys.readouterr().out == f"{script}.py on cuda: no GPU\n"


def test_the_one_command_knows_every_script_and_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    run = importlib.import_module("run")
    assert {each.script for each in run.RUNS} == RUNS.keys() | {"help", "host"}
    for each in run.RUNS:
        for words in filter(None, (each.full, each.quick, each.cuda)):
            importlib.import_module(each.script).main([*words.split(), "--device", "cuda"])
            assert capsys.readouterr().out == f"{each.script}.py on cuda: no GPU\n"


def test_the_figures_are_drawn_of_photos_that_all_datasets_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, masked, phi = tmp_path / "raw", tmp_path / "masked", tmp_path / "phi.onnx"
    write_faces(raw, range(5))
    write_embedder(phi, dim=16)
    mask(raw, masked, seed=0, keep_names=True)
    next(masked.rglob("*.png")).unlink()
    figures = importlib.import_module("figures")
    figures.main([f"original={raw}", f"masked={masked}", "--model", str(phi), "--out", str(tmp_path), "--rows", "2"])
    assert capsys.readouterr().out.startswith("14 photos of 5 people")
    with Image.open(tmp_path / "faces.png") as sheet, Image.open(tmp_path / "features.png") as scatter:
        assert min(sheet.size) > 2 * pictures.CELL
        assert len(np.unique(np.asarray(scatter.convert("RGB")).reshape(-1, 3), axis=0)) > 100


def test_two_releases_are_compared_by_what_an_audit_finds_in_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only_given_attackers(monkeypatch)
    raw, masked, phi = tmp_path / "raw", tmp_path / "masked", str(write_embedder(tmp_path / "phi.onnx", dim=16))
    write_faces(raw, range(12))
    mask(raw, masked, seed=0, keep_names=True)
    audit = leakage(raw, masked, attacker=[phi], imitations=0, cache=tmp_path / "cache")
    mine = [each for each in audit.findings if (each.attack, each.attacker) == ("real_to_released", "phi")]
    found = {each.photo: 100 * each.trials[0].risk for each in mine}
    paired = importlib.import_module("paired")
    paired.main([str(raw), str(raw), str(masked), "--attacker", phi, "--cache", str(tmp_path / "cache")])
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"thumbnail, other", "ensemble, same"} <= set(told)  # they always attack
    assert f"- {found['other']:.1f} = " in told["phi, other"]
    assert told["phi, same"].startswith(f"100.0 - {found['same']:.1f} = {100 - found['same']:+.1f} (")
    assert 0 < found["same"] < 100
    seen = paired.Attackers([phi], 2, tmp_path / "cache").find(raw, masked)
    counted = [each for each in audit.findings if each.attack != "real_to_real"]
    assert {(each.attacker, each.photo): each.risk for each in counted} == pytest.approx(
        {who: clusters.rate for who, clusters in seen.items()}  # what others make of masked faces is among them
    )
    paired.main([str(raw), str(masked), str(masked), "--attacker", phi, "--cache", str(tmp_path / "cache")])
    alike = capsys.readouterr().out.splitlines()
    assert len(alike) == len(seen)
    assert all(" = +0.0 (" in line and line.endswith(", 12 people") for line in alike)


def test_the_projection_is_that_in_which_people_differ_most() -> None:
    figures = importlib.import_module("figures")
    features = np.array([[5, 0, 1], [5, 0, -1], [-5, 0, 1], [-5, 0, -1], [0, 2, 1], [0, 2, -1]], dtype=np.float64)
    middle, axes = figures.projection(features, ["a", "a", "b", "b", "c", "c"])
    assert middle == pytest.approx([0, 2 / 3, 0])
    assert np.abs(axes) == pytest.approx(np.array([[1, 0], [0, 1], [0, 0]]), abs=1e-12)


def test_people_of_several_datasets_are_gathered_whole_and_keep_apart(tmp_path: Path) -> None:
    people = importlib.import_module("people")
    first, second = write_faces(tmp_path / "a", range(3)), write_faces(tmp_path / "b", range(2))
    people.main([str(tmp_path / "both.rec"), f"{first}:even", f"{second}:odd"])
    found = open_source(tmp_path / "both.rec")
    assert sorted({str(found.name(at).identity) for at in range(len(found))}) == ["1-p0", "1-p2", "2-p1"]
    originals = open_source(first)
    assert found.read(0) == originals.read(0)
    assert len(found) == len(originals)  # two people of three, and one of two: three people's photos
    assert people.members(originals, people.RULES[""], most=PHOTOS + 1) == list(range(2 * PHOTOS))  # two whole people
    with pytest.raises(SystemExit):
        people.main([str(tmp_path / "more.rec"), f"{first}:third"])


def test_pairs_are_drawn_of_the_wanted_people_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = importlib.import_module("people")
    monkeypatch.setattr(people, "PAIRS", 20)
    raw = write_faces(tmp_path / "raw", range(80), photos=2)
    people.main([str(tmp_path / "even.bin"), f"{raw}:even"])
    pack, faces = open_pack(tmp_path / "even.bin"), open_source(raw)
    wanted = {faces.read(at) for at in range(len(faces)) if at // 2 % 2 == 0}
    assert pack.pairs.shape == (20, 2)
    assert pack.same.sum() == 10
    assert {pack.read(at) for at in range(len(pack))} <= wanted
    with pytest.raises(SystemExit):
        people.main([str(tmp_path / "even.bin"), str(raw), str(raw)])


def counted(hits: list[float]) -> Clusters:
    """One photo a person, found or not."""
    return Clusters.of(np.array(hits), np.arange(len(hits)))


def test_a_release_lies_beside_the_line_at_its_own_utility() -> None:
    plane = importlib.import_module("plane")
    seeds = [[70.0, 72.0], [80.0, 80.0], [74.0, 74.0]]  # of both ends, 71 and 80, and of the release
    hits = [[1.0, 0, 0, 0, 0, 0], [1.0, 1, 1, 1, 0, 0], [0.0, 0, 0, 0, 0, 1]]
    weak = counted([0.0] * 6)
    low, high, release = (
        plane.Point(title, {"even": one}, {("a", "other"): counted(found), ("b", "other"): weak})
        for title, one, found in zip(("low", "high", "release"), seeds, hits, strict=True)
    )
    assert release.strongest("other")[0] == "a"
    assert plane.utility_difference(high, low, "even") == (9.0, 1.0)
    assert plane.leakage_difference(high, low, "other").difference == pytest.approx(0.5)
    found = plane.gap(release, [high, low], "even", "other")
    assert (found.low, found.high) == ("low", "high")
    assert found.release == pytest.approx(100 / 6)
    assert found.line == pytest.approx(100 * (2 / 3 * 1 / 6 + 1 / 3 * 4 / 6))  # a third of the way from 71 to 80
    of_people = np.std([[0, 0, 0, 0, 0, 1][at] - [1, 1 / 3, 1 / 3, 1 / 3, 0, 0][at] for at in range(6)]) / np.sqrt(6)
    of_seeds = (4 / 6 - 1 / 6) / 9 * (2 / 3)  # seeds lie 2/3 to either side of the line, the slope is per percent
    assert found.error == pytest.approx(100 * np.hypot(of_people, of_seeds), rel=0.05)
    assert found.reading == "not told apart"
    assert plane.Gap(10.0, 20.0, "low", "high", 4.9).reading == "gives away less"
    assert plane.Gap(20.0, 10.0, "low", "high", 4.9).reading == "gives away more"
    assert plane.Gap(10.0, 20.0, "low", "high", None).reading == "one seed: not decided"
    for off in ([60.0, 60.0], [90.0, 90.0]):
        assert plane.gap(dataclasses.replace(release, utility={"even": off}), [low, high], "even", "other") is None


LEARNT = {"-75-": 0.8, "-90-": 0.7, "raw-": 0.75}  # by what is in the name of the faces it was learnt from


def in_this_process(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    """facemae, without the seconds that a process takes to start; nothing is learnt, but verified all the same."""
    words = command[3:]
    if words[0] in ("train-recognizer", "verify"):
        name = Path(words[words.index("--model") + 1]).name
        accuracy = next((each for part, each in LEARNT.items() if part in name), 0.0) + 0.001 * name.endswith("s1")
        return subprocess.CompletedProcess(command, 0, json.dumps({"packs": {"even": {"accuracy": accuracy}}}))
    with redirect_stdout(StringIO()) as out:
        code = app.main(words)
    return subprocess.CompletedProcess(command, code, out.getvalue())


def test_any_release_is_put_on_the_plane_beside_the_line_of_a_plain_mae(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frontier, steps = importlib.import_module("frontier"), importlib.import_module("steps")
    monkeypatch.setattr(steps.subprocess, "run", in_this_process)
    only_given_attackers(monkeypatch)
    raw = write_faces(tmp_path / "raw", range(8))
    asked = [f"raw={raw}", "--original", str(raw), "--pairs", "even.bin", "--seeds", "2", "--ratios", "75,90"]
    asked += ["--attacker", str(write_embedder(tmp_path / "phi.onnx")), "--line", str(write_mae(tmp_path / "mae"))]
    asked += ["--scale", str(BENCHMARKS / "scales" / "cpu.yaml"), "--work", str(tmp_path / "work")]
    photos = sorted(path.relative_to(raw) for path in raw.rglob("*.*"))
    made_of = [f"{photo},{photo.parent},{photo.name}\n" for photo in photos]
    (tmp_path / "whom.csv").write_text("released,person,photo\n" + "".join(made_of))
    asked += ["--sources", f"raw={tmp_path / 'whom.csv'}"]
    frontier.main(asked)
    told = capsys.readouterr().out
    assert "\n| MAE, 75 % | 80.05 +- 0.07 | " in told
    assert "\n| raw | 75.05 +- 0.07 | 100.0 (" in told
    assert "| raw | MAE, 90 % | +5.00 (0.00) | " in told
    for attacker in ("phi", "thumbnail", "ensemble"):
        assert any(line.startswith(f"| {attacker} | ") and "/ 100.0 |" in line for line in told.splitlines())
    last = told.splitlines()[-1]
    assert last.startswith("| raw | the very photo | 100.0 | ")
    assert last.endswith(" | gives away more |")
    frontier.main(asked)
    again = capsys.readouterr().out
    assert not any(line.startswith(("facemae ", "who is found")) for line in again.splitlines())  # all of it is kept
    assert again == told[-len(again) :]


def test_a_release_is_attacked_by_the_model_that_made_it(tmp_path: Path) -> None:
    frontier, steps, tables = (importlib.import_module(name) for name in ("frontier", "steps", "tables"))
    scale = tables.Scale.load(BENCHMARKS / "scales" / "cpu.yaml")
    faces = tables.Faces("faces", tmp_path / "faces.rec", 8)
    setup = tables.Setup(steps.Lab(tmp_path), scale, faces, [Path("even.bin")], ["phi.onnx"], range(1))
    asked = frontier.Frontier(setup, "mae-v1", [0.75], Path("own.rec"), {}, {"other": "facemae-v1"})
    rows = [*asked.line(), asked.row("plain", faces), asked.row("other", faces)]
    by = [row.leakage.arguments[row.leakage.arguments.index("--imitation-model") + 1] for row in rows]
    assert by == ["mae-v1", "mae-v1", "facemae-v1"]


def test_in_a_mixed_release_those_are_found_whom_an_audit_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_given_attackers(monkeypatch)
    monkeypatch.chdir(make_mixed_release(tmp_path / "mixed"))
    attackers = importlib.import_module("paired").Attackers(["phi.onnx"], 2, tmp_path / "cache", Path("own"), ["mae"])
    found = attackers.find(Path("raw"), Path("released"), Path("whom.csv"))
    audited = leakage(
        attacker=["phi.onnx"], imitation_model=["mae"], adapt="own", sources="whom.csv", k="2", device="cpu"
    )
    rates = {(each.attacker, each.photo): each.risk for each in audited.findings if each.attack == "real_to_released"}
    assert {label: counted.rate for label, counted in found.items()} == pytest.approx(rates, abs=1e-9)


def test_what_cannot_be_put_on_the_plane_is_said_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frontier = importlib.import_module("frontier")
    raw, masked = write_faces(tmp_path / "raw", range(4)), tmp_path / "masked"
    mask(raw, masked, key=tmp_path / "facemae.key")
    rest = ["--original", str(raw), "--pairs", "even.bin", "--scale", str(BENCHMARKS / "scales" / "cpu.yaml")]
    rest += ["--work", str(tmp_path / "work")]
    for releases, says in (
        (["masked"], "TITLE=DATASET"),
        ([f"a={raw}", f"a={masked}"], "two releases have one title"),
        ([f"a={raw}", "--seeds", "0"], "--seeds 0: give 1 or more"),
        ([f"a={raw}", "--sources", "b=whom.csv"], "--sources b: no release has that title"),
        ([f"a={raw}", "--model", "b=mae-v1"], "--model b: no release has that title"),
    ):
        with pytest.raises(SystemExit):
            frontier.main([*releases, *rest])
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit, match="--keep-names"):
        frontier.main([f"a={masked}", *rest])
    assert not (tmp_path / "work").exists()


def test_a_release_that_changed_under_its_title_is_another(tmp_path: Path) -> None:
    frontier = importlib.import_module("frontier")
    raw = write_faces(tmp_path / "raw", range(2))
    first = frontier.given(raw, "half/half, 50 %")
    assert frontier.given(raw, "half/half, 50 %") == first
    assert first.count == 2 * PHOTOS
    assert "/" not in first.name
    (raw / "p0" / "0.png").write_bytes((raw / "p1" / "0.png").read_bytes())
    assert frontier.given(raw, "half/half, 50 %").name != first.name
