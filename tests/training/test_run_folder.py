"""Claiming a run's folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from facemae_cli.errors import OutputError, UsageError
from facemae_cli.runtime import mounts
from facemae_cli.training.run_folder import RunFolder, samples_beside

OWN = ("model.yaml", "checkpoint.safetensors", "samples.png")


def run_in(folder: Path, resume: bool = False, overwrite: bool = False) -> RunFolder:
    return RunFolder(folder, OWN, resume=resume, overwrite=overwrite, shows_faces=True)


def claim(folder: Path, resume: bool = False, overwrite: bool = False, text: str = "kept") -> Path:
    """A run from its beginning to its end; returns where it worked."""
    place = run_in(folder, resume, overwrite)
    place.check(folder.parent / "data")
    with place.claim() as work:
        (work / "checkpoint.safetensors").write_text(text)
    return work


class Stopped(Exception):
    pass


def stop(folder: Path, text: str, **options: bool) -> None:
    """A run that is stopped after its first checkpoint."""
    place = run_in(folder, **options)
    place.check(folder.parent / "data")
    with suppress(Stopped), place.claim() as work:
        (work / "checkpoint.safetensors").write_text(text)
        raise Stopped


def tree(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_text(errors="replace") for path in files}


def test_a_new_folder_is_made_and_no_lock_stays(tmp_path: Path) -> None:
    claim(tmp_path / "runs" / "mine")
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["checkpoint.safetensors"]


def test_a_run_is_not_overwritten_by_surprise(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder)
    with pytest.raises(UsageError, match=r"holds a run; use --resume .* or --overwrite"):
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
    with run_in(folder).claim() as work:
        (work / "checkpoint.safetensors").write_text("kept")
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(UsageError, match="another process works there"):
                claim(folder, **options)
    (folder / "checkpoint.safetensors").unlink()
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
    with pytest.raises(UsageError, match="lies inside the input"):
        run_in(data / "o").check(data)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        claim(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(OutputError, match="allow writing there or choose another place"):
        run_in(tmp_path / "deep" / "run").check(tmp_path / "data")

    def fail(*arguments: object, **options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.undo()
    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OutputError, match="read-only file system: allow writing there or choose another place"):
        claim(tmp_path / "run")
    assert os.listdir(tmp_path) == []


def test_a_check_makes_nothing(tmp_path: Path) -> None:
    for options in ({}, {"resume": True}, {"overwrite": True}):
        run_in(tmp_path / "deep" / "run", **options).check(tmp_path / "data")
    assert os.listdir(tmp_path) == []


def test_a_start_that_fails_leaves_neither_lock_nor_folder(tmp_path: Path) -> None:
    with suppress(Stopped), run_in(tmp_path / "runs" / "mine").claim():
        raise Stopped
    assert os.listdir(tmp_path) == []
    claim(tmp_path / "mine")
    before = tree(tmp_path)
    for options in ({"resume": True}, {"overwrite": True}):
        with suppress(Stopped), run_in(tmp_path / "mine", **options).claim():
            raise Stopped
        assert tree(tmp_path) == before


def test_what_is_replaced_stays_until_all_of_the_new_one_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    claim(folder, text="old")
    (folder / "model.yaml").write_text("old card")
    samples_beside(folder).write_bytes(b"\x89PNG\r\n\x1a\nold")
    before = tree(tmp_path)
    stop(folder, "new", overwrite=True)
    assert {name: text for name, text in tree(tmp_path).items() if "facemae-part" not in name} == before
    with pytest.raises(UsageError, match=r"facemae-part is left from a stopped run; use --resume .* or --overwrite"):
        claim(folder)
    place = run_in(folder, resume=True)
    with place.claim() as work:
        assert (work / "checkpoint.safetensors").read_text() == "new"
        (work / "model.yaml").write_text("new card")
        samples_beside(work).write_text("new samples")
        assert tree(folder) == {"checkpoint.safetensors": "old", "model.yaml": "old card"}
    assert tree(tmp_path) == {
        "run/checkpoint.safetensors": "new",
        "run/model.yaml": "new card",
        "run.samples.png": "new samples",
    }


@pytest.mark.parametrize("again", ["resume", "overwrite"])
def test_a_run_that_was_stopped_as_it_was_put_in_place(
    tmp_path: Path, again: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each rename and each removal there is."""
    for step in range(20):
        folder = tmp_path / f"{step}" / "run"
        claim(folder, text="old")
        real, count = os.rename, iter(range(100))

        def dying(*paths: Path, real=real, count=count, step=step) -> None:  # type: ignore[no-untyped-def]
            if next(count) == step:
                raise Stopped
            real(*paths)

        monkeypatch.setattr(os, "rename", dying)
        with suppress(Stopped):
            claim(folder, overwrite=True, text="new")
            break
        monkeypatch.undo()
        if folder.exists():
            assert tree(folder) in ({"checkpoint.safetensors": "old"}, {"checkpoint.safetensors": "new"})
        place = run_in(folder, **{again: True})
        place.check(tmp_path / "data")
        with place.claim() as work:
            found = {name: text for name, text in tree(work).items() if name != ".lock"}
            (work / "checkpoint.safetensors").write_text("newer")
        assert found == ({"checkpoint.safetensors": "new"} if again == "resume" else {})
        assert tree(folder.parent) == {"run/checkpoint.safetensors": "newer"}
    assert step == 2


def test_pictures_of_faces_replace_nothing_and_older_ones_leave_the_model(tmp_path: Path) -> None:
    samples_beside(tmp_path / "run").write_text("mine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match=r"run\.samples\.png"):
            claim(tmp_path / "run", **options)
    samples_beside(tmp_path / "run").unlink()
    claim(tmp_path / "run")
    (tmp_path / "run" / "samples.png").write_text("faces")
    with run_in(tmp_path / "run", resume=True).claim():
        assert not (tmp_path / "run" / "samples.png").exists()


def test_a_run_never_enters_a_folder_beside_it_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "run.facemae-part").mkdir()
    (tmp_path / "run.facemae-part" / "letters.txt").write_text("mine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError, match="was not made by this facemae"):
            claim(tmp_path / "run", **options)


def test_a_mount_is_not_replaced_and_is_worked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim(tmp_path / "run")
    (tmp_path / "mountinfo").write_text(f"9 1 0:9 / {tmp_path / 'run'} rw shared:1 - ext4 /dev/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    with pytest.raises(UsageError, match="is a mount point, which is not replaced"):
        run_in(tmp_path / "run", overwrite=True).check(tmp_path / "data")
    claim(tmp_path / "run", resume=True)
