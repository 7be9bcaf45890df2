from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.output import open_output
from facemae_cli.data.output.staging import DamagedJournal, Staging
from facemae_cli.errors import OutputError, UsageError

PNG = encode_png(np.zeros((14, 14, 3), np.uint8))
DONE = Manifest("mask")


def write_in_part(out: Path) -> None:
    """A run that stops after its first unit, of two faces."""
    with open_output(out, plan={}) as output:
        output.write(Name("id0", "0"), PNG)
        output.write(Name("id1", "1"), PNG)
        output.commit()


def test_a_second_process_is_turned_away_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from facemae_cli.data.output.output import open_output\n"
        "open_output(pathlib.Path(sys.argv[1]), plan={})\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(9)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "o")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        for options in ({}, {"resume": True}, {"overwrite": True}):
            with pytest.raises(UsageError, match=r"o\.facemae-part is in use by another process"):
                open_output(tmp_path / "o", plan={}, **options)
        other.communicate()
    open_output(tmp_path / "o", plan={}, resume=True).finish(DONE)


def test_a_damaged_journal_is_told_and_overwrite_starts_over(tmp_path: Path) -> None:
    write_in_part(tmp_path / "o")
    journal = tmp_path / "o.facemae-part" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"{torn\n" + lines[1])
    with pytest.raises(OutputError, match=f"damaged at byte {len(lines[0])}: start over with --overwrite"):
        open_output(tmp_path / "o", plan={}, resume=True)
    open_output(tmp_path / "o", plan={}, overwrite=True).finish(DONE)
    assert os.listdir(tmp_path / "o") == ["facemae.json"]


@pytest.mark.parametrize(("kind", "victim"), [("o", "faces/id0/0.png"), ("o.rec", "faces.rec"), ("o.rec", "faces.lst")])
def test_journaled_data_that_is_gone_is_noticed(tmp_path: Path, kind: str, victim: str) -> None:
    write_in_part(tmp_path / kind)
    (tmp_path / f"{kind}.facemae-part" / victim).unlink()
    with pytest.raises(OutputError, match="--overwrite starts over"):
        open_output(tmp_path / kind, plan={}, resume=True)


@pytest.mark.parametrize("kind", ["released", "released.rec"])
def test_every_face_is_synced_before_its_unit_is_journaled(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    with open_output(tmp_path / kind, plan={}) as output:
        output.write(Name("id0", "0"), PNG)
        monkeypatch.setattr(os, "fsync", noting)
        output.write(Name("new/one", "9"), PNG)
        output.commit()
    part = tmp_path / f"{kind}.facemae-part"
    wanted = ["faces.rec", "faces.idx", "faces.lst"]
    if kind == "released":
        wanted = ["faces", "faces/new", "faces/new/one", "faces/new/one/9.png", "faces/id0"]
    assert {str(part / name) for name in wanted} <= set(synced[:-1])
    assert synced[-1] == str(part / "journal")


def test_a_line_without_its_end_does_not_count_and_the_next_takes_its_place(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "x")
    staging.append({"first": 1})
    staging.append({"second": 2})
    staging.close()
    journal = tmp_path / "x" / "journal"
    journal.write_bytes(journal.read_bytes()[:-3])
    staging = Staging(tmp_path / "x")
    assert staging.look() == ({"first": 1}, False)
    staging.append({"sealed": True})
    assert [line.split(b"\t")[0] for line in journal.read_bytes().splitlines()] == [b'{"first":1}', b'{"sealed":true}']
    assert staging.look() == ({"first": 1}, True)
    staging.close()


def test_zeros_behind_the_last_line_are_what_a_power_cut_leaves(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "x")
    staging.append({"first": 1})
    with (tmp_path / "x" / "journal").open("ab") as file:
        file.write(bytes(4096))
    assert list(staging.entries()) == [{"first": 1}]
    staging.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO])
def test_a_file_system_without_locks_and_one_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fails)
    if number == errno.ENOLCK:
        open_output(tmp_path / "o", plan={}).finish(DONE)
        assert os.listdir(tmp_path) == ["o"]
    else:
        with pytest.raises(OutputError, match="input/output error: repair the disk"):
            open_output(tmp_path / "o", plan={})


def test_a_folder_that_another_process_removes_as_it_ends_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its lock is opened, before it is held, and for good with the folder above it."""
    real_open, real_lock, left = os.open, fcntl.flock, ["open", "flock"]

    def remove() -> None:
        (tmp_path / "above" / "x" / "lock").unlink(missing_ok=True)
        (tmp_path / "above" / "x").rmdir()

    def removed(path: str | Path, flags: int, mode: int = 0o777) -> int:
        if left[:1] == ["open"]:
            left.pop(0)
            remove()
        return real_open(path, flags, mode)

    def removed_too(descriptor: int, operation: int) -> None:
        real_lock(descriptor, operation)
        if left[:1] == ["flock"]:
            left.pop(0)
            remove()

    (tmp_path / "above").mkdir()
    monkeypatch.setattr(os, "open", removed)
    monkeypatch.setattr(fcntl, "flock", removed_too)
    staging = Staging(tmp_path / "above" / "x")
    assert left == []
    assert os.listdir(staging.folder) == ["lock"]
    staging.close()

    def removed_for_good(path: str | Path, flags: int, mode: int = 0o777) -> int:
        remove()
        (tmp_path / "above").rmdir()
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", removed_for_good)
    with pytest.raises(FileNotFoundError):
        Staging(tmp_path / "above" / "x")


def test_an_empty_staging_folder_goes_and_a_used_one_stays(tmp_path: Path) -> None:
    Staging(tmp_path / "x").close()
    assert not (tmp_path / "x").exists()
    staging = Staging(tmp_path / "x")
    staging.append({})
    staging.close()
    assert (tmp_path / "x" / "journal").exists()


def test_only_its_owner_reads_a_staging_folder(tmp_path: Path) -> None:
    write_in_part(tmp_path / "o")
    assert (tmp_path / "o.facemae-part").stat().st_mode & 0o777 == 0o700
    open_output(tmp_path / "o", plan={}, resume=True).finish(DONE)
    assert (tmp_path / "o").stat().st_mode & 0o777 == 0o777 & ~_umask()
    assert (tmp_path / "o" / "id0" / "0.png").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def journaled(folder: Path, units: int = 3) -> Path:
    staging = Staging(folder)
    staging.append({"plan": {}, "replaces": False})
    for number in range(units):
        staging.append({"unit": number})
    staging.close()
    return folder / "journal"


def test_any_bit_that_flips_in_a_journal_is_found_or_undoes_the_last_line(tmp_path: Path) -> None:
    journal = journaled(tmp_path / "x")
    whole = journal.read_bytes()
    entries = [{"plan": {}, "replaces": False}, *({"unit": number} for number in range(3))]
    for bit in range(8 * len(whole)):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        journal.write_bytes(data)
        staging = Staging(tmp_path / "x")
        if data.endswith(b"\n"):
            with pytest.raises(DamagedJournal, match="start over with --overwrite"):
                list(staging.entries())
        else:
            assert list(staging.entries()) == entries[:-1]
        staging.close()


def test_a_line_that_is_lost_moved_or_doubled_is_found(tmp_path: Path) -> None:
    journal = journaled(tmp_path / "x")
    lines = journal.read_bytes().splitlines(keepends=True)
    for order in ([0, 2, 3], [0, 1, 3], [1, 2, 3], [0, 2, 1, 3], [0, 1, 1, 2, 3], [0, 1, 2, 3, 3]):
        journal.write_bytes(b"".join(lines[number] for number in order))
        staging = Staging(tmp_path / "x")
        with pytest.raises(DamagedJournal):
            list(staging.entries())
        staging.close()


def foreign(folder: Path, kind: str) -> None:
    """Something called as a staging folder that we did not make."""
    if kind == "link":
        folder.with_name("target").mkdir()
        Staging(folder.with_name("real")).append({})
        folder.symlink_to("real", target_is_directory=True)
    elif kind == "file":
        folder.write_text("mine")
    else:
        folder.mkdir(mode=0o700)
        (folder / {"folder": "letters.txt", "looks alike": "journal", "faces": "faces"}.get(kind, "lock")).touch()
    if kind == "other lock":
        (folder / "lock").write_text("pid 7")
    if kind == "linked lock":
        (folder / "lock").unlink()
        (folder / "lock").symlink_to(folder.with_name("mine"))
    if kind == "opened up":
        (folder / "lock").unlink()
        Staging(folder).append({})
        folder.chmod(0o777)
    if kind == "strange file":
        (folder / "lock").unlink()
        Staging(folder).append({})
        (folder / "letters.txt").touch()


@pytest.mark.parametrize(
    "kind",
    ["link", "file", "folder", "looks alike", "faces", "other lock", "linked lock", "opened up", "strange file"],
)
@pytest.mark.parametrize("out", ["o", "o.rec"])
def test_a_staging_folder_that_we_did_not_make_is_never_entered(tmp_path: Path, kind: str, out: str) -> None:
    foreign(tmp_path / f"{out}.facemae-part", kind)
    before = sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*"))
    for options in ({}, {"resume": True}, {"overwrite": True}, {"resume": True, "overwrite": True}):
        with pytest.raises(UsageError, match=r"facemae-part was not made by this facemae: move it away"):
            open_output(tmp_path / out, plan={}, **options)
        with pytest.raises((UsageError, OSError)):
            Staging(tmp_path / f"{out}.facemae-part")
    after = sorted((str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert after == before


def test_a_folder_of_another_owner_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_in_part(tmp_path / "o")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UsageError, match="was not made by this facemae"):
        open_output(tmp_path / "o", plan={}, resume=True)


@pytest.mark.parametrize("said", [b"", b"facemae stag"])
def test_a_lock_that_was_just_made_when_the_run_was_killed_is_ours(tmp_path: Path, said: bytes) -> None:
    (tmp_path / "o.facemae-part").mkdir(mode=0o700)
    (tmp_path / "o.facemae-part" / "lock").write_bytes(said)
    open_output(tmp_path / "o", plan={}).finish(DONE)
    assert os.listdir(tmp_path) == ["o"]


@pytest.mark.parametrize(
    "entry",
    [
        {"unit": 0},
        {"unit": 1, "faces": 1, "mark": {}, "refused": [], "counts": {}},
        {"unit": 0, "faces": "1", "mark": {}, "refused": [], "counts": {}},
        {"unit": 0, "faces": 1, "mark": {}, "refused": [["a"]], "counts": {}},
        {"unit": 0, "faces": 1, "mark": {"files": "?"}, "refused": [], "counts": {}},
        {"unit": 0, "faces": 1, "mark": [], "refused": [], "counts": {"out": -1}},
        [],
    ],
)
@pytest.mark.parametrize("kind", ["o", "o.rec"])
def test_a_line_that_says_what_no_run_wrote_is_damage(tmp_path: Path, kind: str, entry: Any) -> None:
    with open_output(tmp_path / kind, plan={}):
        pass
    staging = Staging(tmp_path / f"{kind}.facemae-part")
    staging.look()
    staging.append(entry)
    staging.close()
    with pytest.raises(DamagedJournal, match="start over with --overwrite"):
        open_output(tmp_path / kind, plan={}, resume=True)
