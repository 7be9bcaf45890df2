"""The files beside a `.rec`."""

from __future__ import annotations

import pytest

from facemae_cli.data.recordio.sidecars import Property, parse_index, parse_property, read_sidecar, rec_file, sidecar


def test_where_sidecars_stand(tmp_path):
    faces, train = tmp_path / "faces.rec", tmp_path / "train.rec"
    assert sidecar(faces, "idx") == tmp_path / "faces.idx"
    assert sidecar(faces, "property") == tmp_path / "faces.property"
    assert sidecar(train, "property") == tmp_path / "property"
    (tmp_path / "property").write_text("1,2,3\n")
    assert sidecar(faces, "property") == tmp_path / "property"
    (tmp_path / "train.property").write_text("1,2,3\n")
    assert sidecar(train, "property") == tmp_path / "train.property"
    assert rec_file(tmp_path) == train
    assert rec_file(faces) == faces


def test_a_sidecar_that_is_not_there(tmp_path):
    (tmp_path / "a.idx").mkdir()
    assert read_sidecar(tmp_path / "a.rec", "idx") is None
    assert read_sidecar(tmp_path / "b.rec", "idx") is None


@pytest.mark.parametrize("text", [b"3\t120\n1\t0\n", b"3\t120\n1\t0", b"3\t120\r\n1\t0\r\n"])
def test_index_in_its_own_order(text):
    index = parse_index(text)
    assert (index.keys.tolist(), index.offsets.tolist(), index.bad_lines) == ([3, 1], [120, 0], [])


def test_an_empty_index():
    assert len(parse_index(b"").keys) == 0


def test_index_with_broken_lines():
    text = b"1\t0\nx\t5\n2\t12\x0b3\t40\n\n4 50\n5\t-6\n6\t60\n7\t99999999999999999999\n"
    index = parse_index(text)
    assert (index.keys.tolist(), index.offsets.tolist()) == ([1, 6], [0, 60])
    assert [at for at, _ in index.bad_lines] == [4, 8, 19, 24, 34]
    assert text[24:28] == b"5\t-6"


def test_numbers_that_64_bits_do_not_hold_are_no_keys():
    index = parse_index(b"99999999999999999999\t0\n1\t40\n")
    assert (index.keys.tolist(), index.offsets.tolist()) == ([1], [40])
    assert index.bad_lines == [(0, "99999999999999999999\t0")]


def test_numbers_that_fall_on_other_lines_are_not_paired():
    index = parse_index(b"1\n2\t3\t4\n")
    assert (len(index.keys), [at for at, _ in index.bad_lines]) == (0, [0, 2])


def test_binary_index():
    index = parse_index(bytes(range(256)))
    assert len(index.keys) == 0
    assert len(index.bad_lines) == 2


def test_property():
    assert parse_property(b"85742,112,96\n") == Property(85742, 112, 96)
    assert parse_property(b" 5 , 112 , 112\r\nsecond line, whatever\n") == Property(5, 112, 112)
    assert parse_property(b"") is None
    assert parse_property(b"5,112\n") is None
    assert parse_property(b"five,112,112\n") is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_a_sidecar(tmp_path, encoding):
    (tmp_path / "a.idx").write_text("5\t16\n2\t0\n", encoding=encoding)
    (tmp_path / "a.property").write_text("9,112,112\n", encoding=encoding)
    index = parse_index(read_sidecar(tmp_path / "a.rec", "idx"))
    assert (index.keys.tolist(), index.offsets.tolist(), index.bad_lines) == ([5, 2], [16, 0], [])
    stated = parse_property(read_sidecar(tmp_path / "a.rec", "property"))
    assert stated == Property(9, 112, 112)
