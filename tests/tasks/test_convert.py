"""`convert`: every format into every other, byte for byte."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.images.codec import encode_jpeg, encode_png, suffix_of
from facemae_cli.data.manifest import Manifest, write_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output
from facemae_cli.data.packs.source import open_pack
from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.errors import InputError, UsageError
from facemae_cli.tasks import convert as module
from facemae_cli.tasks.convert import convert


def face(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (14, 14, 3), np.uint8)
    return encode_png(pixels) if seed % 3 else encode_jpeg(pixels)


def raw(folder: Path, people: int = 3, photos: int = 2) -> dict[str, bytes]:
    """A folder of people and one loose photo; returns relative path -> bytes."""
    files = {}
    for person in range(people):
        for photo in range(photos):
            data = face(person * photos + photo)
            files[f"group/p{person:02d}/{photo}{suffix_of(data)}"] = data
    files["loose.png"] = face(1000)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return files


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("facemae.json", "pairs.txt")
    }


def test_folder_to_rec_and_back(tmp_path):
    files = raw(tmp_path / "raw")
    for out in (tmp_path / "a.rec", tmp_path / "dir" / "train.rec"):
        result = convert(tmp_path / "raw", out)
        assert (result.format_in, result.format_out, result.faces, result.refused) == ("folder", "rec", 7, [])
    again = convert(tmp_path / "a.rec", tmp_path / "again.rec")
    assert (again.format_in, again.faces) == ("rec", 7)
    assert (tmp_path / "again.rec").read_bytes() == (tmp_path / "a.rec").read_bytes()
    convert(tmp_path / "dir", tmp_path / "back")
    assert tree(tmp_path / "back") == files


def test_metadata_in_an_image_is_copied(tmp_path):
    data = face(0)
    tagged = data[:2] + b"\xff\xfe\x00\x08secret" + data[2:]
    (tmp_path / "raw" / "a").mkdir(parents=True)
    (tmp_path / "raw" / "a" / "1.jpg").write_bytes(tagged)
    convert(tmp_path / "raw", tmp_path / "a.rec")
    source = open_source(tmp_path / "a.rec")
    assert (source.read(0), source.name(0)) == (tagged, ("a", "1.jpg"))


def test_broken_images_are_refused(tmp_path):
    raw(tmp_path / "raw")
    (tmp_path / "raw" / "group" / "p00" / "9.png").write_bytes(face(1)[:-3])
    (tmp_path / "raw" / "group" / "p00" / "8.png").write_bytes(b"text")
    (tmp_path / "raw" / "#recycle").mkdir()
    (tmp_path / "raw" / "#recycle" / "7.png").write_bytes(face(1))
    (tmp_path / "raw" / "notes.txt").write_text("not an image")
    result = convert(tmp_path / "raw", tmp_path / "out")
    assert dict(result.summary())["passed over"].startswith("1 #recycle: ")
    assert (result.as_json()["passed_over"], result.as_json()["ignored_files"]) == ({"#recycle": 1}, 1)
    assert [item.reason for item in result.refused] == ["not-an-image", "truncated"]
    assert (result.faces_in, result.faces) == (9, 7)
    manifest = json.loads((tmp_path / "out" / "facemae.json").read_text())
    assert manifest["counts"] == {"in": 9, "out": 7, "refused": {"not-an-image": 1, "truncated": 1}}


def test_damage_of_a_rec_is_counted(tmp_path):
    good = [frame(pack_header(0, 0.0, key) + face(key)) for key in range(3)]
    data = bytearray(b"".join(good))
    data[len(good[0])] ^= 1
    (tmp_path / "a.rec").write_bytes(data)
    result = convert(tmp_path / "a.rec", tmp_path / "out")
    assert ([item.reason for item in result.refused], result.faces_in, result.faces) == (["bad-magic"], 3, 2)


def test_what_the_manifest_says_of_the_faces_stays(tmp_path):
    raw(tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "out")
    path = tmp_path / "out" / "facemae.json"
    said = json.loads(path.read_text())
    said.update(command="mask", key_id="0123", strategy="eyes", mask_ratio=0.75, grid=14, names="keyed")
    path.write_text(json.dumps(said))
    convert(tmp_path / "out", tmp_path / "a.rec")
    found = json.loads((tmp_path / "a.facemae.json").read_text())
    assert {key: found[key] for key in ("command", "key_id", "strategy", "mask_ratio", "grid", "names", "extra")} == {
        "command": "convert",
        "key_id": "0123",
        "strategy": "eyes",
        "mask_ratio": 0.75,
        "grid": 14,
        "names": "copied",
        "extra": {"made_by": "mask"},
    }


def pack(folder: Path) -> Path:
    a, b, c, d = (face(n) for n in range(4))
    path = folder / "x.bin"
    path.write_bytes(pickle.dumps(([a, b, a, c, c, d, b, a], [True, False, True, True]), 4))
    return path


def test_bin_to_folder_and_back(tmp_path):
    path = pack(tmp_path)
    for out in (tmp_path / "plain", tmp_path / "named" / "pairs.txt"):
        result = convert(path, out)
        assert (result.faces, result.pairs, result.refused) == (4, 4, [])
    folder = tmp_path / "plain"
    assert tree(folder) == tree(tmp_path / "named")
    assert sorted(tree(folder).values()) == sorted(face(n) for n in range(4))
    assert (folder / "pairs.txt").read_text() == "4\n00001\t1\t2\n00001\t1\t00002\t1\n00002\t1\t2\n00001\t2\t1\n"
    for number, given in enumerate([folder, folder / "pairs.txt"]):
        back = tmp_path / f"back{number}.bin"
        assert convert(given, back).pairs == 4
        assert back.read_bytes() == path.read_bytes()
    assert json.loads((tmp_path / "back0.bin.facemae.json").read_text())["counts"]["out"] == 4


def test_bin_to_rec_keeps_people(tmp_path):
    result = convert(pack(tmp_path), tmp_path / "x.rec")
    source = open_source(tmp_path / "x.rec")
    assert [source.name(index).identity for index in range(4)] == ["00001", "00001", "00002", "00002"]
    assert [source.read(index) for index in range(4)] == [face(n) for n in range(4)]
    assert result.pairs is None


def test_pairs_of_refused_faces_are_left_out(tmp_path):
    images = [face(0), face(1), face(2)[:-2], face(3)]
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps((images, [True, False])))
    for out in (tmp_path / "y.bin", tmp_path / "y"):
        result = convert(path, out)
        assert (result.pairs, [item.reason for item in result.refused]) == (1, ["truncated"])
        assert any("1 pair left out for a face that is refused" in note for note in result.notes)
    assert open_pack(tmp_path / "y.bin").pairs.tolist() == [[0, 1]]
    assert open_pack(tmp_path / "y" / "pairs.txt").same.tolist() == [True]
    path.write_bytes(pickle.dumps((images[1:3], [True])))
    with pytest.raises(InputError, match="not one of its 1 pairs"):
        convert(path, tmp_path / "z.bin")


def test_pairs_are_sampled_where_there_are_none(tmp_path):
    files = raw(tmp_path / "raw", people=20, photos=3)
    result = convert(tmp_path / "raw", tmp_path / "x.bin", pairs=40, seed=3)
    assert (result.pairs, result.notes) == (40, ["sampled 40 pairs from seed 3"])
    source = open_pack(tmp_path / "x.bin")
    assert {source.read(index) for index in range(len(source))} <= set(files.values())
    people = {data: name.rpartition("/")[0] for name, data in files.items()}
    for (first, second), same in zip(source.pairs.tolist(), source.same, strict=True):
        assert (people[source.read(first)] == people[source.read(second)]) == same
    convert(tmp_path / "raw", tmp_path / "y.bin", pairs=40, seed=3)
    assert (tmp_path / "y.bin").read_bytes() == (tmp_path / "x.bin").read_bytes()
    result = convert(tmp_path / "raw", tmp_path / "lfw" / "pairs.txt", pairs=40, seed=3)
    assert [item.reason for item in result.refused] == ["no-identity"]
    named = open_pack(tmp_path / "lfw" / "pairs.txt")
    assert named.same.tolist() == source.same.tolist()
    assert [named.read(index) for index in named.pairs[0]] == [source.read(index) for index in source.pairs[0]]
    assert named.photo(0).name.startswith("group/p")


def test_fewer_pairs_than_asked_for_are_told(tmp_path):
    raw(tmp_path / "raw", people=20, photos=2)
    result = convert(tmp_path / "raw", tmp_path / "x.bin")
    assert result.pairs == 40
    assert result.notes == ["sampled 40 pairs from seed 0, as many as its people allow of 6000"]


def test_a_name_that_no_pairs_txt_can_hold(tmp_path):
    raw(tmp_path / "raw", people=20, photos=2)
    (tmp_path / "raw" / "new\nline").mkdir()
    (tmp_path / "raw" / "new\nline" / "1.png").write_bytes(face(1))
    result = convert(tmp_path / "raw", tmp_path / "lfw" / "pairs.txt", pairs=20)
    assert sorted(item.reason for item in result.refused) == ["bad-name", "no-identity"]


@pytest.mark.parametrize(
    ("given", "options", "text"),
    [
        ("raw", {"out": "x.bin", "workers": 0}, "--workers 0"),
        ("raw", {"out": "x.bin", "pairs": 19}, "--pairs 19"),
        ("raw", {"out": "x.rec", "pairs": 40}, "--pairs samples"),
        ("x.bin", {"out": "y.bin", "pairs": 40}, "--pairs samples"),
        ("raw", {"out": "raw/x.bin"}, "inside the input"),
        ("raw", {"out": "raw/x"}, "inside the input"),
        ("raw", {"out": "y.bin", "resume": True}, "complete already"),
        ("raw", {"out": "y.bin"}, "exists"),
        ("x.bin", {"out": "x.bin", "overwrite": True}, "inside the input"),
    ],
)
def test_usage(tmp_path, given, options, text):
    raw(tmp_path / "raw", people=20)
    pack(tmp_path)
    convert(tmp_path / "x.bin", tmp_path / "y.bin")
    options["out"] = tmp_path / options["out"]
    if text == "--pairs samples" and options["out"].name == "y.bin":
        (tmp_path / "y.bin").unlink()
    with pytest.raises(UsageError, match=text):
        convert(tmp_path / given, **options)


def test_a_bin_is_replaced_only_when_told(tmp_path):
    (tmp_path / "y.bin").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"y\.bin was not made by facemae"):
        convert(pack(tmp_path), tmp_path / "y.bin", overwrite=True)
    assert (tmp_path / "y.bin").read_bytes() == b"mine"
    for overwrite in (False, True):
        convert(tmp_path / "x.bin", tmp_path / "z.bin", overwrite=overwrite)
        assert (tmp_path / "z.bin").read_bytes() == (tmp_path / "x.bin").read_bytes()
    (tmp_path / "z.bin").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"z\.bin was not made by facemae"):
        convert(tmp_path / "x.bin", tmp_path / "z.bin", overwrite=True)
    (tmp_path / "z.bin").unlink()  # as where a run was killed between the manifest and the pack
    convert(tmp_path / "x.bin", tmp_path / "z.bin")


@pytest.mark.parametrize("out", ["x.bin", "x.rec", "x", "lfw/pairs.txt"])
def test_nothing_is_written_of_inputs_that_are_all_refused(tmp_path, out):
    for name, data in raw(tmp_path / "raw", people=20).items():
        (tmp_path / "raw" / name).write_bytes(data[:-2])
    before = tree(tmp_path)
    with pytest.raises(InputError):
        convert(tmp_path / "raw", tmp_path / out)
    assert tree(tmp_path) == before
    assert not list(tmp_path.rglob("*facemae*"))


class Stop(Exception):
    """Ends a run in its middle."""


class Stopping:
    """A progress that ends the run after some faces."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        self.done = done

    def advance(self, count: int = 1, note: str = "") -> None:
        self.left -= count
        if self.left == 0:
            raise Stop

    def notice(self, line: str) -> None:
        return None


def test_a_pack_stands_there_with_its_pairs_or_not_at_all(tmp_path, monkeypatch):
    """Stopped where it is put in place, it is whole after --resume; before, its pairs.txt was written after that."""
    convert(pack(tmp_path), tmp_path / "whole")

    def stop(*paths):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(output, "_put_in_place", stop)
        with pytest.raises(Stop):
            convert(tmp_path / "x.bin", tmp_path / "part")
    assert not (tmp_path / "part").exists()
    convert(tmp_path / "x.bin", tmp_path / "part", resume=True)
    assert (tmp_path / "part" / "pairs.txt").read_bytes() == (tmp_path / "whole" / "pairs.txt").read_bytes()
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")


def test_a_bin_never_stands_there_without_its_manifest(tmp_path, monkeypatch):
    real, order = os.replace, []

    def noting(source, target):
        order.append(Path(target).name)
        real(source, target)

    monkeypatch.setattr(os, "replace", noting)
    convert(pack(tmp_path), tmp_path / "y.bin")
    assert order == ["y.bin.facemae.json", "y.bin"]


@pytest.mark.parametrize("out", ["x.rec", "x", "x/pairs.txt"])
def test_a_stopped_run_goes_on(tmp_path, monkeypatch, out):
    monkeypatch.setattr(module, "UNIT", 4)
    files = raw(tmp_path / "raw", people=20, photos=2)
    broken = tmp_path / "raw" / "group" / "p00" / "0.jpg"
    broken.write_bytes(files["group/p00/0.jpg"][:-2])
    pairs = 40 if out.endswith(".txt") else None
    whole = convert(tmp_path / "raw", tmp_path / "whole" / out, pairs=pairs)
    with pytest.raises(Stop):
        convert(tmp_path / "raw", tmp_path / "part" / out, pairs=pairs, progress=Stopping(after=10))
    progress = Stopping(after=-1)
    result = convert(tmp_path / "raw", tmp_path / "part" / out, pairs=pairs, resume=True, progress=progress)
    assert progress.done == 8
    assert tree(tmp_path / "part") == tree(tmp_path / "whole")
    for name in ("facemae.json", "x/facemae.json", "x.facemae.json", "x/pairs.txt"):
        assert (tmp_path / "part" / name).exists() == (tmp_path / "whole" / name).exists()
        if (tmp_path / "part" / name).exists():
            assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [item.reason for item in result.refused] == [item.reason for item in whole.refused]
    assert (result.faces, result.pairs) == (whole.faces, whole.pairs)


def test_a_run_under_other_names_does_not_go_on(tmp_path):
    raw(tmp_path / "raw", people=20, photos=2)
    with pytest.raises(Stop):
        convert(tmp_path / "raw", tmp_path / "x", progress=Stopping(after=10))
    with pytest.raises(UsageError, match="--resume: the stopped run had called"):
        convert(tmp_path / "raw", tmp_path / "x" / "pairs.txt", pairs=40, resume=True)


@pytest.mark.parametrize("out", ["x.rec", "x", "x.bin", "x/pairs.txt"])
def test_no_faces_replace_nothing(tmp_path, out):
    raw(tmp_path / "raw")
    if out in ("x.rec", "x"):
        convert(tmp_path / "raw", tmp_path / out)
    before = tree(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no faces"):
        convert(tmp_path / "empty", tmp_path / out, overwrite=True)
    assert tree(tmp_path) == before


def test_pairs_and_photos_that_are_not_copied_are_said(tmp_path):
    convert(pack(tmp_path), tmp_path / "lfw")
    assert convert(tmp_path / "lfw", tmp_path / "a.rec").notes == [
        f"its pairs.txt is not copied: --in {tmp_path / 'lfw' / 'pairs.txt'} copies pairs with their faces"
    ]
    (note,) = convert(tmp_path / "lfw" / "pairs.txt", tmp_path / "b.rec").notes
    assert note.startswith("of a pack the faces of its pairs alone are copied")
    assert convert(tmp_path / "lfw" / "pairs.txt", tmp_path / "c.bin").notes == []


def test_photos_put_into_a_release_are_not_copied_under_its_card(tmp_path):
    raw(tmp_path / "released")
    counts = {"in": 6, "out": 6, "refused": {}}
    manifest = Manifest("reconstruct", mask_ratio=0.75, counts=counts)
    write_manifest(tmp_path / "released" / "facemae.json", manifest)
    with pytest.raises(InputError, match="holds 7 faces, and facemae wrote 6 of them"):
        convert(tmp_path / "released", tmp_path / "out.rec")
    (tmp_path / "released" / "loose.png").unlink()
    assert convert(tmp_path / "released", tmp_path / "out.rec").faces == 6
