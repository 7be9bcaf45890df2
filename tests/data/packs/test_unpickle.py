"""The pickle of a pack: every way packs were written is read, nothing in it is run."""

from __future__ import annotations

import os
import pickle
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from facemae_cli.data.packs import unpickle
from facemae_cli.data.packs.unpickle import Refused, load

IMAGES = [b"\xff\xd8one", b"\x89PNG\x00two"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("same", [[True], (True, False), np.array([True, False]), [np.bool_(True), np.int64(0)]])
def test_every_protocol(protocol: int, same: Any):
    images, found = load(pickle.dumps((IMAGES, same), protocol))
    assert images == IMAGES
    assert [bool(one) for one in found] == [bool(one) for one in same]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4", "?"])
def test_arrays_of_every_protocol(protocol: int, kind: str):
    array = np.arange(6).reshape(2, 3).astype(kind)
    for value in (array, np.asfortranarray(array)):
        images, _ = load(pickle.dumps(([value], [True]), protocol))
        assert np.array_equal(images[0], array)


def test_python_2():
    """As Python 2.7 wrote it: bytes as BINSTRING, numpy's names of then, text as bytes."""
    image = b"\xff\xd8" + bytes(range(256))
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85q\x03U\x01bq\x04\x87q\x05Rq\x06"
        b"(K\x01K\x02\x85q\x07cnumpy\ndtype\nq\x08U\x02b1q\x09K\x00K\x01\x87q\x0aRq\x0b(K\x03U\x01|q\x0cNNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0db\x89U\x02\x01\x00q\x0etq\x0fb"
    )
    data = b"\x80\x02]T" + struct.pack("<I", len(image)) + image + b"aU\x03twoa" + array + b"\x86."
    images, same = load(data)
    assert images == [image, b"two"]
    assert same.tolist() == [True, False]
    assert load(b"((lp0\nS'\\xff\\xd8'\np1\na(lp2\nI01\natp3\n.") == ([b"\xff\xd8"], [True])


class Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Call(os.system, "touch run"), "system"),
        (Call(eval, "1"), "eval"),
        (Call(getattr, 1, "real"), "getattr"),
        (Call(np.load, "x.npy"), "numpy.load"),
        (Call(np.frombuffer, b"x"), "frombuffer"),
        (np.float64(1), "float64"),
    ],
)
def test_all_else_is_refused_by_name(tmp_path, monkeypatch, protocol, value, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match=name):
        load(pickle.dumps(([value], [True]), protocol))
    assert os.listdir(tmp_path) == []


def test_codecs_other_than_latin1():
    assert load(b"c_codecs\nencode\n(V\xff\nVlatin1\ntR.") == b"\xff"
    with pytest.raises(Refused, match="codec 'zlib'"):
        load(b"c_codecs\nencode\n(Vx\nVzlib\ntR.")


def test_the_functions_it_may_call_stay_as_they_are():
    with pytest.raises(Refused, match="change one of the functions"):
        load(b"c_codecs\nencode\n(N}V_call\nNstb.")
    assert load(b"c_codecs\nencode\n(Vx\nVlatin1\ntR.") == b"x"


def test_arrays_of_objects_are_the_lists_they_hold():
    images = np.array([b"x", np.arange(3, dtype="u1")], object)
    found, same = load(pickle.dumps((images, np.array([True, None], object))))
    assert (found[0], found[1].tolist(), same) == (b"x", [0, 1, 2], [True, None])


def test_an_array_of_objects_has_as_many_as_its_shape_says():
    state = pickle.dumps(np.array([1, 2, 3], object), 2)
    assert load(state) == [1, 2, 3]
    with pytest.raises(Refused, match=r"3 objects as an array of the shape \(4,\)"):
        load(state.replace(b"K\x01K\x03\x85", b"K\x01K\x04\x85"))
    with pytest.raises(Refused, match="float64"):
        load(pickle.dumps(np.array([np.float64(1)], object)))


def test_a_list_that_is_in_it_many_times_is_read_once(monkeypatch: pytest.MonkeyPatch):
    """Otherwise 40 kB of references would be copied to 400 million, or looked through as often."""
    read: list[Any] = []
    finished = unpickle._finished_item
    monkeypatch.setattr(unpickle, "_finished_item", lambda item: read.append(item) or finished(item))
    inner = [b""] * 20_000
    found = load(pickle.dumps([inner] * 20_000))
    assert (len(found), found[0] is found[-1], len(read)) == (20_000, True, 1)


@pytest.mark.parametrize("use", [b"}h\x09K\x01s", b"}(h\x09K\x01u", b"(h\x09K\x01d", b"\x8f(h\x09\x90", b"(h\x09\x91"])
def test_keys_that_take_for_ever_to_hash(use: bytes):
    """A tuple that holds one twice which holds one twice...: 250 bytes, and 2^60 steps to hash it."""
    tuples = b")q\x09" + b"h\x09h\x09\x86q\x09" * 60
    with pytest.raises(Refused, match=r"dict whose keys are not text|set"):
        load(b"\x80\x04" + tuples + use + b".")


@pytest.mark.parametrize("call", [b"", b"cnumpy\nndarray\n%sR", b"cnumpy\nndarray\n%s\x81"])
def test_an_array_of_nothing_is_not_spread_over_memory(call: bytes):
    """As arguments of a call it would become a tuple of 2^29."""
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    array = b"cnumpy.core.numeric\n_frombuffer\n(C\x00" + kind + b"(J\x00\x00\x00\x20K\x02K\x00tU\x01CtR"
    with pytest.raises(Refused, match="array of nothing"):
        load(b"\x80\x04" + (call.replace(b"%s", array) or array) + b".")


def test_what_is_called_is_a_function():
    tuples = b")q\x09" + b"h\x09h\x09\x86q\x09" * 60
    for called in (tuples + b"NR.", tuples + b")R.", b"c_codecs\nencode\nNR."):
        with pytest.raises(Refused, match="calls what is not a function"):
            load(b"\x80\x04" + called)


def test_names_and_kinds_that_are_no_plain_text():
    with pytest.raises(Refused, match=r"asks for a\\nb\.c, which") as caught:
        load(b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.")
    assert "\n" not in str(caught.value)
    with pytest.raises(Refused, match="no plain kind"):
        load(b"cnumpy\ndtype\n(]K\x00K\x01tR.")
    with pytest.raises(Refused, match="codec in a list"):
        load(b"c_codecs\nencode\n(Vx\n]tR.")


def test_numbers_in_the_file_take_no_memory():
    """A memo slot of 2^32 and byte strings of 2^40: the reader in C would set memory aside for them."""
    assert load(b"\x80\x04Nr\xff\xff\xff\xff.") is None
    for code in (b"\x8e", b"\x96"):
        with pytest.raises(Refused):
            load(b"\x80\x05" + code + struct.pack("<Q", 2**40) + b"short.")


@pytest.mark.parametrize("data", [b"", b"no pickle", b"\x80\x04]", b"Pid\n.", b"\x80\x05\x97.", b"(lp0\n", b"R."])
def test_broken(data: bytes):
    with pytest.raises(Refused):
        load(data)


def test_every_cut_and_flip_ends_in_data_or_refusal():
    data = pickle.dumps((IMAGES, np.array([True])), 4)
    for at in range(len(data)):
        for damaged in (data[:at], data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]):
            with suppress(Refused):
                load(damaged)


def test_names_known_are_the_six_of_the_design():
    assert sorted(name for _, name in unpickle._KNOWN) == [
        "_frombuffer",
        "_reconstruct",
        "dtype",
        "encode",
        "ndarray",
        "scalar",
    ]
