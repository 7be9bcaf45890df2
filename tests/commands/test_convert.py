"""`facemae convert` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.app import main
from facemae_cli.data.images.codec import encode_png


def raw(folder: Path) -> Path:
    for person in ("ann", "bob"):
        (folder / "raw" / person).mkdir(parents=True)
        pixels = np.full((8, 8, 3), ord(person[0]), np.uint8)
        (folder / "raw" / person / "1.png").write_bytes(encode_png(pixels))
    return folder / "raw"


def test_a_folder_to_a_rec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--in", str(raw(tmp_path)), "--out", str(tmp_path / "a.rec"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["format"], value["faces"]["out"], value["refused"]) == ({"in": "folder", "out": "rec"}, 2, [])
    assert (tmp_path / "a.lst").read_text() == "1\t0\tann/1.png\n2\t1\tbob/1.png\n"


def test_a_broken_image_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw(tmp_path) / "ann" / "2.png").write_bytes(b"text")
    assert main(["convert", "--in", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("converted  2 of 3 faces")
    assert "not-an-image" in err


def test_an_output_that_exists_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.bin").write_bytes(b"old")
    assert main(["convert", "--in", str(raw(tmp_path)), "--out", str(tmp_path / "x.bin")]) == 2
    assert "was not made by facemae" in capsys.readouterr().err
    assert (tmp_path / "x.bin").read_bytes() == b"old"


def test_too_few_people_for_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--in", str(raw(tmp_path)), "--out", str(tmp_path / "x.bin")]) == 2
    assert "too few to sample pairs" in capsys.readouterr().err
