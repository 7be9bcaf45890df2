"""A folder as a dataset: who is in it, in which order, and what is refused without being opened."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import FaceSource, Name, count_reasons
from facemae_cli.data.folder import FolderSource
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.images.headers.header import Limits
from facemae_cli.data.manifest import read_manifest
from facemae_cli.errors import FaceError, InputError, OutputError


def fill(root: Path, *names: str) -> Path:
    """Files under `root`, each holding its own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))
    return root


def names(source: FaceSource) -> list[Name]:
    return [source.name(index) for index in range(len(source))]


def reason(source: FaceSource, index: int = 0) -> str:
    with pytest.raises(FaceError) as caught:
        source.read(index)
    assert "\n" not in caught.value.detail
    return caught.value.reason


def refusals(source: FaceSource) -> dict[str, str]:
    """Reason by file, relative to the source."""
    return {os.path.relpath(refusal.where, source.path): refusal.reason for refusal in source.refused}


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A fresh folder of a user whom permissions bind, which they do not bind root."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    folder.chmod(0o777)
    try:
        if user == 0:
            os.seteuid(65534)
        yield folder
    finally:
        os.seteuid(user)
        for inner in folder.rglob("*"):
            inner.chmod(0o700)
        shutil.rmtree(folder)


def test_nested_and_loose_photos(tmp_path: Path) -> None:
    fill(tmp_path, "a/z.jpg", "a/b/1.PNG", "a/b/0.jpeg", "a/c.webp", "x.bmp", "B/1.jfif")
    source = FolderSource(tmp_path)
    assert names(source) == [
        Name(None, "x.bmp"),
        Name("B", "1.jfif"),
        Name("a", "c.webp"),
        Name("a", "z.jpg"),
        Name("a/b", "0.jpeg"),
        Name("a/b", "1.PNG"),
    ]
    assert [source.read(index) for index in range(len(source))] == [
        b"x.bmp",
        b"B/1.jfif",
        b"a/c.webp",
        b"a/z.jpg",
        b"a/b/0.jpeg",
        b"a/b/1.PNG",
    ]
    assert source.where(5) == str(tmp_path / "a/b/1.PNG")
    assert (source.kind, source.path, source.ignored, list(source.refused)) == ("folder", tmp_path, 0, [])


def test_an_index_out_of_range_is_no_photo(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "a.jpg"))
    for index in (-1, 1):
        with pytest.raises(IndexError):
            source.name(index)


def test_order_goes_by_the_composed_form_of_names(tmp_path: Path) -> None:
    decomposed, composed = "e\u0301a.jpg", "\u00e9b.jpg"
    fill(tmp_path, composed, decomposed, "f.jpg", "\U0001f600.jpg", "\uff5e.jpg")
    source = FolderSource(tmp_path)
    assert [name.photo for name in names(source)] == ["f.jpg", decomposed, composed, "\uff5e.jpg", "\U0001f600.jpg"]
    fill(tmp_path / "sub", "\u00e9.jpg", "e\u0301.jpg")
    assert [name.photo for name in names(FolderSource(tmp_path / "sub"))] == ["e\u0301.jpg", "\u00e9.jpg"]


def test_files_that_do_not_claim_to_be_images(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "notes.txt", "a/Thumbs.db", "a/noname", "b/only.txt")
    fill(tmp_path, ".hidden.jpg", ".git/x.jpg", "a/.DS_Store", "facemae.json", "pairs.txt", "a/facemae.json")
    source = FolderSource(tmp_path)
    assert names(source) == [Name("a", "1.jpg")]
    assert source.ignored == 4
    assert not source.refused


def test_a_persons_folder_may_be_called_anything(tmp_path: Path) -> None:
    """Also as a photo, or as a file of the dataset."""
    fill(tmp_path, "x.png/1.jpg", "facemae.json/1.jpg", "pairs.txt/1.jpg", "old.gif/1.jpg", "x.png/y.jpg/2.jpg")
    source = FolderSource(tmp_path)
    assert [name.identity for name in names(source)] == ["facemae.json", "old.gif", "pairs.txt", "x.png", "x.png/y.jpg"]
    assert (source.ignored, list(source.refused), read_manifest(tmp_path)) == (0, [], None)


def test_a_file_without_a_suffix_is_what_it_holds(tmp_path: Path) -> None:
    fill(tmp_path, "a/README", "a/noted.", "b/only")
    png = encode_png(np.zeros((14, 14, 3), np.uint8))
    for name, data in (("a/IMG_0001", png), ("a/dot.", png), ("c/2", b"\xff\xd8\xff\xe0"), ("a/animation", b"GIF89a")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a/link").symlink_to("IMG_0001")
    (tmp_path / "a/text").symlink_to("README")
    os.mkfifo(tmp_path / "a/pipe")
    source = FolderSource(tmp_path)
    assert [tuple(name) for name in names(source)] == [("a", "IMG_0001"), ("a", "dot."), ("a", "link"), ("c", "2")]
    assert source.read(2) == png
    assert refusals(source) == {"a/animation": "unsupported-format"}
    assert source.ignored == 5  # README, noted., only, text, pipe


def test_system_folders_are_passed_over_and_counted(tmp_path: Path) -> None:
    """Deleted photos and thumbnails are no people; people whose names look a little like that are."""
    fill(tmp_path, "a/1.jpg", "a/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "b/@eaDir/2.jpg", "#recycle/old/1.jpg")
    fill(tmp_path, "$RECYCLE.BIN/S-1-5-21/$R1.jpg", "lost+found/#12.jpg", ".Trash-1000/files/1.jpg", ".Anna/1.jpg")
    fill(tmp_path, "System Volume Information/1.jpg", "__MACOSX/a/._1.jpg", "a/._1.jpg", "a/.DS_Store", "#1/1.jpg")
    (tmp_path / ".self").symlink_to(tmp_path)
    source = FolderSource(tmp_path)
    assert [name.identity for name in names(source)] == ["#1", "a"]
    assert source.passed_over == {
        "#recycle": 1,
        "$RECYCLE.BIN": 1,
        "@eaDir": 2,
        "System Volume Information": 1,
        "__MACOSX": 1,
        "folders that begin with a dot": 2,
        "images that begin with a dot": 1,
        "lost+found": 1,
    }
    assert (source.ignored, list(source.refused)) == (0, [])


def test_an_empty_folder_has_no_faces(tmp_path: Path) -> None:
    assert len(FolderSource(tmp_path)) == 0


def test_images_of_formats_that_are_not_read(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "a/1.gif", "2.TIFF", "b/3.heic", "4.jpg"))
    assert refusals(source) == {
        "a/1.gif": "unsupported-format",
        "2.TIFF": "unsupported-format",
        "b/3.heic": "unsupported-format",
    }
    assert [refusal.where for refusal in source.refused] == sorted(refusal.where for refusal in source.refused)
    assert count_reasons(source.refused) == {"unsupported-format": 3}
    assert source.ignored == 0


def test_names_with_line_breaks_and_emoji(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "Zoë \U0001f600/one\ntwo\x1b[31m.jpg"))
    assert names(source) == [Name("Zoë \U0001f600", "one\ntwo\x1b[31m.jpg")]
    assert source.where(0) == str(tmp_path / "Zoë \U0001f600") + "/one\\ntwo\\x1b[31m.jpg"
    assert source.read(0) == "Zoë \U0001f600/one\ntwo\x1b[31m.jpg".encode()


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, os.fsdecode(b"M\xfcller/1.jpg"), os.fsdecode(b"a/\xff.jpg"), "a/1.jpg")
    source = FolderSource(tmp_path)
    assert names(source) == [Name("a", "1.jpg")]
    assert refusals(source) == {"M\\xfcller": "bad-name", "a/\\xff.jpg": "bad-name"}


def test_what_is_no_file_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "ok.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.bmp")
        source = FolderSource(tmp_path)
    assert names(source) == [Name(None, "ok.jpg")]
    assert refusals(source) == dict.fromkeys(["pipe.jpg", "socket.bmp"], "not-a-file")


def test_links(tmp_path: Path) -> None:
    inside, outside = fill(tmp_path / "in", "a/1.jpg", "a/note.txt"), fill(tmp_path / "in2", "secret.jpg", "note.txt")
    (inside / "b").mkdir()
    links = {
        "b/good.jpg": "../a/1.jpg",
        "b/out.jpg": outside / "secret.jpg",
        "b/device.jpg": "/dev/zero",
        "b/folder": outside,
        "b/same": inside / "a",
        "b/loop": inside,
        "b/self.jpg": "self.jpg",
        "b/gone.png": "nowhere.png",
        "b/gone.txt": "nowhere.txt",
        "b/note": outside / "note.txt",
        "b/note.jpg": inside / "a",
        "b/pipe.jpg": inside / ".pipe",
        "b/old.gif": "../a/1.jpg",
    }
    os.mkfifo(inside / ".pipe")
    for name, target in links.items():
        (inside / name).symlink_to(target)
    source = FolderSource(inside)
    assert names(source) == [Name("a", "1.jpg"), Name("b", "good.jpg")]
    assert source.read(1) == b"a/1.jpg"
    assert source.ignored == 3
    assert refusals(source) == {
        "b/out.jpg": "outside",
        "b/device.jpg": "outside",
        "b/folder": "outside",
        "b/same": "linked-folder",
        "b/loop": "linked-folder",
        "b/note.jpg": "linked-folder",
        "b/self.jpg": "broken-link",
        "b/gone.png": "broken-link",
        "b/pipe.jpg": "not-a-file",
        "b/old.gif": "unsupported-format",
    }


def test_a_dataset_behind_a_link_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "real", "a/1.jpg")
    (tmp_path / "real/a/2.jpg").symlink_to("1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    source = FolderSource(tmp_path / "link")
    assert [source.read(index) for index in range(len(source))] == [b"a/1.jpg", b"a/1.jpg"]
    assert source.where(0) == str(tmp_path / "link/a/1.jpg")


def test_what_changes_after_the_listing(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, "gone/1.jpg", "g.jpg", "link.jpg", "pipe.jpg", "folder.jpg"))
    shutil.rmtree(tmp_path / "gone")
    for name in ("g.jpg", "link.jpg", "pipe.jpg", "folder.jpg"):
        (tmp_path / name).unlink()
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    expected = {
        "1.jpg": "vanished",
        "g.jpg": "vanished",
        **dict.fromkeys(["link.jpg", "pipe.jpg", "folder.jpg"], "not-a-file"),
    }
    assert {source.name(index).photo: reason(source, index) for index in range(len(source))} == expected


def test_without_permission() -> None:
    with without_privileges() as folder:
        fill(folder, "closed.jpg", "open.jpg", "locked/1.jpg")
        (folder / "closed.jpg").chmod(0)
        (folder / "locked").chmod(0)
        source = FolderSource(folder)
        assert names(source) == [Name(None, "closed.jpg"), Name(None, "open.jpg")]
        assert reason(source, 0) == "unreadable"
        assert source.read(1) == b"open.jpg"
        assert refusals(source) == {"locked": "unreadable"}
        with pytest.raises(InputError, match="locked cannot be read: Permission denied; give a folder of images"):
            FolderSource(folder / "locked")


def test_files_over_the_limit_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(b"12345")
    assert FolderSource(tmp_path, Limits(max_bytes=5)).read(0) == b"12345"
    assert reason(FolderSource(tmp_path, Limits(max_bytes=4))) == "too-large"


def test_a_folder_that_is_gone_is_no_fault_of_its_faces(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path / "mounted", "a/1.jpg", "a/2.jpg"))
    (tmp_path / "mounted" / "a" / "1.jpg").unlink()
    assert reason(source, 0) == "vanished"
    (tmp_path / "mounted").rename(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"^\S+/mounted is gone, all of it: bring it back, then go on$"):
        source.read(1)


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE])
def test_a_failing_disk_is_no_fault_of_one_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    source = FolderSource(fill(tmp_path, "a.jpg"))

    def fail(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OutputError, match=rf"(?i)a\.jpg fails: {os.strerror(number)}"):
        source.read(0)


def test_no_more_file_handles_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "a")

    fill(tmp_path, "a.jpg")
    monkeypatch.setattr(os, "scandir", fail)
    with pytest.raises(OutputError, match=r"cannot be opened: too many open files, the limit is \d+ .*`ulimit -n`"):
        FolderSource(tmp_path)


def test_no_file_stays_open(tmp_path: Path) -> None:
    source = FolderSource(fill(tmp_path, *(f"{person}/{photo}.jpg" for person in range(5) for photo in range(5))))
    before = len(os.listdir("/dev/fd"))
    assert all(source.read(index) for index in range(len(source)))
    assert len(os.listdir("/dev/fd")) == before


def test_what_is_no_folder(tmp_path: Path) -> None:
    fill(tmp_path, "file.jpg")
    for name in ("missing", "file.jpg"):
        with pytest.raises(InputError, match=r"cannot be read: .*; give a folder of images"):
            FolderSource(tmp_path / name)
