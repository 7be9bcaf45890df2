"""`verify`: what it measures, writes, keeps and refuses."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.models import write_embedder
from helpers.packcases import images_of, photo, write_bin, write_lfw

from facemae_cli.data.packs.source import open_pack
from facemae_cli.errors import AllRefused, InputError, UsageError
from facemae_cli.evaluation.metrics import verify_pairs
from facemae_cli.inference.embed import embed
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.zoo import EMBEDDER
from facemae_cli.reports.text import tables
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.verify import VerifyResult, verify


@pytest.fixture
def phi(tmp_path: Path) -> str:
    return str(write_embedder(tmp_path / "phi.onnx"))


class Notices:
    """A progress that keeps its notices."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.labels: list[str] = []

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        self.labels.append(label)

    def advance(self, count: int = 1, note: str = "") -> None: ...

    def notice(self, line: str) -> None:
        self.lines.append(line)


def cpu(pairs: list[Path], **options: Any) -> VerifyResult:
    return verify(pairs, **{"device": "cpu", "workers": 2} | options)


def test_figures_are_the_protocol_s(tmp_path: Path, phi: str) -> None:
    path = write_bin(tmp_path / "x.bin", *images_of(24))
    result = cpu([path], model=phi)
    pack, ready = open_pack(path), Recognizer.load(phi)
    made = embed(pack, ready.embedder, device=ready.device, precision="fp32")
    assert result.packs["x"].verification == verify_pairs(made.features, pack.pairs, pack.same)
    assert result.packs["x"].verification.accuracy == 1.0
    value = json.loads(json.dumps(result.as_json()))
    assert {key: value[key] for key in ("schema", "command", "model", "card", "precision", "runtime")} == {
        "schema": 1, "command": "verify", "model": "phi", "card": "given", "precision": "fp32",
        "runtime": "onnxruntime",
    }  # fmt: skip
    assert set(value["packs"]["x"]) >= {"accuracy", "std", "interval", "tar_at_far", "threshold", "pairs"}
    assert set(value["packs"]["x"]["tar_at_far"]) == {"0.001", "0.0001"}
    heads, row = result.measured()
    assert dict(zip(heads, row, strict=True))["accuracy"] == "100.00 +- 0.00 %"
    assert row[-1] == "24"
    with pytest.raises(FrozenInstanceError):
        result.packs = {}  # type: ignore[misc]


def test_a_bin_and_a_folder_with_the_same_pairs_measure_alike(tmp_path: Path, phi: str) -> None:
    write_lfw(tmp_path / "lfw", 12)
    convert(tmp_path / "lfw" / "pairs.txt", tmp_path / "same.bin")
    result = cpu([tmp_path / "lfw", tmp_path / "same.bin"], model=phi)
    assert list(result.packs) == ["lfw", "same"]
    assert result.packs["lfw"].verification == result.packs["same"].verification
    assert cpu([tmp_path / "lfw" / "pairs.txt"], model=phi).packs["lfw"].verification.pairs == 24


def test_pairs_with_a_refused_face_are_left_out_counted_and_listed(tmp_path: Path, phi: str) -> None:
    images, same = images_of(24)
    images[2], images[9] = images[2][:-30], b""
    path = write_bin(tmp_path / "x.bin", images, same)
    result = cpu([path], model=phi)
    assert [(item.where, item.reason) for item in result.refused] == [
        (f"{path} image 2", "truncated"),
        (f"{path} image 9", "empty"),
    ]
    assert (result.packs["x"].left_out, result.packs["x"].verification.pairs) == (2, 22)
    assert ("left out", "x: 2 pairs of which a face is missing or was refused") in result.summary()
    assert result.failed_gates == []


def test_missing_photos_are_listed_too(tmp_path: Path, phi: str) -> None:
    folder = write_lfw(tmp_path / "lfw")
    (folder / "Person_00" / "Person_00_0002.jpg").unlink()
    result = cpu([folder], model=phi)
    assert [item.reason for item in result.refused] == ["missing-photo", "missing-photo"]
    assert result.packs["lfw"].left_out == 2


def test_a_gate_on_what_cannot_be_measured_fails(tmp_path: Path, phi: str) -> None:
    path = write_bin(tmp_path / "x.bin", [b"", b"text", b"", b""], [True, False])
    whole = write_bin(tmp_path / "y.bin", *images_of(24))
    with pytest.raises(AllRefused, match="not one face of --pairs has a feature") as caught:
        cpu([path], model=phi, min_accuracy=["0"], report=tmp_path / "report.html")
    assert len(caught.value.refused) == 2
    assert not (tmp_path / "report.html").exists()
    result = cpu([path, whole], model=phi, min_accuracy=["0"])
    assert result.packs["x"].verification.accuracy is None
    assert result.failed_gates == ["x: no accuracy could be measured, minimum 0 %: failed"]
    assert len(result.refused) == 2


def test_gates(tmp_path: Path, phi: str) -> None:
    paths = [write_bin(tmp_path / f"{name}.bin", *images_of(24)) for name in ("a", "b")]
    result = cpu(paths, model=phi, min_accuracy=["a=1", "0.5"])
    assert ([gate.passed for gate in result.gates], result.failed_gates) == ([True, True], [])
    assert [gate["pack"] for gate in result.as_json()["gates"]] == ["a", "b"]


def test_a_report_is_written_for_its_owner(tmp_path: Path, phi: str) -> None:
    path = write_bin(tmp_path / "x.bin", *images_of(24))
    report = tmp_path / "report.html"
    result = cpu([path], model=phi, report=report, min_accuracy=["0.5"])
    page = report.read_text()
    words = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    assert "x: accuracy 100 %, minimum 50 %: passed" in words
    assert (result.recognizer.model.digest or "none") in page  # type: ignore[union-attr]
    assert report.stat().st_mode & 0o777 == 0o600
    assert result.as_json()["report"] == str(report)
    with pytest.raises(UsageError, match="exists: choose another --report, or --overwrite"):
        cpu([path], model=phi, report=report)
    cpu([path], model=phi, report=report, min_accuracy=["0.5"], overwrite=True)
    assert report.read_text() == page


def test_a_cache_is_used_again(tmp_path: Path, phi: str) -> None:
    path = write_bin(tmp_path / "x.bin", *images_of(24))
    notices = [Notices(), Notices()]
    first, again = (cpu([path], model=phi, cache=tmp_path / "cache", progress=each) for each in notices)
    assert [each.labels for each in notices] == [["digest", "embed x"], ["digest"]]
    assert again.packs["x"].verification == first.packs["x"].verification


def test_an_assumed_card_is_told_and_recorded(tmp_path: Path, phi: str) -> None:
    Path(phi).with_suffix(".yaml").unlink()
    notices = Notices()
    result = cpu([write_bin(tmp_path / "x.bin", *images_of(4))], model=phi, progress=notices)
    assert "has no card" in notices.lines[0]
    assert (result.as_json()["card"], result.as_json()["notices"]) == ("assumed", notices.lines)


def test_people_in_both_are_counted(tmp_path: Path, phi: str) -> None:
    folder = write_lfw(tmp_path / "lfw")
    for name in ("person 01", "Person_03", "Somebody"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.jpg").write_bytes(photo(1, 0))
    (tmp_path / "train" / "#recycle" / "Person_04").mkdir(parents=True)
    (tmp_path / "train" / "#recycle" / "Person_04" / "1.jpg").write_bytes(photo(1, 0))
    (tmp_path / "train" / "notes.txt").write_text("not an image")
    notices = Notices()
    result = cpu([folder], model=phi, trained_on=tmp_path / "train", progress=notices)
    assert result.as_json()["packs"]["lfw"]["people_in_training"] == 2
    assert result.as_json()["not_read"] == {"--trained-on": {"ignored_files": 1, "passed_over": {"#recycle": 1}}}
    ignored, recycled = notices.lines[-3:-1]
    assert ignored == "files ignored in --trained-on: 1, which are not images"
    assert recycled.startswith("passed over in --trained-on: 1 #recycle: ")
    assert notices.lines[-1].startswith("lfw: 2 of its people are, by name, among the training faces")
    numbered = write_bin(tmp_path / "x.bin", *images_of(4))
    result = cpu([numbered], model=phi, trained_on=tmp_path / "train")
    assert result.packs["x"].shared_people is None
    assert result.notices[2:] == ["x: names are not known on both sides, so neither is who is among the training faces"]


def test_accuracy_by_group(tmp_path: Path, phi: str) -> None:
    folder = write_lfw(tmp_path / "lfw", people=6)
    csv = tmp_path / "groups.csv"
    csv.write_text("name,sex\n" + "".join(f"Person_{n:02d},{'fm'[n % 2]}\n" for n in range(5)) + "Nobody,f\n")
    bin_pack = write_bin(tmp_path / "x.bin", *images_of(4))
    report = tmp_path / "report.html"
    result = cpu([folder, bin_pack], model=phi, groups=csv, report=report, min_accuracy=["0"])
    women, men = result.packs["lfw"].groups
    assert [(each.value, each.pairs, each.positives, each.accuracy) for each in (women, men)] == [
        ("f", 3, 3, 1.0),
        ("m", 2, 2, 1.0),
    ]
    assert result.notices[:2] == [
        f"lfw: {csv}: 1 of 6 rows name nobody in the dataset",
        f"lfw: {csv}: 2 of 12 faces have no row, and are in no group",
    ]
    assert result.notices[2].startswith(f"x: {csv}: none of its 6 rows, such as 'Person_00', names a person")
    said = "too small to tell, under 100 pairs: sex f (3), sex m (2)"
    assert ("groups", f"lfw: {said}") in result.summary()
    assert said in report.read_text()
    assert [group["group"] for group in result.as_json()["packs"]["lfw"]["groups"]] == ["f", "m"]
    with pytest.raises(InputError, match="none of its 6 rows"):
        cpu([bin_pack], model=phi, groups=csv)


def test_faces_of_another_size_are_told(tmp_path: Path, phi: str) -> None:
    result = cpu([write_lfw(tmp_path / "lfw", size=64)], model=phi)
    assert result.notices[0].startswith("lfw: 8 of 8 faces are not 112 x 112 pixels")


def test_a_pack_is_written_without_a_model(tmp_path: Path) -> None:
    folder = write_lfw(tmp_path / "lfw", people=3)
    (folder / "Person_00" / "Person_00_0001.jpg").write_bytes(photo(0, 0, 64))
    notices = Notices()
    result = cpu([folder], write_pack=tmp_path / "lfw.bin", progress=notices)
    assert notices.lines == [f"{tmp_path / 'lfw.bin'}: 1 face is not 112 x 112 pixels, as InsightFace's packs are"]
    images, same = pickle.loads((tmp_path / "lfw.bin").read_bytes())
    assert (len(images), same) == (12, [True, False] * 3)
    assert result.as_json()["written"] == {"out": str(tmp_path / "lfw.bin"), "faces": 6, "pairs": 6}
    assert (result.as_json()["model"], result.measured()) == (None, [])
    with pytest.raises(UsageError, match="exists: choose another --write-pack, or --overwrite"):
        cpu([folder], write_pack=tmp_path / "lfw.bin")


def test_a_pack_without_figures_has_no_row_in_a_narrow_table_and_one_pair_is_one(tmp_path: Path, phi: str) -> None:
    folder = write_lfw(tmp_path / "one", people=1)
    (folder / "pairs.txt").write_text("Person_00\t1\t2\n")
    result = cpu([write_bin(tmp_path / "x.bin", *images_of(24)), folder], model=phi)
    *figures, counts = tables(result.measured(), width=40).split("\n\n")
    assert not any("one" in part for part in figures)
    assert "one" in counts
    written = cpu([folder], write_pack=tmp_path / "one.bin")
    assert ("written", f"1 pair of 2 faces -> {tmp_path / 'one.bin'}") in written.summary()


def test_a_pack_is_written_and_measured(tmp_path: Path, phi: str) -> None:
    folder = write_lfw(tmp_path / "lfw", people=6)
    broken = folder / "Person_01" / "Person_01_0001.jpg"
    broken.write_bytes(broken.read_bytes()[:-40])
    result = cpu([folder], model=phi, write_pack=tmp_path / "out.bin")
    assert [(item.where, item.reason) for item in result.refused] == [(str(broken), "truncated")]
    assert result.packed is not None
    assert (result.packed.pairs, result.packs["lfw"].verification.pairs) == (10, 10)
    assert cpu([tmp_path / "out.bin"], model=phi).packs["out"].verification == result.packs["lfw"].verification


def test_the_bundled_embedder_is_verified_unless_another_is_said(tmp_path: Path) -> None:
    result = cpu([write_lfw(tmp_path / "lfw", people=4)])
    assert result.recognizer is not None
    assert (result.recognizer.model.name, result.packs["lfw"].verification.pairs) == (EMBEDDER, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None, "write_pack": "y.bin", "min_accuracy": ["0.9"]}, "--min-accuracy needs an embedder"),
        ({"model": None, "write_pack": "y.bin", "report": "r.html"}, "--report needs an embedder"),
        ({"model": None, "write_pack": "y.bin", "groups": "g.csv"}, "--groups needs an embedder"),
        ({"write_pack": "y.pack"}, "must end in .bin"),
        ({"write_pack": "y.bin"}, "--write-pack makes a .bin of one folder"),
        ({"pairs": ["lfw", "x.bin"], "write_pack": "y.bin"}, "--write-pack makes a .bin of one folder"),
        ({"pairs": ["lfw"], "write_pack": "lfw/y.bin"}, "is inside the input"),
        ({"pairs": ["lfw"], "write_pack": "none/y.bin"}, "there is no folder"),
        ({"pairs": ["lfw"], "report": "lfw/r.html"}, "--report .* is inside the dataset"),
        ({"pairs": ["lfw/pairs.txt"], "cache": "lfw"}, "--cache .* is inside the dataset"),
        ({"trained_on": "lfw", "cache": "lfw/cache"}, "--cache .* is inside the dataset"),
        ({"report": "x.bin", "overwrite": True}, "--report .* is inside the dataset"),
        ({"report": "none/r.html"}, "there is no folder"),
        ({"pairs": []}, "no pairs to verify"),
        ({"pairs": ["x.bin", "x.bin"]}, "are both called x"),
        ({"min_accuracy": ["y=0.9"]}, "there is no pack 'y'; there are x"),
        ({"workers": 0}, "--workers 0"),
        ({"batch_size": "0"}, "--batch-size '0'"),
        ({"precision": "half"}, "--precision 'half'"),
        ({"model": "nothing"}, "neither a path nor a model of the zoo"),
        ({"trained_on": "x.bin"}, "is a verification pack"),
    ],
)
def test_what_cannot_be_carried_out(tmp_path: Path, phi: str, options: dict[str, Any], message: str) -> None:
    write_bin(tmp_path / "x.bin", *images_of(2))
    write_lfw(tmp_path / "lfw")
    options = {"model": phi, "pairs": ["x.bin"]} | options
    for name in ("write_pack", "report", "cache", "trained_on"):
        if name in options:
            options[name] = tmp_path / options[name]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=message):
        cpu([tmp_path / path for path in options.pop("pairs")], **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_pack(tmp_path: Path, phi: str) -> None:
    for name in ("faces.rec", "none.bin", "folder"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=name):
            cpu([tmp_path / name], model=phi)


@pytest.mark.faces
def test_a_slice_of_lfw(tmp_path: Path, faces_root: Path) -> None:
    """Of one fold, the first 30 pairs of each kind."""
    lfw = open_pack(faces_root / "lfw.bin")
    chosen = np.r_[0:30, 300:330]
    images = [lfw.read(face) for face in lfw.pairs[chosen].ravel().tolist()]
    path = write_bin(tmp_path / "lfw.bin", images, lfw.same[chosen].tolist())
    result = verify([path], model=str(faces_root / "mobilefacenet.onnx"), min_accuracy=["lfw=0.96"])
    assert (result.failed_gates, result.refused, result.notices) == ([], [], [])
    assert result.packs["lfw"].faces == len({*images})
