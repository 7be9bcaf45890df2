"""A `.rec` opened by its `.idx` alone: what is looked at, and that damage is found where a record is used."""

from __future__ import annotations

import os
import pickle
import random
import struct
from pathlib import Path

import pytest

from facemae_cli.data.faces import FaceChunk, Name
from facemae_cli.data.open import open_source
from facemae_cli.data.recordio import indexed, source
from facemae_cli.data.recordio.records import MAGIC, frame, pack_header
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import FaceError

VECTORS = Path(__file__).parent / "fixtures" / "mxnet_vectors.rec"
PEOPLE, PHOTOS = 10, 60
DAMAGED = 30  # a photo that opening does not look at
MAGIC_BYTES = struct.pack("<I", MAGIC)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Opening looks at four records, so that a small file has others."""
    monkeypatch.setattr(indexed, "LOOKED_AT", 4)


def body(key: int) -> bytes:
    return random.Random(key).randbytes(41 + key % 7)


def insightface() -> list[tuple[int, bytes]]:
    """Payloads by key, the header last as InsightFace's packer leaves it."""
    images = [(key, pack_header(2, [float(key // 6), 1.0], key) + body(key)) for key in range(1, PHOTOS + 1)]
    ranges = [(PHOTOS + 1 + n, pack_header(2, [1.0, 2.0], PHOTOS + 1 + n)) for n in range(PEOPLE)]
    return [*images, *ranges, (0, pack_header(2, [PHOTOS + 1.0, PHOTOS + 1.0 + PEOPLE], 0))]


def im2rec(number=lambda key: key) -> list[tuple[int, bytes]]:
    return [(key, pack_header(0, float(key // 6), number(key)) + body(key)) for key in range(PHOTOS)]


def write(path: Path, payloads: list[tuple[int, bytes]], left_out: int | None = None) -> dict[int, int]:
    """Writes them in their order, and an index without `left_out`; returns each key's offset."""
    offsets, data = {}, b""
    for key, payload in payloads:
        offsets[key] = len(data)
        data += frame(payload)
    path.write_bytes(data)
    lines = [f"{key}\t{offset}\n" for key, offset in offsets.items() if key != left_out]
    path.with_suffix(".idx").write_text("".join(lines))
    return offsets


def was_scanned(opened: RecSource) -> bool:
    return not opened._records.span.any()


def faces(opened: RecSource) -> list[tuple[Name, bytes | str]]:
    """Names, and images or why there is none."""
    found = []
    for index in range(len(opened)):
        try:
            found.append((opened.name(index), opened.read(index)))
        except FaceError as error:
            found.append((opened.name(index), error.reason))
    return found


@pytest.mark.parametrize("payloads", [insightface(), im2rec(), im2rec(lambda key: 0), im2rec(lambda key: key + 7)])
def test_a_sound_index_is_believed_and_gives_the_same_faces(tmp_path, monkeypatch, payloads):
    write(tmp_path / "a.rec", payloads)
    whole = RecSource(tmp_path / "a.rec", whole=True)
    monkeypatch.setattr(source, "scan_words", None)
    opened = RecSource(tmp_path / "a.rec")
    assert (opened.layout, opened.refused, len(opened)) == (whole.layout, [], PHOTOS)
    assert faces(opened) == faces(whole)
    assert [opened.where(index) for index in range(PHOTOS)] == [whole.where(index) for index in range(PHOTOS)]


def test_opening_looks_at_a_few_records_alone(tmp_path, monkeypatch):
    write(tmp_path / "a.rec", insightface())
    reads, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *place: reads.append(place) or pread(*place))
    assert len(RecSource(tmp_path / "a.rec")) == PHOTOS
    assert len(reads) <= 2 * 6  # head and padding, of four, the first key and the last
    assert max(size for _, size, _ in reads) == 40


def test_records_that_mxnet_split_are_read_as_by_looking_at_all():
    opened, whole = RecSource(VECTORS), RecSource(VECTORS, whole=True)
    assert not was_scanned(opened)
    assert faces(opened) == faces(whole)


def test_portions_and_copies_look_for_themselves(tmp_path):
    write(tmp_path / "a.rec", insightface())
    opened = RecSource(tmp_path / "a.rec")
    chunk = pickle.loads(pickle.dumps(FaceChunk(opened, [40, 3, 59])))
    assert list(chunk.images()) == [body(41), body(4), body(60)]
    assert faces(pickle.loads(pickle.dumps(opened))) == faces(RecSource(tmp_path / "a.rec", whole=True))


def test_names_are_those_of_all_records_though_few_were_looked_at(tmp_path):
    write(tmp_path / "a.rec", insightface())
    opened, whole = RecSource(tmp_path / "a.rec"), RecSource(tmp_path / "a.rec", whole=True)
    assert opened.names_digest() == whole.names_digest()


def replaced(at: int, new: bytes):
    return lambda record: record[:at] + new + record[at + len(new) :]


LENGTH = 32 + len(body(DAMAGED))  # two labels
DAMAGE = {
    "bad-magic": replaced(2, b"\xff"),
    "bad-flag": replaced(4, struct.pack("<I", 3 << 29 | LENGTH)),
    "bad-length, long": replaced(4, struct.pack("<I", LENGTH + 4)),
    "bad-length, over all": replaced(4, struct.pack("<I", 2**29 - 1)),
    "bad-length, in its padding": replaced(4, struct.pack("<I", LENGTH - 1)),
    "bad-length, parts lead nowhere": replaced(4, struct.pack("<I", 1 << 29 | LENGTH - 4)),
    "bad-index, bytes left": replaced(4, struct.pack("<I", LENGTH - 8)),
    "bad-index, another number": replaced(16, struct.pack("<Q", 5)),
    "bad-header": replaced(8, struct.pack("<I", 2**31)),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_where_a_record_is_used(tmp_path, kind):
    path = tmp_path / "a.rec"
    at = write(path, insightface())[DAMAGED]
    data = path.read_bytes()
    size = len(frame(bytes(LENGTH)))
    assert -LENGTH % 4  # so that a length can be short without another end
    path.write_bytes(data[:at] + DAMAGE[kind](data[at : at + size]) + data[at + size :])
    opened = RecSource(path)
    assert not was_scanned(opened)
    assert opened.refused == []
    found = faces(opened)
    assert found[DAMAGED - 1][1] == kind.partition(",")[0]
    assert [image for _, image in found[: DAMAGED - 1]] == [body(key) for key in range(1, DAMAGED)]
    assert [image for _, image in found[DAMAGED:]] == [body(key) for key in range(DAMAGED + 1, PHOTOS + 1)]
    whole = RecSource(path, whole=True)
    assert whole.remarks if kind == "bad-index, another number" else whole.refused


def test_a_damaged_record_is_nobodys(tmp_path):
    path = tmp_path / "a.rec"
    at = write(path, insightface())[DAMAGED]
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(4))
    assert RecSource(path).name(DAMAGED - 1) == Name(None, str(DAMAGED))


@pytest.mark.parametrize("payloads", [insightface(), im2rec()])
@pytest.mark.parametrize("key", [DAMAGED, PHOTOS - 1, 1, 0])
def test_an_index_that_lacks_a_record_is_not_believed(tmp_path, payloads, key):
    write(tmp_path / "a.rec", payloads, left_out=key)
    opened = RecSource(tmp_path / "a.rec")
    assert was_scanned(opened)
    assert (len(opened), opened.refused) == (PHOTOS, [])
    assert [item.reason for item in opened.remarks] == ["bad-index"]


def test_what_an_index_lacks_at_its_end_is_told_where_the_record_before_is_used(tmp_path):
    payloads = im2rec()
    payloads.insert(DAMAGED, payloads.pop())  # the last key's record stands amid the file
    write(tmp_path / "a.rec", payloads, left_out=PHOTOS - 1)
    opened = RecSource(tmp_path / "a.rec")
    assert [at for at, (_, image) in enumerate(faces(opened)) if image == "bad-index"] == [DAMAGED - 1]
    with pytest.raises(FaceError, match=r"bytes behind it are in no record of the \.idx: without the \.idx"):
        opened.read(DAMAGED - 1)
    assert len(open_source(tmp_path / "a.rec", whole=True)) == PHOTOS


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines, "x"],
        lambda lines: [*lines, lines[0]],
        lambda lines: [lines[0], "2\t0", *lines[2:]],
        lambda lines: [f"{key}\t{int(at) + 4}" for key, at in (line.split() for line in lines)],
        lambda lines: [line + "9" * 12 if number == 5 else line for number, line in enumerate(lines)],
    ],
)
def test_an_index_that_does_not_fit_the_file_is_not_believed(tmp_path, change):
    path = tmp_path / "a.rec"
    write(path, insightface())
    index = path.with_suffix(".idx")
    index.write_text("\n".join(change(index.read_text().splitlines())) + "\n")
    opened = RecSource(path)
    assert was_scanned(opened)
    assert [opened.read(index) for index in range(PHOTOS)] == [body(key) for key in range(1, PHOTOS + 1)]


@pytest.mark.parametrize("cut", [1, 4, 60, 600])
def test_a_file_that_was_cut_is_looked_at_whole(tmp_path, cut):
    path = tmp_path / "a.rec"
    write(path, im2rec())
    os.truncate(path, path.stat().st_size - cut)
    opened = RecSource(path)
    assert was_scanned(opened)
    assert {item.reason for item in opened.refused} == {"truncated-record"}


def test_a_file_cut_while_in_use_ends_no_process(tmp_path):
    path = tmp_path / "a.rec"
    offsets = write(path, im2rec())
    opened = RecSource(path)
    os.truncate(path, offsets[40] + 60)
    assert opened.read(39) == body(39)
    assert [image for _, image in faces(opened)[40:]] == ["truncated-record"] * 20


def test_a_record_of_countless_parts_costs_no_more_than_some(tmp_path, monkeypatch):
    monkeypatch.setattr(indexed, "MOST_PARTS", 50)
    payloads = im2rec()
    payloads[DAMAGED] = (DAMAGED, payloads[DAMAGED][1][:24] + MAGIC_BYTES * 60)
    payloads[7] = (7, payloads[7][1][:24] + MAGIC_BYTES * 40)
    write(tmp_path / "a.rec", payloads)
    found = faces(RecSource(tmp_path / "a.rec"))
    assert found[DAMAGED][1] == "too-large"
    assert found[7] == (Name("1", "7"), MAGIC_BYTES * 40)


def test_ranges_are_no_faces_where_the_header_was_lost(tmp_path):
    """Without the header record what stands at the end might be images without bytes: all of it is looked at."""
    write(tmp_path / "a.rec", insightface()[:-1])
    opened = RecSource(tmp_path / "a.rec")
    assert was_scanned(opened)
    assert len(opened) == PHOTOS
