from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.output import open_output
from facemae_cli.data.recordio.records import MAGIC
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import FaceError

PNG = encode_png(np.zeros((28, 14, 3), np.uint8))


def write(out: Path, names: list[Name], image: bytes = PNG) -> None:
    with open_output(out, plan={}) as output:
        for name in names:
            output.write(name, image)
        output.finish(Manifest("mask"))


def records(rec: Path) -> dict[int, tuple[int, tuple[float, ...], int, int, bytes]]:
    """Flag, labels, id, id2 and image by key, read as MXNet's MXIndexedRecordIO and unpack do."""
    found = {}
    data = rec.read_bytes()
    for line in rec.with_suffix(".idx").read_text().splitlines():
        key, offset = map(int, line.split("\t"))
        magic, length = struct.unpack_from("<II", data, offset)
        assert (magic, length >> 29) == (MAGIC, 0)
        flag, label, number, id2 = struct.unpack_from("<IfQQ", data, offset + 8)
        body = offset + 32 + 4 * flag
        labels = struct.unpack_from(f"<{flag}f", data, offset + 32) if flag else (label,)
        found[key] = (flag, labels, number, id2, data[body : offset + 8 + length])
    return found


def test_the_layout_is_insightfaces(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", [Name("b", "1"), Name("b", "2"), Name("a", "1")])
    assert records(tmp_path / "x.rec") == {
        0: (2, (4.0, 6.0), 0, 0, b""),
        1: (0, (0.0,), 1, 0, PNG),
        2: (0, (0.0,), 2, 0, PNG),
        3: (0, (1.0,), 3, 0, PNG),
        4: (2, (1.0, 3.0), 4, 0, b""),
        5: (2, (3.0, 4.0), 5, 0, b""),
    }
    assert (tmp_path / "x.lst").read_text() == "1\t0\tb/1.png\n2\t0\tb/2.png\n3\t1\ta/1.png\n"
    assert (tmp_path / "x.property").read_text() == "2,28,14\n"
    assert (tmp_path / "x.idx").read_text().startswith("0\t0\n1\t40\n")


def test_identities_that_do_not_come_together_get_a_range_a_stretch(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", [Name("a", "1"), Name("b", "1"), Name(None, "1"), Name("a", "2"), Name("a", "3")])
    found = records(tmp_path / "x.rec")
    assert [found[key][1] for key in range(1, 6)] == [(0.0,), (1.0,), (-1.0,), (0.0,), (0.0,)]
    assert found[0][1] == (6.0, 9.0)
    assert [found[key][1] for key in range(6, 9)] == [(1.0, 2.0), (2.0, 3.0), (4.0, 6.0)]
    assert (tmp_path / "x.property").read_text() == "2,28,14\n"
    source = RecSource(tmp_path / "x.rec")
    assert [source.name(i).identity for i in range(5)] == ["a", "b", None, "a", "a"]


def test_faces_without_identities_have_no_classes(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", [Name(None, "1"), Name(None, "2")])
    assert records(tmp_path / "x.rec")[0][1] == (3.0, 3.0)
    assert (tmp_path / "x.property").read_text() == "0,28,14\n"
    source = RecSource(tmp_path / "x.rec")
    assert source.layout == "insightface"
    assert [source.name(i) for i in range(len(source))] == [Name(None, "1.png"), Name(None, "2.png")]


def test_an_output_without_faces_is_still_a_rec(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", [])
    assert records(tmp_path / "x.rec") == {0: (2, (1.0, 1.0), 0, 0, b"")}
    assert (tmp_path / "x.property").read_text() == "0,0,0\n"
    assert len(RecSource(tmp_path / "x.rec")) == 0


def test_a_magic_word_in_an_image_is_split_and_comes_back(tmp_path: Path) -> None:
    image = PNG + bytes(-len(PNG) % 4) + struct.pack("<I", MAGIC) + b"tail"
    write(tmp_path / "x.rec", [Name("a", "1"), Name("b", "1")], image)
    source = RecSource(tmp_path / "x.rec")
    assert [source.read(i) for i in range(len(source))] == [image, image]


def test_labels_go_on_after_a_resume(tmp_path: Path) -> None:
    names = [Name("b", "1"), Name("a", "1"), Name("c", "1"), Name("a", "2")]
    write(tmp_path / "x.rec", names)
    with open_output(tmp_path / "y.rec", plan={}) as output:
        for name in names[:2]:
            output.write(name, PNG)
        output.commit()
        output.write(names[3], PNG)
    with open_output(tmp_path / "y.rec", plan={}, resume=True) as output:
        for name in names[2:]:
            output.write(name, PNG)
        output.finish(Manifest("mask"))
    for suffix in (".rec", ".idx", ".lst", ".property", ".facemae.json"):
        assert (tmp_path / f"x{suffix}").read_bytes() == (tmp_path / f"y{suffix}").read_bytes()


def test_a_refused_face_takes_no_key_and_no_label(tmp_path: Path) -> None:
    with open_output(tmp_path / "x.rec", plan={}) as output:
        for name in (Name("..", "1"), Name("a", "b/c")):
            with pytest.raises(FaceError, match="cannot be its name"):
                output.write(name, PNG)
        with pytest.raises(FaceError):
            output.write(Name("z", "1"), b"no image")
        output.write(Name("b", "1"), PNG)
        output.finish(Manifest("mask"))
    assert (tmp_path / "x.lst").read_text() == "1\t0\tb/1.png\n"


def test_two_photos_of_one_name_are_two_records(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", [Name("a", "1"), Name("a", "1")])
    assert len(RecSource(tmp_path / "x.rec")) == 2
