"""Verification packs as sources of faces with pairs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.headers.header import Limits
from facemae_cli.data.packs.source import BinPack, PairsPack, open_pack, open_packs, pack_bytes
from facemae_cli.errors import FaceError, InputError, UsageError

A, B, C, D, E = (bytes([0xFF, 0xD8, n]) for n in range(5))


def bin_file(folder: Path, value: object, protocol: int = 4) -> Path:
    path = folder / "pack.bin"
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def test_faces_are_distinct_and_pairs_point_at_them(tmp_path):
    pack = open_pack(bin_file(tmp_path, ([A, B, C, D, B, E, A, C], [True, False, True, False])))
    assert isinstance(pack, BinPack)
    assert [pack.read(index) for index in range(len(pack))] == [A, B, C, D, E]
    assert pack.pairs.tolist() == [[0, 1], [2, 3], [1, 4], [0, 2]]
    assert pack.same.tolist() == [True, False, True, False]
    assert pack.where(4) == f"{tmp_path / 'pack.bin'} image 5"
    # A, B and E are one person by the pairs of one person; C and D are one each.
    assert [pack.name(index) for index in range(5)] == [
        Name("00001", "00001_0001"),
        Name("00001", "00001_0002"),
        Name("00002", "00002_0001"),
        Name("00003", "00003_0001"),
        Name("00001", "00001_0003"),
    ]


@pytest.mark.parametrize(
    "value",
    [
        [[A, B], [1]],
        ((A, B), (True,)),
        ([np.frombuffer(A, "u1"), np.frombuffer(B, "u1")], np.array([1])),
        ([A, B], [np.bool_(True)]),
    ],
)
def test_ways_to_hold_the_same(tmp_path, value):
    pack = open_pack(bin_file(tmp_path, value))
    assert ([pack.read(0), pack.read(1)], pack.same.tolist()) == ([A, B], [True])


def test_broken_images_are_refused_on_reading(tmp_path):
    pack = BinPack(bin_file(tmp_path, ([b"", bytes(99)], [False])), Limits(max_bytes=50))
    for index, reason in [(0, "empty"), (1, "too-large")]:
        with pytest.raises(FaceError) as caught:
            pack.read(index)
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([A, B], "image"),
        ({"images": []}, "holds a dict"),
        (([A, B, C], [True]), "3 images for 1 pairs"),
        (([], []), "0 images for 0 pairs"),
        ((["text", B], [True]), "an image in it is a str"),
        (([np.zeros((2, 2), "u1"), B], [True]), "an image in it is an array of 2 x 2 uint8"),
        (([A, B], ["yes"]), "truth value"),
        (([A, B], [2]), "truth value"),
        (([A, B], [16**4000]), "truth value in it is a int other than"),
        (([A, B], [[]]), "truth value in it is a list"),
        (([A, B], 1), "no list"),
        (([A, B], np.zeros((10**9, 0), "?")), "array of nothing"),
        ((np.array(7, "u1"), [True]), "no list"),
        ((os.system, [True]), "system"),
    ],
)
def test_what_is_no_pack(tmp_path, value, text):
    with pytest.raises(InputError, match=text) as caught:
        open_pack(bin_file(tmp_path, value))
    assert str(tmp_path / "pack.bin") in str(caught.value)


def column(data: bytes) -> np.ndarray:
    """As OpenCV once returned an encoded image."""
    return np.frombuffer(data, np.uint8).reshape(-1, 1)


def objects(values: list[object], *shape: int) -> np.ndarray:
    made = np.empty(len(values), object)
    made[:] = values
    return made.reshape(shape or (len(values),))


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "value",
    [
        ([column(A), column(B)], [True]),
        ([column(A).T, column(B)], np.array([[True]])),
        (objects([A, B]), objects([True])),
        (objects([column(A), np.frombuffer(B, np.uint8)]), [1]),
        (objects([A, B], 1, 2), np.array([[1]])),
        (objects([A, B], 2, 1), objects([1], 1, 1)),
    ],
)
def test_columns_and_arrays_of_objects_are_read(tmp_path, value, protocol):
    pack = open_pack(bin_file(tmp_path, value, protocol))
    assert ([pack.read(0), pack.read(1)], pack.pairs.tolist(), pack.same.tolist()) == ([A, B], [[0, 1]], [True])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "a Git LFS pointer"),
        (b"<!DOCTYPE html><html>Sign in", "an HTML page"),
        (b"\x1f\x8b\x08\0", "compressed by gzip"),
        (b"PK\x03\x04", "a zip archive"),
    ],
)
def test_what_stands_in_a_pack_s_place_is_named(tmp_path, data, text):
    (tmp_path / "lfw.bin").write_bytes(data)
    with pytest.raises(InputError, match=f"; it is {text}"):
        open_pack(tmp_path / "lfw.bin")
    (tmp_path / "pairs.txt").write_bytes(data + b"\n")
    with pytest.raises(InputError, match=f"; it is {text}"):
        open_pack(tmp_path / "pairs.txt")


def test_a_small_value_that_is_long_to_write_down_is_refused_at_once(tmp_path):
    doubled: list = []
    for _ in range(60):
        doubled = [doubled, doubled]
    with pytest.raises(InputError, match="truth value in it is a list"):
        open_pack(bin_file(tmp_path, ([A, B], [doubled])))


def test_no_file(tmp_path):
    with pytest.raises(InputError, match="is not a file"):
        open_pack(tmp_path / "none.bin")
    with pytest.raises(InputError, match="is not a file"):
        open_pack(tmp_path / "pairs.txt")


def test_written_packs_store_an_image_once():
    data = pack_bytes([A * 99, B, bytes(bytearray(A * 99)), C], [True, False])
    assert pickle.loads(data) == ([A * 99, B, A * 99, C], [True, False])
    assert len(data) < 400
    with pytest.raises(ValueError, match="3 images for 1 pairs"):
        pack_bytes([A, B, C], [True])


def lfw(folder: Path, pairs: str) -> Path:
    for stem, image in [("Ann/Ann_0001.jpg", A), ("Ann/Ann_0002.png", B), ("Bob/Bob_0001.jpeg", C)]:
        (folder / stem).parent.mkdir(exist_ok=True)
        (folder / stem).write_bytes(image)
    (folder / "pairs.txt").write_text(pairs)
    return folder / "pairs.txt"


def test_pairs_over_a_folder(tmp_path):
    pack = open_pack(lfw(tmp_path, "10\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n"))
    assert isinstance(pack, PairsPack)
    assert [pack.read(index) for index in range(3)] == [A, B, C]
    assert pack.pairs.tolist() == [[0, 1], [1, 2]]
    assert pack.same.tolist() == [True, False]
    assert pack.name(1) == Name("Ann", "Ann_0002.png")
    assert pack.where(2) == str(tmp_path / "Bob/Bob_0001.jpeg")
    assert (pack.refused, pack.missing) == ([], 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_suffixes_in_capitals_and_a_byte_order_mark(tmp_path, encoding):
    path = lfw(tmp_path, "1\t1\nAnn\t1\t2\nAnn\t2\tBob\t1\n")
    path.write_text(path.read_text(), encoding=encoding)
    for stem, suffix in (("Ann/Ann_0001.jpg", ".JPG"), ("Ann/Ann_0002.png", ".Png"), ("Bob/Bob_0001.jpeg", ".JPEG")):
        (tmp_path / stem).rename((tmp_path / stem).with_suffix(suffix))
    pack = open_pack(path)
    assert (pack.pairs.tolist(), pack.same.tolist(), pack.missing) == ([[0, 1], [1, 2]], [True, False], 0)
    assert [pack.read(index) for index in range(3)] == [A, B, C]
    assert pack.name(1) == Name("Ann", "Ann_0002.Png")


def test_pairs_with_missing_photos_are_refused(tmp_path):
    path = lfw(tmp_path, "Ann\t1\t2\nAnn\t1\tCy\t3\nBob\t1\t9\n")
    pack = open_pack(path)
    assert (pack.pairs.tolist(), pack.missing) == ([[0, 1]], 2)
    assert [(item.where, item.reason) for item in pack.refused] == [
        (f"{path} line 2", "missing-photo"),
        (f"{path} line 3", "missing-photo"),
    ]
    assert "Cy/Cy_0003" in pack.refused[0].detail


def test_pairs_without_any_photo(tmp_path):
    (tmp_path / "pairs.txt").write_text("Ann\t1\t2\n")
    with pytest.raises(InputError, match="not one of its 1 pairs"):
        open_pack(tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("Ann\t1\n")
    with pytest.raises(InputError, match=r"pairs.txt: line 1"):
        open_pack(tmp_path / "pairs.txt")


def test_several_packs_by_name(tmp_path):
    pairs = lfw(tmp_path, "Ann\t1\t2\n")
    (tmp_path / "deep").mkdir()
    bins = [bin_file(folder, ([A, B], [True])) for folder in (tmp_path, tmp_path / "deep")]
    packs = open_packs([bins[0], tmp_path])
    assert [(name, len(pack.pairs)) for name, pack in packs.items()] == [("pack", 1), (tmp_path.name, 1)]
    assert list(open_packs([pairs])) == [tmp_path.name]
    for paths in (bins, [pairs, tmp_path]):
        with pytest.raises(UsageError, match="are both called"):
            open_packs(paths)
    with pytest.raises(UsageError, match="no pairs"):
        open_packs([])
    for path, text in ((tmp_path / "Ann", r"holds no pairs\.txt"), (tmp_path / "a.rec", "is not a verification pack")):
        with pytest.raises(InputError, match=text):
            open_packs([path])
    with pytest.raises(InputError, match="is not a file"):
        open_packs([tmp_path / "none.bin"])


@pytest.mark.faces
def test_real_lfw(faces_root):
    pack = open_pack(faces_root / "lfw.bin")
    assert (len(pack), pack.pairs.shape, int(pack.same.sum())) == (7701, (6000, 2), 3000)
    data = pack_bytes((pack.read(face) for face in pack.pairs.ravel().tolist()), pack.same.tolist())
    assert data == (faces_root / "lfw.bin").read_bytes()
