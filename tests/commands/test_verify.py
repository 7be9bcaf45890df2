"""`facemae verify` as it is typed: exit codes, and packs that are broken or hostile."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from helpers.models import write_embedder
from helpers.packcases import images_of, photo, write_bin, write_lfw

from facemae_cli.app import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_embedder(tmp_path / "phi.onnx")
    return tmp_path


def run(*words: str) -> int:
    return main(["verify", "--model", "phi.onnx", "--device", "cpu", "--workers", "2", *words])


def test_a_table_and_a_gate_that_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bin(folder / "x.bin", *images_of(24))
    assert run("--pairs", "x.bin", "--min-accuracy", "x=0.99") == 0
    out, err = capsys.readouterr()
    gate, _, heads, row, *_ = out.splitlines()
    assert gate == "gate  x: accuracy 100 %, minimum 99 %: passed"
    assert heads.split()[:2] == ["pack", "accuracy"]
    assert row.startswith("x     100.00 +- 0.00 %")
    assert "embed x: " in err


def test_a_failed_gate_is_1_although_inputs_were_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, same = images_of(24)
    same[3] = not same[3]
    images[0] = images[0][:-30]
    write_bin(folder / "x.bin", images, same)
    assert run("--pairs", "x.bin", "--min-accuracy", "1", "--json", "--refused", "refused.txt") == 1
    out, err = capsys.readouterr()
    value = json.loads(out)
    assert value["gates"][0]["passed"] is False
    assert [item["reason"] for item in value["refused"]] == ["truncated"]
    assert err.splitlines()[-1].startswith("facemae: gate failed: x: accuracy 9")
    assert "image 0" in (folder / "refused.txt").read_text()


def test_an_accuracy_in_percent_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bin(folder / "x.bin", *images_of(2))
    assert run("--pairs", "x.bin", "--min-accuracy", "99") == 2
    assert "write 0.99 for 99 %" in capsys.readouterr().err


def test_without_a_model_the_bundled_one_is_verified(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bin(folder / "x.bin", *images_of(2))
    assert main(["verify", "--pairs", "x.bin"]) == 0
    assert "embedder-v1 (sha256 " in capsys.readouterr().out


class Call:
    def __reduce__(self) -> Any:
        return os.system, ("touch run",)


def test_a_pack_that_would_run_code_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.bin").write_bytes(pickle.dumps(([Call(), b""], [True])))
    assert run("--pairs", "x.bin") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "system" in err
    assert not (folder / "run").exists()


def test_a_pack_with_a_wrong_count_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, same = images_of(3)
    write_bin(folder / "x.bin", images[:-1], same)
    assert run("--pairs", "x.bin") == 2
    assert "5 images for 3 pairs" in capsys.readouterr().err


def test_a_broken_image_is_listed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, same = images_of(24)
    images[5] = b"no image"
    write_bin(folder / "x.bin", images, same)
    assert run("--pairs", "x.bin") == 3
    out, err = capsys.readouterr()
    assert "left out  x: 1 pair of which" in out
    assert "refused: x.bin image 5: not-an-image" in err


def test_a_pack_that_python_2_wrote_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images as BINSTRING, which Python 3 takes for text unless it is told `encoding="bytes"`."""
    images, same = images_of(24)
    strings = b"".join(b"T" + struct.pack("<I", len(image)) + image for image in images)
    truths = b"".join(b"\x88" if one else b"\x89" for one in same)
    (folder / "x.bin").write_bytes(b"\x80\x02](" + strings + b"e](" + truths + b"e\x86.")
    with pytest.raises(UnicodeDecodeError):
        pickle.loads((folder / "x.bin").read_bytes())
    assert run("--pairs", "x.bin", "--json") == 0
    assert json.loads(capsys.readouterr().out)["packs"]["x"]["accuracy"] == 1.0


def test_settings_may_name_packs_and_gates(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bin(folder / "x.bin", *images_of(24))
    (folder / "facemae.yaml").write_text("verify: {model: phi.onnx, pairs: [x.bin], min-accuracy: [x=0.9, 0.8]}")
    assert main(["verify", "--json", "--device", "cpu"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["settings"] == {"model": "phi.onnx", "pairs": ["x.bin"], "min-accuracy": ["x=0.9", "0.8"]}
    assert value["gates"][0]["minimum"] == 0.9


def test_a_pack_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lfw(folder / "lfw")
    assert main(["verify", "--pairs", "lfw", "--write-pack", "lfw.bin"]) == 0
    assert capsys.readouterr().out == "written  8 pairs of 8 faces -> lfw.bin\n"
    assert run("--pairs", "lfw.bin") == 0


def test_one_pair_is_a_note_and_no_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bin(folder / "x.bin", [photo(0, 0), photo(0, 1)], [True])
    assert run("--pairs", "x.bin") == 0
    assert "there is no accuracy" in capsys.readouterr().out
