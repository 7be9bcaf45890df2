"""`facemae leakage` as it is typed: exit codes, tables, gates, defaults and settings."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers.releases import PEOPLE, PHOTOS, make_release, only_given_attackers

from facemae_cli.app import main


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(autouse=True)
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    only_given_attackers(monkeypatch)
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "work"))
    return Path.cwd()


def run(*words: str) -> int:
    """In a folder with raw/, released/ and facemae.key: nothing else needs to be said."""
    return main(["leakage", "--attacker", "phi.onnx", "--device", "cpu", "--workers", "2", "--imitations", "0", *words])


def test_a_table_and_a_verdict_that_is_refused_without_a_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--k", "2", "--imitation-model", "mae", "--min-attacker", "1") == 0
    out, err = capsys.readouterr()
    verdict, reason, *more = out.splitlines()
    place = next(at for at, line in enumerate(more) if line.startswith("K = 2, 8 people"))
    heads, *rest = more[place:]
    [row] = [line for line in rest if line.startswith("phi ")]
    assert [verdict.split(), reason.split()[:4]] == [["verdict", "refused"], ["because", "phi", "is", "weak:"]]
    assert re.split("  +", heads) == ["K = 2, 8 people", "other photos", "the very photo", "real -> real"]
    assert re.fullmatch(r"phi +[\d.]+ % \([\d.]+ to [\d.]+\) .*", row)
    cases = [line.split()[:2] for line in more[:place] if not line.startswith("because")]
    assert cases == [["other", "photos"], ["the", "very"], []]
    rows = [" ".join(line.split()) for line in rest]
    known = f"the released faces of 24 of {PEOPLE * PHOTOS} photos are known"
    assert f"people {PEOPLE} in both datasets by the key; {known}" in rows
    assert "1/2 embed released" in err


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        (("--max-leakage", "1", "--min-attacker", "0"), 0, "passed"),
        (("--max-leakage", "0", "--min-attacker", "0"), 1, "failed"),
        (("--max-leakage", "0.999", "--min-attacker", "0", "--k", "1"), 0, "passed"),
        (("--max-leakage", "1", "--min-attacker", "1"), 1, "refused"),
        (("--max-tpr", "0.9", "--min-attacker", "0"), 1, "undecided"),
        (("--min-attacker", "0"), 0, "none"),
        (("--min-attacker", "1"), 0, "refused"),
    ],
)
def test_gates_decide_on_the_exit_code(
    words: tuple[str, ...], code: int, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--imitation-model", "mae", "--json", *words) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["verdict"]["status"] == status
    assert ("facemae: gate failed: --max" in err) is (code == 1)


def test_refused_faces_are_3_and_a_gate_that_failed_is_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "raw" / "p0" / "0.png").write_bytes(b"no image")
    assert run("--json", "--refused", "refused.txt") == 3
    value = json.loads(capsys.readouterr().out)
    assert [item["reason"] for item in value["refused"]] == ["not-an-image"]
    assert "p0" in (folder / "refused.txt").read_text()
    assert run("--max-leakage", "0") == 1


def test_another_key_is_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mask", "--in", "raw", "--out", "again", "--key", "other.key"]) == 0
    capsys.readouterr()
    assert run("--key", "other.key") == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "--key FILE takes the release's own" in err


def test_a_share_in_percent_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--max-leakage", "50") == 2
    assert "write 0.5 for 50 %" in capsys.readouterr().err


def test_settings_make_two_words_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "facemae.yaml").write_text(
        "leakage: {attacker: [phi.onnx], imitation-model: [mae], imitations: 0, device: cpu, min-attacker: 0}"
    )
    assert main(["leakage", "--k", "1,2", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["settings"]["attacker"] == ["phi.onnx"]
    assert sorted({each["k"] for each in value["results"]}) == [1, 2]


def test_the_worst_people_are_called_as_the_release_calls_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("exposed")]
    assert len(shown) == 5
    assert all(len(line.split()[1].rstrip(":")) == 26 for line in shown)
