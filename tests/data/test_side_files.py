from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.side_files import (
    SideFile,
    SideFileKind,
    check_cache,
    check_side_files,
    refused_list,
    refused_text,
)
from facemae_cli.errors import UsageError

PNG = b"\x89PNG\r\n\x1a\nrest"
PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">"""
LIST = b'{"where": "raw/x", "reason": "truncated", "detail": ""}\n'
OLDER: list[tuple[SideFileKind, bytes]] = [("list", LIST), ("list", b""), ("page", PAGE), ("picture", PNG)]
FOREIGN = [
    b"ab" * 32 + b"\n",
    b"words",
    b'{"a": 1}',
    b"{",
    b"\n\x23\xd7\xce",
    b"\n",
    b"5",
    b"<!doctype html><p>mine",
    b"\xff\xd8\xff",
]


@pytest.mark.parametrize(("kind", "older"), OLDER)
def test_an_older_one_of_its_kind_is_replaced_when_it_is_said(tmp_path: Path, kind: SideFileKind, older: bytes) -> None:
    file = SideFile(tmp_path / "side", "--report", kind)
    file.path.write_bytes(older)
    with pytest.raises(UsageError, match=r"side exists: choose another --report, or --overwrite to replace it"):
        file.check(overwrite=False)
    file.check(overwrite=True)
    file.write(b"new", overwrite=True)
    assert file.path.read_bytes() == b"new"
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["list", "page", "picture"])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_nothing_of_another_kind_is_ever_replaced(tmp_path: Path, kind: SideFileKind, foreign: bytes) -> None:
    (tmp_path / "side").write_bytes(foreign)
    said = "is a key, which is never replaced" if foreign is FOREIGN[0] else "so it stays: choose another --report"
    with pytest.raises(UsageError, match=said):
        SideFile(tmp_path / "side", "--report", kind).check(overwrite=True)


@pytest.mark.parametrize("place", ["link", "dangling", "folder", "none/side", "file/side"])
def test_places_that_no_side_file_can_have(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(PNG)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"^--preview "):
        SideFile(tmp_path / place, "--preview", "picture").check(overwrite=True)


def test_a_read_only_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(UsageError, match="cannot be written; choose another place"):
        refused_list(tmp_path / "side").check(overwrite=False)


def test_a_pipe_and_a_device_are_written_to(tmp_path: Path) -> None:
    for place in ("/dev/null", "/dev/stdout" if not Path("/dev/stdout").is_file() else "/dev/null"):
        refused_list(Path(place)).check(overwrite=False)
    refused_list(Path("/dev/null")).write("text", overwrite=False)


def test_under_resume_only_what_would_be_written_again_may_stand_there(tmp_path: Path) -> None:
    file = SideFile(tmp_path / "side", "--preview", "picture")
    file.path.write_bytes(PNG)
    file.check(overwrite=False, resume=True)
    before = file.path.stat()
    file.write(PNG, overwrite=False)
    assert file.path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(UsageError, match="left as it is"):
        file.write(PNG + b"other", overwrite=False)
    assert file.path.read_bytes() == PNG


def test_what_comes_to_stand_there_while_a_command_works_is_not_replaced(tmp_path: Path) -> None:
    file = refused_list(tmp_path / "side")
    file.check(overwrite=False)
    file.path.write_text("mine")
    with pytest.raises(UsageError, match="appeared meanwhile"):
        file.write("text", overwrite=False)
    assert file.path.read_text() == "mine"


def test_no_two_side_files_are_one_and_none_lies_in_a_dataset(tmp_path: Path) -> None:
    files = [refused_list(tmp_path / "x"), SideFile(tmp_path / "." / "x", "--report", "page")]
    with pytest.raises(UsageError, match=r"^--refused and --report are both "):
        check_side_files(files, overwrite=False)
    with pytest.raises(UsageError, match=r"^--refused \S+ is inside the dataset"):
        check_side_files([refused_list(tmp_path / "raw" / "x")], overwrite=True, places=[tmp_path / "raw"])


def test_a_resumed_run_goes_on_with_an_older_picture_and_with_nothing_else(tmp_path: Path) -> None:
    """A list is written when all is done: the stopped run cannot have left it, and then it is too late to refuse."""
    older = tmp_path / "older.jsonl"
    older.touch()
    with pytest.raises(UsageError, match="exists: choose another --refused"):
        check_side_files([refused_list(older)], overwrite=False, resume=True)
    check_side_files([refused_list(older)], overwrite=True, resume=True)
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    check_side_files([SideFile(sheet, "--preview", "picture")], overwrite=False, resume=True)


def test_refused_inputs_are_json_lines(tmp_path: Path) -> None:
    refused = [Refusal("raw/Ann\n🙂/1.jpg", "truncated", "ends at byte 3"), Refusal("b", "empty", "")]
    lines = refused_text(refused).splitlines()
    assert [Refusal(**json.loads(line)) for line in lines] == refused
    file = refused_list(tmp_path / "list")
    for count in (1, 500):
        file.write(refused_text([Refusal("x" * 5000, "empty", "")] * count), overwrite=True)
        file.check(overwrite=True)  # a list of ours is known again, however long its lines are


def test_a_cache_is_new_or_empty_or_a_cache(tmp_path: Path) -> None:
    check_cache(tmp_path / "new" / "deep")
    (tmp_path / "cache").mkdir()
    check_cache(tmp_path / "cache")
    (tmp_path / "cache" / f"{'0a' * 32}.safetensors").touch()
    check_cache(tmp_path / "cache")
    (tmp_path / "cache" / "letters.txt").touch()
    with pytest.raises(UsageError, match=r"holds 'letters\.txt', which is not a cache's"):
        check_cache(tmp_path / "cache")
    for place in ("cache/letters.txt", "cache/letters.txt/x"):
        with pytest.raises(UsageError, match="--cache"):
            check_cache(tmp_path / place)
    with pytest.raises(UsageError, match="is inside the dataset"):
        check_cache(tmp_path / "raw" / "cache", [tmp_path / "raw"])
