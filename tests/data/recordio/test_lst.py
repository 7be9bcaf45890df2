"""Both dialects of `.lst`, and names that need care."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.data.recordio.lst import Lst, line


def opened(folder: Path, text: bytes) -> Lst:
    path = folder / "a.lst"
    path.write_bytes(text)
    return Lst(path)


def test_im2rec_lines_by_key(tmp_path):
    names = opened(tmp_path, b"12\t1.000000\tbob/1.jpg\n3\t0\tann/b/2.png\r\n7\t-1\tloose.jpg")
    assert (names.dialect, len(names)) == ("im2rec", 3)
    assert names.name(3, 0.0) == Name("ann/b", "2.png")
    assert names.name(12, 1.0) == Name("bob", "1.jpg")
    assert names.name(7, -1.0) == Name(None, "loose.jpg")
    assert names.name(4, 0.0) is None


def test_im2rec_with_many_labels(tmp_path):
    names = opened(tmp_path, b"0\t5\t0.25\t-3\tann/1.jpg\n")
    assert names.name(0, 5.0) == Name("ann", "1.jpg")


def test_a_line_of_another_label_names_nobody(tmp_path):
    assert opened(tmp_path, b"1\t2\tann/1.jpg\n").name(1, 3.0) is None


def test_a_label_that_no_float32_holds_names_nobody(tmp_path, recwarn):
    names = opened(tmp_path, b"1\t" + b"9" * 40 + b"\tann/1.jpg\n2\t0\tann/2.jpg\n")
    assert (names.name(1, 0.0), names.name(2, 0.0)) == (None, Name("ann", "2.jpg"))
    assert not recwarn.list


def test_insightface_lines_are_counted_from_one(tmp_path):
    boxes = b"0\tann/2.jpg\t0" + 4 * b"\t9" + b"\n"
    landmarks = b"0\tann/3.jpg\t0" + 14 * b"\t9" + b"\n"
    names = opened(tmp_path, b"1\tann/1.jpg\t0\n" + boxes + landmarks + b"1\tbob/1.jpg\t1\n")
    assert (names.dialect, len(names)) == ("insightface", 3)  # the one with a box alone was not packed
    assert [names.name(key, label) for key, label in [(1, 0.0), (2, 0.0), (3, 1.0)]] == [
        Name("ann", "1.jpg"),
        Name("ann", "3.jpg"),
        Name("bob", "1.jpg"),
    ]
    assert names.name(0, 0.0) is None


def test_absolute_paths_lose_what_all_share(tmp_path):
    lines = [b"1\t/data/raw/a/ann/1.jpg\t0", b"1\t/data/raw/b/ann/1.jpg\t1"]
    names = opened(tmp_path, b"\n".join(lines))
    assert names.name(1, 0.0) == Name("a/ann", "1.jpg")
    assert names.name(2, 1.0) == Name("b/ann", "1.jpg")
    one = opened(tmp_path, b"1\t/data/raw/ann/1.jpg\t0\n1\t/data/raw/bob/1.jpg\t1\n")
    assert one.name(2, 1.0) == Name("bob", "1.jpg")


@pytest.mark.parametrize(
    "path", ["ann/", "a/b/..", "..", "/", "", "a/%00b.jpg", "ann\\", "a//b.jpg", "a/../b.jpg", "a/./b.jpg", "a%2Fb/.."]
)
def test_paths_that_lead_elsewhere_name_nobody(tmp_path, path):
    assert opened(tmp_path, b"1\t2\t" + path.encode() + b"\n").name(1, 2.0) is None


@pytest.mark.parametrize("path", ["./ann/1.jpg", "ann\\1.jpg", ".\\ann\\1.jpg"])
def test_paths_by_another_way_are_those_people(tmp_path, path):
    names = opened(tmp_path, b"1\t2\t" + path.encode() + b"\n3\t2\tann/2.jpg\n")
    assert names.name(1, 2.0) == Name("ann", "1.jpg")


@pytest.mark.parametrize(
    "lines",
    [
        (r"C:\faces\raw\ann\1.jpg", r"C:\faces\raw\bob\1.jpg"),
        (r"..\raw\ann\1.jpg", r"..\raw\bob\1.jpg"),
        ("../raw/ann/1.jpg", "../raw/bob/1.jpg"),
        ("../../ann/1.jpg", "../../bob/1.jpg"),
        (r"\\server\share\ann\1.jpg", r"\\server\share\bob\1.jpg"),
    ],
)
def test_paths_of_windows_and_from_beside_lose_what_all_share(tmp_path, lines):
    names = opened(tmp_path, "".join(f"{key}\t0\t{path}\n" for key, path in enumerate(lines, 1)).encode())
    assert [names.name(key, 0.0) for key in (1, 2)] == [Name("ann", "1.jpg"), Name("bob", "1.jpg")]


def test_paths_of_several_kinds_name_those_that_stay_inside(tmp_path):
    """Nothing leads out of an output, and nobody takes another's name, whatever stands there."""
    paths = ["ann/1.jpg", "/data/ann/1.jpg", "../../ann/1.jpg", "../../../etc/passwd"]
    names = opened(tmp_path, "".join(f"{key}\t0\t{path}\n" for key, path in enumerate(paths)).encode())
    assert [names.name(key, 0.0) for key in range(4)] == [Name("ann", "1.jpg"), None, None, None]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path, encoding):
    names = opened(tmp_path, "1\t0\tZoë/1.jpg\n2\t1\tbob/1.jpg\n".encode(encoding))
    assert (names.dialect, len(names)) == ("im2rec", 2)
    assert (names.name(1, 0.0), names.name(2, 1.0)) == (Name("Zoë", "1.jpg"), Name("bob", "1.jpg"))


def test_lines_without_sense_name_nobody(tmp_path):
    names = opened(
        tmp_path, b"1\t0\tann/1.jpg\nx\t0\tbob/1.jpg\n3\n\n4\tz\tcy/1.jpg\n99999999999999999999\t0\td/1.jpg\n"
    )
    assert [names.name(key, 0.0) for key in (1, 2, 3, 4, -1)] == [Name("ann", "1.jpg"), None, None, None, None]
    assert len(opened(tmp_path, b"")) == 0


def test_a_written_line():
    assert line(7, 3, Name("ann", "1.jpg")) == b"7\t3\tann/1.jpg\n"
    assert line(7, -1, Name(None, "1.jpg")) == b"7\t-1\t1.jpg\n"
    assert line(7, 12345678, Name("a", "b")) == b"7\t12345678\ta/b\n"
    assert line(7, 0, Name("a\\b", "%5C.jpg")) == b"7\t0\ta%5Cb/%255C.jpg\n"
    assert line(7, 0.5, Name("a", "new\nline\t%0A 50%")) == b"7\t0.5\ta/new%0Aline%09%250A 50%\n"


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_any_name_comes_back(tmp_path_factory, parts):
    parts = [part if part not in (".", "..") else "x" for part in parts]
    name = Name("/".join(parts[:-1]) or None, parts[-1])
    text = line(1, 0, Name("z", "z")) + line(2, 5, name)
    names = opened(tmp_path_factory.mktemp("lst"), text)
    assert names.name(2, 5.0) == name
    assert names.name(1, 0.0) == Name("z", "z")


def test_undecodable_bytes_come_back(tmp_path):
    text = b"1\t0\tann/\xff.jpg\n"
    name = opened(tmp_path, text).name(1, 0.0)
    assert name is not None
    assert line(1, 0, name) == text


def test_an_open_lst_travels_to_another_process(tmp_path):
    names = opened(tmp_path, b"1\t0\tann/1.jpg\n")
    assert pickle.loads(pickle.dumps(names)).name(1, 0.0) == Name("ann", "1.jpg")
