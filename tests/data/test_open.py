"""Which format a path is, by what stands there or by its name."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import pytest

import facemae_cli
from facemae_cli.data.folder import FolderSource
from facemae_cli.data.open import ACCEPTED, ARCHIVES, kind_of, open_source
from facemae_cli.errors import InputError, UsageError


def one_record() -> bytes:
    """A `.rec` of one image record, label 5."""
    payload = struct.pack("<IfQQ", 0, 5.0, 0, 0) + b"image..."
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("new.rec", "rec"),
        ("dir/train.rec", "rec"),
        ("X.REC", "rec"),
        ("new", "folder"),
        ("a.b", "folder"),
        ("lfw.bin", "pack"),
        ("pairs.txt", "pack"),
    ],
)
def test_kind_of_a_path_to_be_written(tmp_path: Path, name: str, kind: str) -> None:
    assert kind_of(tmp_path / name) == kind


def test_kind_of_what_is_there(tmp_path: Path) -> None:
    for name in ("a.rec", "in/train.rec", "odd.rec/x.jpg", "p/pairs.txt", "p/A/A_0001.jpg", "lfw.bin", "photo.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    expected = {
        "a.rec": "rec",
        "in": "rec",
        "in/train.rec": "rec",
        "odd.rec": "folder",
        "p": "folder",
        "lfw.bin": "pack",
    }
    assert {name: kind_of(tmp_path / name) for name in expected} == expected
    assert kind_of(tmp_path / "p/pairs.txt") == "pack"
    for name in ("photo.jpg", "/dev/null"):
        with pytest.raises(InputError, match=f"is not {re.escape(ACCEPTED)}, nor a pack "):
            kind_of(tmp_path / name)


def test_what_is_said_to_be_accepted_is_what_opens(tmp_path: Path) -> None:
    suffixes = re.findall(r"\.\w+", ACCEPTED)
    assert {".rec", *ARCHIVES} <= {*suffixes}
    assert [kind_of(tmp_path / f"x{suffix}") for suffix in suffixes] == ["rec", "parquet", "archive", "archive"]
    for function in (open_source, facemae_cli.mask, facemae_cli.convert, facemae_cli.reconstruct, facemae_cli.inspect):
        assert ACCEPTED in " ".join((function.__doc__ or "").split()), function


def test_a_folder_of_images_opens(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").write_bytes(b"1")
    source = open_source(tmp_path)
    assert isinstance(source, FolderSource)
    assert source.read(0) == b"1"


def test_a_rec_opens_by_its_file_or_its_folder(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(one_record())
    for path in (tmp_path, tmp_path / "train.rec"):
        source = open_source(path)
        assert (source.kind, len(source), source.name(0).identity) == ("rec", 1, "5")
        assert source.read(0) == b"image..."


@pytest.mark.parametrize("name", ["lfw.bin", "pairs.txt"])
def test_a_verification_pack_is_sent_to_its_command(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(UsageError, match="facemae verify"):
        open_source(tmp_path / name)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("missing", "missing.rec", "lfw.bin", "dangling", "x" * 300, "a\0b"):
        with pytest.raises(InputError, match="does not exist"):
            open_source(tmp_path / name)


def test_what_a_stopped_run_left_is_named_where_its_output_is_missing(tmp_path: Path) -> None:
    (tmp_path / "masked.facemae-part").mkdir()
    with pytest.raises(InputError, match=r"masked does not exist: .*masked\.facemae-part is left from a stopped run"):
        open_source(tmp_path / "masked")


def test_messages_are_one_line(tmp_path: Path) -> None:
    odd = tmp_path / "one\ntwo"
    os.makedirs(odd)
    (odd / "photo\n.jpg").touch()
    (odd / "x.bin").touch()
    for path, error in [(odd / "missing", InputError), (odd / "photo\n.jpg", InputError), (odd / "x.bin", UsageError)]:
        with pytest.raises(error) as caught:
            open_source(path)
        assert "\n" not in str(caught.value)
