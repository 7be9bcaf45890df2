"""Ways in which pickles are known to run code: each is refused by the name of what it asks for, and nothing is run."""

from __future__ import annotations

import copyreg
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.gadgets import CALLABLES

from facemae_cli.data.packs.source import open_pack
from facemae_cli.data.packs.unpickle import Refused, load
from facemae_cli.errors import InputError


def glob(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stacked(module: str, name: str) -> bytes:
    """STACK_GLOBAL, whose names come from the memo, put there piece by piece under numbers of several forms."""
    pieces = b"".join(
        b"\x8c" + bytes([len(text)]) + text.encode() + put
        for text, put in ((module, b"r\xff\x01\0\0"), (name, b"q\x07"))
    )
    return pieces + b"00" + b"j\xff\x01\0\0" + b"h\x07" + b"\x93"


ARGUMENT = b"(S'echo run > run'\n"
# Each way to get hold of something and to call it: what stands before and behind the name.
WAYS: dict[str, Any] = {
    "GLOBAL and REDUCE": lambda m, n: glob(m, n) + ARGUMENT + b"tR.",
    "GLOBAL alone": lambda m, n: glob(m, n) + b".",
    "STACK_GLOBAL by the memo": lambda m, n: b"\x80\x04" + stacked(m, n) + ARGUMENT + b"tR.",
    "INST": lambda m, n: ARGUMENT + f"i{m}\n{n}\n.".encode(),
    "OBJ": lambda m, n: b"(" + glob(m, n) + ARGUMENT[1:] + b"o.",
    "NEWOBJ": lambda m, n: b"\x80\x02" + glob(m, n) + ARGUMENT + b"t\x81.",
    "NEWOBJ_EX": lambda m, n: b"\x80\x04" + glob(m, n) + ARGUMENT + b"t}\x92.",
    "BUILD that sets __setstate__": lambda m, n: glob(m, n) + b")R}S'__setstate__'\n" + glob(m, n) + b"sb.",
    "behind a POP, thrown away": lambda m, n: glob(m, n) + ARGUMENT + b"tR0]" + b".",
    "as an argument of what is known": lambda m, n: glob("_codecs", "encode") + b"(" + glob(m, n) + b"tR.",
    "as the state of an array": lambda m, n: glob("numpy", "ndarray") + b")R(K\x01)" + glob(m, n) + b"\x89U\x00tb.",
    "nested in a pickle that is text": lambda m, n: (
        glob("pickle", "loads") + b"(" + b"C" + bytes([len(glob(m, n)) + 2]) + glob(m, n) + b")." + b"tR."
    ),
}


@contextmanager
def nothing_happens() -> Iterator[None]:
    """Fails where the interpreter tells of an import, a file, a process, code or a global of a pickle meanwhile."""
    _Heard.events = []
    try:
        yield
    finally:
        heard, _Heard.events = _Heard.events, None
    assert [event for event in heard if event.partition(".")[0] in LOUD or event in LOUD] == []


LOUD = {
    "import", "exec", "compile", "open", "os", "subprocess", "socket", "shutil", "ctypes", "webbrowser", "marshal",
    "pickle", "code.__new__", "function.__new__", "builtins", "glob", "tempfile", "urllib", "sys._getframe",
}  # fmt: skip


class _Heard:
    """Audit hooks stay for good, so this one listens only while it is asked to."""

    events: list[str] | None = None
    hooked = False


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if _Heard.events is not None:
        _Heard.events.append(event)


@pytest.fixture(autouse=True)
def _hook() -> None:
    if not _Heard.hooked:
        load(b"(lVone\na.")  # imports what reads text
        sys.addaudithook(_hear)
        _Heard.hooked = True


def refused(data: bytes) -> str:
    with nothing_happens(), pytest.raises(Refused) as caught:
        load(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_audit_hears_what_a_pickle_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own reader runs each of the ways with a harmless function, and that is noticed."""
    monkeypatch.chdir(tmp_path)
    for way in ("GLOBAL and REDUCE", "STACK_GLOBAL by the memo", "INST", "OBJ"):
        with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_happens():
            assert pickle.loads(WAYS[way]("os.path", "basename")) == "echo run > run"


@pytest.mark.parametrize("way", WAYS)
def test_every_known_gadget_is_refused_by_name(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.chdir(tmp_path)
    for gadget in CALLABLES:
        module, _, name = gadget.rpartition(".")
        asked = "pickle.loads" if way.startswith("nested") else gadget.replace("numpy._core", "numpy.core")
        assert refused(WAYS[way](module, name)) == f"it asks for {asked}, which no pack needs"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("module", "name"), [("os", "path.join"), ("numpy", "core.multiarray._reconstruct"), ("", "")])
def test_names_with_dots_reach_into_nothing(module: str, name: str) -> None:
    assert refused(b"\x80\x04" + stacked(module, name) + b".") == f"it asks for {module}.{name}, which no pack needs"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8c\x02osq\x00K\x01\x93.",  # STACK_GLOBAL of a name that is a number
        b"\x80\x04]]\x93.",
        b"cos\nsys",  # names cut short
        b"\x80\x02\x82\x01.",  # EXT1, EXT2, EXT4
        b"\x80\x02\x83\x01\x00.",
        b"\x80\x02\x84\x01\x00\x00\x00.",
        b"Pid\n.",  # PERSID, BINPERSID
        b"U\x02idQ.",
        b"\x80\x05\x97.",  # a buffer from outside
        b"\x80\x05N\x98.",
        b"c_codecs\nencode\n}S'__code__'\nNsb.",  # attributes of what may be called
        b"c_codecs\nencode\n(N}S'_call'\nNstb.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR](I1\netR.",  # an object as a number
        b"cnumpy\ndtype\n(S'V8'\nI00\nI01\ntR.",  # records
        b"cnumpy\ndtype\n(S'(2,)O'\nI00\nI01\ntR.",  # text that numpy hands to Python's compiler
        b"cnumpy\ndtype\n(S'" + b"(" * 90 + b"'\nI00\nI01\ntR.",
        b"cnumpy\ndtype\n(S'i4,O'\nI00\nI01\ntR.",
        b"](S'append'\nNtb.",  # BUILD on plain values
        b"]}S'append'\nNsb.",
        b"c_codecs\nencode\n)\x81.",  # NEWOBJ of what is no class
        b"(S'x'\nS'zlib'\nt" + b"R.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"c_codecs\nencode\n(Vx\nVhex\ntR.",
        b"c_codecs\nencode\n(Vx\nVunicode_escape\ntR.",
    ],
)
def test_what_else_a_pickle_can_say_does_nothing(data: bytes) -> None:
    refused(data)


def test_an_extension_that_a_library_registered_is_refused_even_where_it_was_used_before() -> None:
    """A number in place of a name: looked up in tables of the process, which other code fills."""
    code = 0xF3
    copyreg.add_extension("os.path", "basename", code)
    try:
        asked = b"\x80\x02\x82" + bytes([code]) + b"(S'a/b'\ntR."
        assert pickle.loads(asked) == "b"  # now it is in the cache, too
        pickle._extension_cache[code] = eval  # type: ignore[attr-defined]
        assert refused(asked) == f"it asks for extension {code}, which no pack needs"
    finally:
        copyreg.remove_extension("os.path", "basename", code)
        copyreg.clear_extension_cache()


def test_a_pack_that_runs_something_is_one_line_for_a_person(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = b"\x80\x04]" + WAYS["GLOBAL and REDUCE"]("os", "system")[:-1] + b"\x86."
    (tmp_path / "evil.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"^\S*evil\.bin [^\n]*it asks for os\.system, which no pack needs[^\n]*$"):
        open_pack(tmp_path / "evil.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.bin"]


def test_depth_and_memo_take_neither_the_stack_nor_memory() -> None:
    refused(b"(" * 100_000 + b".")
    refused(b"]" * 100_000 + b"a" * 99_999 + b"R.")
    refused(b"\x80\x04" + b"N\x94" * 1000 + b"j" + struct.pack("<I", 2**32 - 1) + b".")
