"""No byte of what is handed on tells who is in the source: searched in every file, for every format in and out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.maskcases import key_file, put
from helpers.models import write_embedder, write_mae
from helpers.releases import only_given_attackers
from trust.telling import (
    FILE,
    OTHER,
    ROOT,
    SECRET,
    SOURCES,
    WORDS,
    forbidden,
    jpeg,
    jpeg_of_nobody,
    make_folder,
    numbers_of_a_bare_rec,
    parts_of,
    png,
    told_by,
    webp,
)

from facemae_cli.app import main
from facemae_cli.data.open import open_source

# Each format in and out; sources and outputs are read and written apart, so not all of their pairs.
ROUTES = (
    ("folder", "masked"),
    ("folder", "set/train.rec"),
    ("flat", "masked.rec"),
    ("named-rec", "masked"),
    ("bare-rec", "set/train.rec"),
    ("insightface", "masked.rec"),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(ROOT)
    write_mae(folder / "mae")
    write_embedder(folder / "phi.onnx", dim=16)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder whose name tells something, too."""
    (tmp_path / ROOT).mkdir()
    return tmp_path / ROOT


def run(*words: object) -> int:
    return main([str(word) for word in words])


def written(out: Path) -> list[Path]:
    """The files of an output and no others; a folder's own path is not in it."""
    if out.name == "train.rec":
        return [out.parent]
    return [out] if out.is_dir() else sorted(out.parent.glob(f"{out.stem}.*"))


def test_the_words_are_in_the_sources_and_the_search_finds_them(root: Path, tmp_path: Path) -> None:
    """Each word stands somewhere in a source, and each kind of hiding place is looked into."""
    make_folder(root / "raw")
    found = told_by([root], forbidden(root)) if _recent(root) else []
    missing = {word for word in WORDS if not any(word in line for line in found)}
    assert missing == {"2013-05-17", "20130517", "1368783683", "portrait-hyzzwqvokkel"}
    for data, marks in ((jpeg(1), {"e1Exif", "e2ICC_", "e1http", "fe"}), (png(1), {"tEXt", "zTXt", "iTXt", "eXIf"})):
        assert marks <= parts_of(data.replace(b"trailer-bbequxhyloggart", b""))
    assert b"EXIF" in webp(1)


def _recent(folder: Path) -> bool:
    for file in folder.rglob("*"):
        os.utime(file)
    return True


@pytest.mark.parametrize(("source", "out"), ROUTES)
def test_what_mask_and_reconstruct_write(
    root: Path, tmp_path: Path, models: Path, source: str, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, key = SOURCES[source](root), key_file(root / "the.key", SECRET)
    words = forbidden(root) | (numbers_of_a_bare_rec() if source == "bare-rec" else {})
    masked, released = tmp_path / "a" / out, tmp_path / "b" / out.replace("masked", "released")
    assert run("mask", "--in", raw, "--out", masked, "--key", key, "--refused", root / "refused.jsonl") == 3
    model = models / "mae"
    options = ["--model", model, "--device", "cpu", "--batch-size", 4, "--preview", tmp_path / "sheet.png"]
    format = "png" if out == "masked.rec" else "jpg"
    assert run("reconstruct", "--in", masked, "--out", released, "--format", format, *options) == 0
    assert told_by([*written(masked), *written(released), tmp_path / "sheet.png"], words) == []
    for dataset, parts in ((masked, {"IHDR", "IDAT", "IEND"}), (released, _parts(format))):
        faces = open_source(dataset)
        assert len(faces) == 4
        assert all(parts_of(faces.read(index)) <= parts for index in range(4))
    assert parts_of((tmp_path / "sheet.png").read_bytes()) <= {"IHDR", "IDAT", "IEND"}
    shown = capsys.readouterr()
    assert SECRET.hex() not in (shown.out + shown.err).lower()
    assert os.stat(root / "refused.jsonl").st_mode & 0o777 == 0o600


def _parts(format: str) -> set[str]:
    return {"IHDR", "IDAT", "IEND"} if format == "png" else parts_of(jpeg_of_nobody())


def test_a_seed_and_a_copy_and_a_second_conversion_tell_no_more(root: Path, tmp_path: Path) -> None:
    raw, key = make_folder(root / "raw"), key_file(root / "the.key", SECRET)
    assert run("mask", "--in", raw, "--out", tmp_path / "m", "--key", key, "--seed", 5, "--strategy", "eyes") == 3
    assert run("convert", "--in", tmp_path / "m", "--out", tmp_path / "c.rec") == 0
    assert run("convert", "--in", tmp_path / "c.rec", "--out", tmp_path / "d" / "train.rec") == 0
    outputs = [tmp_path / "m", *written(tmp_path / "c.rec"), tmp_path / "d"]
    assert told_by(outputs, forbidden(root)) == []


def test_reports_about_pseudonyms_hold_no_name(
    root: Path, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit's page and the verification's; what is told to the steward's terminal may name people."""
    only_given_attackers(monkeypatch)
    raw, key = make_folder(root / "raw"), key_file(root / "the.key", SECRET)
    for number in range(20):  # as many as pairs are drawn from
        for photo in (1, 2):
            put(raw / f"{OTHER} {number}" / f"{FILE}-{photo}.jpg", jpeg(10 * number + photo, 28))
    monkeypatch.chdir(root)
    masked, released, pack = tmp_path / "masked", tmp_path / "released", tmp_path / "pack" / "pairs.txt"
    assert run("mask", "--in", raw, "--out", masked, "--key", key) == 3
    assert run("reconstruct", "--in", masked, "--out", released, "--model", models / "mae", "--device", "cpu") == 0
    shown = ["--device", "cpu", "--cache", "cache", "--json"]
    audit = ["--original", raw, "--released", released, "--attacker", models / "phi.onnx", "--key", key]
    page, verification = tmp_path / "audit.html", tmp_path / "verify.html"
    assert run("leakage", *audit, *shown, "--imitations", 0, "--show-faces", "--report", page) == 3
    assert run("convert", "--in", released, "--out", pack, "--pairs", 20) == 0
    assert run("verify", "--pairs", pack, "--model", models / "phi.onnx", *shown, "--report", verification) == 0
    assert told_by([page, verification, root / "cache", pack.parent], forbidden(root)) == []
