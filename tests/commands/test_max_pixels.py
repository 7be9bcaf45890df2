"""`--max-pixels`: how large an image may be, from the command line and from facemae.yaml, and for one command only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers.maskcases import SECRET, encoded, key_file, pixels, put

from facemae_cli.app import app, main
from facemae_cli.data.images.codec import decode
from facemae_cli.data.images.headers import header
from facemae_cli.errors import FaceError

PIXELS = 42 * 42
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(header, "_in_use", header.DEFAULT_LIMITS)  # put back when the test ends
    monkeypatch.chdir(tmp_path)
    key_file(tmp_path / "facemae.key", SECRET)
    put(tmp_path / "raw" / "anna" / "small.png", encoded(pixels(1, 28, 28), ".png"))
    put(tmp_path / "raw" / "anna" / "large.png", encoded(pixels(2, 42, 42), ".png"))
    return tmp_path / "raw"


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"demo", "names"}))
def test_every_command_that_reads_images_has_the_option(name: str) -> None:
    (option,) = [param for param in COMMANDS[name].params if param.name == "max_pixels"]
    assert option.default == header.MAX_PIXELS


def test_an_image_over_the_limit_is_refused_and_one_at_the_limit_is_not(raw: Path, capsys: Any) -> None:
    assert main(["inspect", "raw", "--json", "--max-pixels", str(PIXELS - 1)]) == 3
    (refused,) = told(capsys)["refused"]
    assert Path(refused["where"]).name == "large.png"
    assert refused["reason"] == "too-large"
    assert refused["detail"].endswith("42x42 is over the limit of 1763 pixels: resize it, or allow it by --max-pixels")
    assert main(["inspect", "raw", "--json", "--max-pixels", str(PIXELS)]) == 0


def test_facemae_yaml_sets_it_and_the_next_command_is_free_of_it(raw: Path, capsys: Any) -> None:
    Path("facemae.yaml").write_text(f"mask: {{max-pixels: {PIXELS - 1}}}\n")
    assert main(["mask", "--json"]) == 3
    assert told(capsys)["settings"] == {"max-pixels": PIXELS - 1}
    assert main(["inspect", "raw"]) == 0
    assert main(["mask", "--max-pixels", str(PIXELS), "--overwrite"]) == 0


def test_a_larger_limit_lets_larger_files_in_too(raw: Path) -> None:
    assert header.limits_in_use() == header.Limits(2**24, 2**26)
    assert main(["inspect", "raw", "--max-pixels", str(2**26)]) == 0
    assert header.limits_in_use() == header.Limits(2**26, 2**28)
    assert main(["inspect", "raw", "--max-pixels", "1"]) == 3
    assert header.limits_in_use() == header.Limits(1, 2**26)
    with pytest.raises(FaceError, match="over the limit of 1 pixels"):
        decode(encoded(pixels(1, 14, 14)))


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_limit_that_is_none_is_a_wrong_option(raw: Path, value: str, capsys: Any) -> None:
    assert main(["inspect", "raw", "--max-pixels", value]) == 2
    assert "--max-pixels" in capsys.readouterr().err


def test_a_stopped_run_goes_on_under_its_own_limit_only(raw: Path, monkeypatch: Any, capsys: Any) -> None:
    from facemae_cli.data.output import output

    def stop(*paths: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output, "_put_in_place", stop)
        assert main(["mask", "--max-pixels", str(PIXELS - 1)]) == 130
    assert main(["mask", "--resume"]) == 2
    assert "the stopped run had max_pixels = 1763, and now it is 16777216" in capsys.readouterr().err
    assert main(["mask", "--resume", "--max-pixels", str(PIXELS - 1)]) == 3
