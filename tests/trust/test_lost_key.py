"""A key that is lost is lost for good, and what was made with it goes on being of use; a key is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.maskcases import SECRET, encoded, key_file, pixels, put, tree
from helpers.models import write_mae

from facemae_cli.app import main
from facemae_cli.masking.key import Key


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for person in ("anna", "bert"):
        for photo in range(2):
            put(tmp_path / "raw" / person / f"{photo}.png", encoded(pixels(photo + len(person), 28, 28), ".png"))
    return tmp_path


def test_what_needs_the_key_and_what_does_not(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The release is used, copied and rebuilt without it; more photos of it cannot be masked under the old names."""
    write_mae(work / "mae")
    assert main(["mask", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["key_id"]
    before = tree(work / "masked")
    (work / "facemae.key").unlink()
    reconstruct = ["reconstruct", "--model", "mae", "--device", "cpu"]
    for command in (["inspect", "masked"], ["convert", "--in", "masked", "--out", "m.rec"], reconstruct):
        assert main(command) == 0, command
    assert not (work / "facemae.key").exists()  # none of these makes one
    assert json.loads((work / "released" / "facemae.json").read_text())["key_id"] == first
    capsys.readouterr()
    assert main(["mask", "--overwrite", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["key_id"] != first
    assert f"made with another key (key_id {first}): where both were released, their masks add up" in told.err
    assert "made the key facemae.key" in told.err
    assert not {name for name in tree(work / "masked") if name.endswith(".png")} & set(before)


def test_a_stopped_run_whose_key_is_lost_is_not_gone_on_with(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facemae_cli.data.output import output

    def stop(*paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output, "_put_in_place", stop)
        assert main(["mask"]) == 130
    (work / "facemae.key").unlink()
    for again in (["mask"], ["mask", "--resume"]):
        assert main(again) == 2
        assert "there is no key facemae.key to go on with" in capsys.readouterr().err
        assert not (work / "facemae.key").exists()
    key_file(work / "facemae.key", SECRET)
    assert main(["mask", "--resume"]) == 2
    assert "--resume: the stopped run had key_id" in capsys.readouterr().err
    assert main(["mask", "--overwrite"]) == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_can_read_stops_every_command_that_takes_one(
    work: Path, mode: int, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file(work / "facemae.key", SECRET)
    assert main(["mask", "--out", "released"]) == 0
    (work / "facemae.key").chmod(mode)
    for command in (["mask"], ["leakage", "--attacker", "probe-v1"], ["leakage", "--key", "facemae.key"]):
        assert main(command) == 2
        assert f"can be read by others (mode {mode:04o}); run: chmod 600 facemae.key" in capsys.readouterr().err
    assert not (work / "masked").exists()


def test_no_command_shows_the_key(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not on a good way and not on a bad one, not with --debug, and not as bytes, hex or text of a traceback."""
    key_file(work / "facemae.key", SECRET)
    put(work / "raw" / "anna" / "cut.png", b"no image")
    for words in (
        ["mask", "--json"],
        ["mask", "--out", "raw/inside"],
        ["mask", "--ratio", "2"],
        ["--debug", "mask", "--out", "masked"],
        ["--debug", "mask", "--key", "raw/anna/cut.png", "--out", "x"],
        ["--debug", "mask", "--size", "15", "--out", "x"],
        ["--debug", "leakage", "--original", "raw", "--released", "masked", "--attacker", "none"],
        ["inspect", "facemae.key"],
        ["convert", "--in", "facemae.key", "--out", "x"],
    ):
        main(words)
    (work / "facemae.key").write_text(SECRET.hex()[:-1])
    main(["--debug", "mask", "--out", "y"])
    shown = "".join(capfd.readouterr()).lower()
    assert "error:" in shown
    assert Key(SECRET).key_id in shown
    for part in (SECRET.hex()[:16], SECRET.hex()[-16:], repr(SECRET)[2:40]):
        assert part not in shown
