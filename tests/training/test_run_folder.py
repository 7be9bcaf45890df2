"""Claiming a run's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemae_cli.errors import OutputError, UsageError
from facemae_cli.training.run_folder import claim_run

OWN = ("model.yaml", "checkpoint.safetensors")


def claim(folder: Path, resume: bool = False, overwrite: bool = False) -> None:
    with claim_run(folder, OWN, folder.parent / "data", resume, overwrite):
        (folder / "checkpoint.safetensors").write_text("kept")


def test_a_new_folder_is_made_and_no_lock_stays(tmp_path: Path) -> None:
    claim(tmp_path / "runs" / "mine")
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["checkpoint.safetensors"]


def test_a_run_is_not_overwritten_by_surprise(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder)
    with pytest.raises(UsageError, match=r"holds a run; say --resume .* or --overwrite"):
        claim(folder)
    (folder / "model.yaml").write_text("old")
    claim(folder, resume=True)
    assert (folder / "model.yaml").exists()
    claim(folder, overwrite=True)
    assert not (folder / "model.yaml").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds 'thesis.txt', which is of no run"):
        claim(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_two_processes_do_not_share_a_folder_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with (
        claim_run(folder, OWN, tmp_path / "data", False, False),
        pytest.raises(UsageError, match="another process works there"),
    ):
        claim(folder)
    (folder / ".lock").touch()  # what a killed process leaves
    claim(folder)


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder)
    (folder / ".facemae-0123456789abcdef.part").write_text("half a mod")
    claim(folder, resume=True)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.safetensors"]


def test_inside_the_data_or_on_a_file_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "d"
    with pytest.raises(UsageError, match="lies inside --data"), claim_run(data / "o", OWN, data, False, False):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        claim(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OutputError, match="Read-only file system; give a folder that can be written"):
        claim(tmp_path / "run")
