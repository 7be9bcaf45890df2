"""A `.rec` as a source of faces: layouts, labels, names, damage."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.headers.header import Limits
from facemae_cli.data.recordio.records import MAGIC, frame, pack_header
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import FaceError, InputError

VECTORS = Path(__file__).parent / "fixtures" / "mxnet_vectors.rec"
MAGIC_BYTES = struct.pack("<I", MAGIC)
Record = tuple[int, object, int, bytes]  # flag, label, key, body


def body(key: int) -> bytes:
    return random.Random(key).randbytes(40 + 13 * key)


def write(path: Path, records: list[Record], *, index: bool = True) -> list[int]:
    """Writes the records in the order given; returns their offsets."""
    framed = [frame(pack_header(flag, label, key) + data) for flag, label, key, data in records]
    offsets = [sum(map(len, framed[:n])) for n in range(len(framed))]
    path.write_bytes(b"".join(framed))
    if index:
        lines = [f"{key}\t{offset}\n" for (_, _, key, _), offset in zip(records, offsets, strict=True)]
        path.with_suffix(".idx").write_text("".join(lines))
    return offsets


def insightface() -> list[Record]:
    """Five photos of two people and the records InsightFace adds, the header last as its packer leaves it."""
    images: list[Record] = [(2, [float(key > 3), 1.0], key, body(key)) for key in range(1, 6)]
    ranges: list[Record] = [(2, [1.0, 4.0], 6, b""), (2, [4.0, 6.0], 7, b"")]
    return [*images, *ranges, (2, [6.0, 8.0], 0, b"")]


def im2rec(count: int = 6) -> list[Record]:
    return [(0, float(key // 2), key, body(key)) for key in range(count)]


def contents(source: RecSource) -> list[tuple[Name, bytes]]:
    return [(source.name(index), source.read(index)) for index in range(len(source))]


@pytest.mark.parametrize("index", [True, False])
def test_insightface_layout(tmp_path, index):
    write(tmp_path / "train.rec", insightface(), index=index)
    source = RecSource(tmp_path)
    assert (source.layout, source.kind, source.refused, source.ignored) == ("insightface", "rec", [], 0)
    assert contents(source) == [(Name("1" if key > 3 else "0", str(key)), body(key)) for key in range(1, 6)]


@pytest.mark.parametrize("index", [True, False])
def test_im2rec_layout(tmp_path, index):
    write(tmp_path / "a.rec", im2rec(), index=index)
    source = RecSource(tmp_path / "a.rec")
    assert (source.layout, source.refused) == ("im2rec", [])
    assert contents(source) == [(Name(str(key // 2), str(key)), body(key)) for key in range(6)]


def test_keys_give_the_order_not_the_file(tmp_path):
    records = im2rec()
    random.Random(3).shuffle(records)
    offsets = write(tmp_path / "a.rec", records)
    source = RecSource(tmp_path / "a.rec")
    assert [source.key(index) for index in range(6)] == list(range(6))
    assert [source.read(index) for index in range(6)] == [body(key) for key in range(6)]
    at = [key for _, _, key, _ in records].index(2)
    assert source.where(2) == f"{tmp_path / 'a.rec'} key 2 at byte {offsets[at]}"


def test_labels_of_all_kinds(tmp_path):
    labels: list[tuple[int, object]] = [
        (0, 3.0),
        (0, -1.0),
        (2, [4.0, 1.0]),
        (5, [5.0, 0.1, 0.2, 0.3, 0.4]),
        (1, [6.0]),
        (0, float("nan")),
        (0, float("inf")),
        (0, 0.5),
        (2, [-2.0, 1.0]),
        (0, 16777216.0),
    ]
    write(tmp_path / "a.rec", [(flag, label, key, body(key)) for key, (flag, label) in enumerate(labels)])
    source = RecSource(tmp_path / "a.rec")
    identities = [source.name(index).identity for index in range(len(source))]
    assert identities == ["3", None, "4", "5", "6", None, None, "0.5", None, "16777216"]
    assert [source.read(index) for index in range(len(source))] == [body(key) for key in range(len(labels))]


def test_the_vectors_of_mxnet_are_faces_too():
    """Of flag 0, 2 and 5, many split, some with the magic in their header or label, some empty."""
    source = RecSource(VECTORS)
    assert source.layout == "im2rec"
    assert source.refused == []
    rows = json.loads(VECTORS.with_suffix(".json").read_text())
    assert sum(row[-1] == "" for row in rows) > 3
    for index, (_, labels, key, _, data) in enumerate(rows):
        identity = None if labels[0] < 0 else source.name(index).identity
        assert source.name(index) == Name(identity, str(key))
        if data:
            assert source.read(index) == bytes.fromhex(data)
            continue
        with pytest.raises(FaceError) as caught:
            source.read(index)
        assert caught.value.reason == "empty"


def test_a_magic_in_header_label_and_image(tmp_path):
    label = float(np.frombuffer(MAGIC_BYTES, "<f4")[0])
    image = b"ABCD" + MAGIC_BYTES + b"more" + MAGIC_BYTES
    write(tmp_path / "a.rec", [(0, label, 0, image), (2, [7.0, label], 1, image), (0, 1.0, MAGIC, image)])
    source = RecSource(tmp_path / "a.rec")
    assert [source.read(index) for index in range(3)] == [image] * 3
    assert [source.name(index) for index in (1, 2)] == [Name("7", "1"), Name("1", str(MAGIC))]


def test_a_split_record_whose_number_has_64_bits(tmp_path):
    (tmp_path / "a.rec").write_bytes(
        frame(pack_header(0, 1.0, 2**64 - 1) + MAGIC_BYTES) + frame(pack_header(0, 2.0, 7))
    )
    source = RecSource(tmp_path / "a.rec")
    assert [source.name(index) for index in range(2)] == [Name("2", "7"), Name("1", "8")]


def test_an_image_without_bytes_is_refused_on_reading(tmp_path):
    records = insightface()
    records[1] = (2, [0.0, 1.0], 2, b"")
    write(tmp_path / "train.rec", records)
    source = RecSource(tmp_path / "train.rec")
    assert len(source) == 5
    with pytest.raises(FaceError) as caught:
        source.read(1)
    assert caught.value.reason == "empty"


def test_ranges_are_no_faces_where_the_header_is_damaged(tmp_path):
    offsets = write(tmp_path / "train.rec", insightface())
    data = bytearray((tmp_path / "train.rec").read_bytes())
    data[offsets[-1]] ^= 1
    (tmp_path / "train.rec").write_bytes(data)
    source = RecSource(tmp_path)
    assert len(source) == 5
    assert [(item.where, item.reason) for item in source.refused] == [
        (f"{tmp_path / 'train.rec'} at byte {offsets[-1]}", "bad-magic")
    ]


def test_a_header_rounded_to_float32_hides_no_range(tmp_path):
    """Above 2^24 the header's N + 1 is rounded, here up by one, past the first range record."""
    last = 2**25 + 2  # N; N + 1 is no float32 and becomes N + 2
    assert np.float32(last + 1) == last + 2
    records: list[Record] = [(2, [float(last + 1), float(last + 3)], 0, b""), (0, 0.0, last, body(1))]
    records += [(2, [1.0, 2.0], last + 1, b""), (2, [2.0, 3.0], last + 2, b"")]
    write(tmp_path / "train.rec", records)
    assert [RecSource(tmp_path).key(index) for index in range(len(RecSource(tmp_path)))] == [last]


def test_names_from_the_lst(tmp_path):
    write(tmp_path / "train.rec", insightface())
    (tmp_path / "train.lst").write_text("1\t0\tann/x.jpg\n2\t0\tann/y.png\n4\t1\tbob/x.jpg\n5\t0\tcy/x.jpg\n")
    source = RecSource(tmp_path)
    names = [source.name(index) for index in range(5)]  # key 3 is not listed, key 5 with another label
    assert names == [Name("ann", "x.jpg"), Name("ann", "y.png"), Name("0", "3"), Name("bob", "x.jpg"), Name("1", "5")]


def test_the_digest_of_names_changes_with_each_thing_that_makes_them(tmp_path):
    def digest() -> str:
        return RecSource(path).names_digest()

    path = tmp_path / "a.rec"
    write(path, [(0, 1.0, 0, body(0)), (0, 2.0, 1, body(1))])
    before = digest()
    assert digest() == before
    write(path, [(0, 1.0, 0, body(0)), (0, 2.0, 1, body(7))])
    assert digest() == before, "what is on a photo is not its name"
    others = {before}
    write(path, [(0, 1.0, 0, body(0)), (0, 3.0, 1, body(1))])
    others.add(digest())
    write(path, [(0, 1.0, 0, body(0)), (0, 2.0, 9, body(1))])
    others.add(digest())
    write(path, [(0, 1.0, 0, body(0)), (0, 2.0, 1, body(1))])
    for text in ("0\t1\tx.jpg\n", "0\t1\ty.jpg\n"):
        (tmp_path / "a.lst").write_text(text)
        others.add(digest())
    assert len(others) == 5


def test_what_stands_beside_a_train_rec_is_counted(tmp_path):
    write(tmp_path / "train.rec", insightface())
    assert RecSource(tmp_path).passed_over == {}
    for name in ("lfw.bin", "property", "a.jpg", "b.tiff", ".c.jpg"):
        (tmp_path / name).write_bytes(b"")
    for name in ("ann", "bob", ".git", "@eaDir"):
        (tmp_path / name).mkdir()
    assert RecSource(tmp_path).passed_over == {"folders beside train.rec": 2, "images beside train.rec": 2}
    assert RecSource(tmp_path / "train.rec").passed_over == {}


def test_names_of_loose_photos(tmp_path):
    write(tmp_path / "a.rec", [(0, -1.0, 0, body(0)), (0, 2.0, 1, body(1))])
    (tmp_path / "a.lst").write_text("0\t-1\tx.jpg\n1\t2\ty.jpg\n")
    source = RecSource(tmp_path / "a.rec")
    assert [source.name(0), source.name(1)] == [Name(None, "x.jpg"), Name("2", "y.jpg")]


@pytest.mark.parametrize("part", ["no.rec", "text.rec", "empty.rec", "folder.rec"])
def test_what_is_no_rec(tmp_path, part):
    (tmp_path / "text.rec").write_bytes(b"\xff\xd8\xff\xe0" + bytes(range(200)))
    (tmp_path / "empty.rec").write_bytes(b"")
    (tmp_path / "folder.rec").mkdir()
    with pytest.raises(InputError) as caught:
        RecSource(tmp_path / part)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pipe_is_no_rec(tmp_path):
    os.mkfifo(tmp_path / "pipe.rec")
    with pytest.raises(InputError, match="a pipe"):
        RecSource(tmp_path / "pipe.rec")


def test_too_large(tmp_path):
    write(tmp_path / "a.rec", im2rec())
    source = RecSource(tmp_path / "a.rec", Limits(max_bytes=60))
    assert len(source.read(1)) == 53
    with pytest.raises(FaceError, match="limit of 60") as caught:
        source.read(2)
    assert caught.value.reason == "too-large"


def test_every_cut_keeps_the_whole_records(tmp_path):
    records = im2rec()
    offsets = write(tmp_path / "whole.rec", records)
    data = (tmp_path / "whole.rec").read_bytes()
    path = tmp_path / "cut.rec"
    path.with_suffix(".idx").write_bytes((tmp_path / "whole.idx").read_bytes())
    for cut in range(offsets[1], len(data), 7):
        path.write_bytes(data[:cut])
        source = RecSource(path)
        kept = sum(offset <= cut for offset in [*offsets[1:], len(data)])
        assert [source.read(index) for index in range(len(source))] == [body(key) for key in range(kept)]
        assert [(item.where, item.reason) for item in source.refused] == [
            (f"{path} at byte {offset}", "truncated-record") for offset in offsets[kept:]
        ]


def test_a_payload_that_cannot_hold_its_labels(tmp_path):
    good = frame(pack_header(0, 1.0, 0) + b"image")
    path = tmp_path / "a.rec"
    path.write_bytes(good + frame(b"short") + frame(pack_header(2, [1.0, 2.0], 1)[:-4]))
    source = RecSource(path)
    assert len(source) == 1
    assert [(item.where, item.reason) for item in source.refused] == [
        (f"{path} at byte {len(good)}", "bad-header"),
        (f"{path} at byte {len(good) + 16}", "bad-header"),
    ]


def test_a_broken_line_in_the_index_is_told_and_costs_nothing(tmp_path):
    write(tmp_path / "a.rec", im2rec())
    index = tmp_path / "a.idx"
    index.write_bytes(index.read_bytes().replace(b"3\t", b"3#"))
    source = RecSource(tmp_path / "a.rec")
    assert [source.name(index).photo for index in range(6)] == list("012345")
    at = index.read_bytes().index(b"3#")
    assert source.refused == []
    assert source.remarks[0].where == f"{index} at byte {at}"
    assert {item.reason for item in source.remarks} == {"bad-index"}


@pytest.mark.parametrize("records", [insightface(), im2rec(), insightface()[-1:] + insightface()[:-1]])
@pytest.mark.parametrize("change", ["short", "empty", "shifted", "twice"])
def test_an_index_that_is_wrong_costs_nothing_and_is_remarked_on(tmp_path, records, change):
    """Ranges of keys and the header are no faces, whatever the index says of them."""
    path = tmp_path / "a.rec"
    offsets = write(path, records)
    lines = path.with_suffix(".idx").read_text().splitlines()
    shifted = [f"{key}\t{offset + 4}" for (_, _, key, _), offset in zip(records, offsets, strict=True)]
    wrong = {"short": lines[:3], "empty": ["x"], "shifted": shifted, "twice": lines * 2}
    path.with_suffix(".idx").write_text("".join(f"{line}\n" for line in wrong[change]))
    source = RecSource(path)
    assert source.refused == []
    assert sorted(data for _, data in contents(source)) == sorted(data for *_, data in records if data)
    assert change == "twice" or source.remarks


def test_of_a_cut_file_images_are_lost_and_not_their_ranges(tmp_path):
    path = tmp_path / "a.rec"
    records = insightface()
    offsets = write(path, [records[-1], *records[:-1]])
    os.truncate(path, offsets[4])
    source = RecSource(path)
    assert [source.key(index) for index in range(len(source))] == [1, 2, 3]
    assert [item.detail.split()[1] for item in source.refused] == ["4", "5"]
    assert [item.detail.split()[1] for item in source.remarks] == ["6", "7"]


def test_a_file_cut_while_in_use(tmp_path):
    path = tmp_path / "a.rec"
    offsets = write(path, im2rec())
    source = RecSource(path)
    os.truncate(path, offsets[4] + 40)
    assert source.read(3) == body(3)
    for index in (4, 5):
        with pytest.raises(FaceError) as caught:
            source.read(index)
        assert caught.value.reason == "truncated-record"


def test_reading_from_threads_forks_and_other_processes(tmp_path):
    write(tmp_path / "a.rec", im2rec(30))
    source = RecSource(tmp_path / "a.rec")
    expected = [body(key) for key in range(30)] * 20
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(source.read, list(range(30)) * 20)) == expected
    with get_context("fork").Pool(2) as forks:
        assert forks.map(source.read, list(range(30)) * 20) == expected
    copy = pickle.loads(pickle.dumps(source))
    assert contents(copy) == contents(source)
    assert copy._file.descriptor != source._file.descriptor


def test_what_it_passed_over_goes_to_other_ranks(tmp_path):
    """It is part of results, which the first rank sends to all."""
    write(tmp_path / "a.rec", im2rec())
    assert pickle.loads(pickle.dumps(RecSource(tmp_path / "a.rec").passed_over)) == {}


def test_no_descriptor_is_left_behind(tmp_path):
    write(tmp_path / "a.rec", im2rec())
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        RecSource(tmp_path / "a.rec").read(0)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.faces
def test_real_faces(faces_root):
    for name, faces, people in [("private", 13477, 3059), ("public", 12273, 12273)]:
        source = RecSource(faces_root / name)
        assert (len(source), source.layout, source.refused) == (faces, "insightface", [])
        assert len({source.name(index).identity for index in range(faces)}) == people
        assert all(source.read(index).startswith(b"\xff\xd8") for index in range(0, faces, 97))
