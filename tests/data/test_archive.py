"""A zip or tar of folders reads as the folder does, in place."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.maskcases import encoded, key_file, make_folder, pixels, put, tree

import facemae_cli
from facemae_cli.data.archive import ArchiveSource
from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.headers.header import Limits
from facemae_cli.data.open import open_source
from facemae_cli.errors import FaceError, InputError, UsageError


def packed(folder: Path, path: Path, root: str = "") -> Path:
    """All files below `folder`, in the order of their bytes, under `root` in the archive."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, root + str(file.relative_to(folder)))
    else:
        with tarfile.open(path, "w") as tar:
            for file in files:
                tar.add(file, root + str(file.relative_to(folder)))
    return path


def faces(source: FaceSource) -> list[tuple[str | None, str, bytes]]:
    return [(*source.name(index), source.read(index)) for index in range(len(source))]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("root", ["", "./", "photos of us/"])
def test_it_reads_as_the_folder_does(tmp_path: Path, suffix: str, root: str) -> None:
    raw = make_folder(tmp_path / "raw")
    for junk in ("notes.txt", "__MACOSX/._x.jpg", "__MACOSX/deep/@eaDir/._y.jpg", "family/@eaDir/1.jpg"):
        put(raw / junk, b"junk")
    for junk in ("#recycle/old/1.jpg", ".Trash-1/1.jpg", ".hidden/1.jpg", "family/._1.jpg", "family/.DS_Store"):
        put(raw / junk, b"junk")
    packed(raw, tmp_path / f"raw{suffix}", root)
    source = open_source(tmp_path / f"raw{suffix}")
    assert isinstance(source, ArchiveSource)
    folder = open_source(raw)
    assert faces(source) == faces(folder)
    assert (source.ignored, source.passed_over) == (folder.ignored, folder.passed_over)
    assert sum(folder.passed_over.values()) == 6
    assert source.where(0).startswith(f"{tmp_path}/raw{suffix}:")
    with ThreadPoolExecutor(8) as pool:
        assert [*pool.map(source.read, [*range(len(source))] * 5)] == [face[2] for face in faces(source)] * 5
    assert faces(pickle.loads(pickle.dumps(source))) == faces(source)


def test_folders_called_by_a_dot_are_no_part_of_a_name(tmp_path: Path) -> None:
    """Of two members of one name the last counts, as in unpacking, however each spells it."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in {"b/1.jpg": b"first", "./b/1.jpg": b"the last", "./././b/./2.jpg": b"two"}.items():
            archive.writestr(name, data)
    assert faces(ArchiveSource(tmp_path / "a.zip")) == [("b", "1.jpg", b"the last"), ("b", "2.jpg", b"two")]


@pytest.mark.parametrize("system", [0, 3, 10, 14])
def test_backslashes_part_folders_in_what_windows_made(tmp_path: Path, system: int) -> None:
    """As unzip reads them, which leaves alone what has a `/` too; in a name of another system they are letters."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("people\\", "people\\ann\\", "people\\ann\\1.jpg", "people\\bob\\1.jpg", "people/cy/a\\b.jpg"):
            info = zipfile.ZipInfo(name)
            info.create_system = system
            archive.writestr(info, name.encode() if name.endswith(".jpg") else b"")
    found = [(identity, photo) for identity, photo, data in faces(ArchiveSource(tmp_path / "a.zip")) if data]
    if system == 3:
        assert found[:2] == [(None, "people\\ann\\1.jpg"), (None, "people\\bob\\1.jpg")]
    else:
        assert found == [("ann", "1.jpg"), ("bob", "1.jpg"), ("cy", "a\\b.jpg")]


def test_what_is_made_of_it_is_what_is_made_of_the_folder(tmp_path: Path) -> None:
    raw, key = make_folder(tmp_path / "raw"), key_file(tmp_path / "key")
    packed(raw, tmp_path / "raw.zip")
    for name in ("raw", "raw.zip"):
        facemae_cli.mask(tmp_path / name, tmp_path / f"masked of {name.replace('.', ' ')}", key=key)
    assert tree(tmp_path / "masked of raw") == tree(tmp_path / "masked of raw zip")
    assert facemae_cli.inspect(tmp_path / "raw.zip").as_json()["format"] == "archive"
    with pytest.raises(UsageError, match="names an archive, which is only read"):
        facemae_cli.convert(raw, tmp_path / "out.zip")


def test_what_cannot_be_used_is_refused_or_counted(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ann/1.jpg", encoded(pixels(1)))
        archive.writestr("ann/../../2.jpg", encoded(pixels(2)))
        archive.writestr("ann/3.heic", b"x")
        archive.writestr("ann/notes.txt", b"x")
    source = ArchiveSource(tmp_path / "a.zip", Limits(max_bytes=10))
    assert (len(source), source.ignored) == (1, 1)
    assert sorted(item.reason for item in source.refused) == ["bad-name", "unsupported-format"]
    with pytest.raises(FaceError) as raised:
        source.read(0)
    assert raised.value.reason == "too-large"


def test_damage_is_told_of_the_face(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("ann/1.jpg", encoded(pixels(1)))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[200] ^= 255
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(FaceError, match="cannot be unpacked"):
        ArchiveSource(tmp_path / "a.zip").read(0)


def test_what_is_no_archive_or_compressed_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"text")
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        tar.add(put_one(tmp_path), "ann/1.jpg")
    (tmp_path / "b.tar").write_bytes(held.getvalue())
    for name in ("a.zip", "b.tar"):
        with pytest.raises(InputError, match="is not a zip, and not a tar without compression"):
            open_source(tmp_path / name)


def put_one(folder: Path) -> Path:
    put(folder / "1.jpg", encoded(pixels(1)))
    return folder / "1.jpg"
