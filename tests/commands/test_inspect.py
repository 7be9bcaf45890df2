"""`facemae inspect` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from facemae_cli.app import main
from facemae_cli.data.recordio.records import frame, pack_header

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415408d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)


def rec(folder: Path) -> Path:
    path = folder / "a.rec"
    path.write_bytes(b"".join(frame(pack_header(0, 4.0, key) + PNG) for key in range(3)))
    return path


def test_a_sound_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(rec(tmp_path)), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["format"], value["layout"], value["faces"]) == ("rec", "im2rec", {"readable": 3, "refused": {}})
    assert value["people_by_photos"] == {"3": 1}


def test_damage_is_listed_with_its_offset_and_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = rec(tmp_path)
    size = path.stat().st_size
    data = bytearray(path.read_bytes())
    data[size // 3] ^= 1
    path.write_bytes(data[:-1])
    assert main(["inspect", str(path), "--json", "--refused", str(tmp_path / "refused.jsonl")]) == 3
    out, err = capsys.readouterr()
    told = [(item["where"], item["reason"]) for item in json.loads(out)["refused"]]
    assert told == [
        (f"{path} at byte {size // 3}", "bad-magic"),
        (f"{path} at byte {size // 3 * 2}", "truncated-record"),
    ]
    assert "refused 2 of the inputs: 1 bad-magic, 1 truncated-record" in err
    assert len((tmp_path / "refused.jsonl").read_text().splitlines()) == 2


def test_what_is_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.rec").write_text("text")
    assert main(["inspect", str(tmp_path / "no.rec")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "is not a RecordIO file" in err
