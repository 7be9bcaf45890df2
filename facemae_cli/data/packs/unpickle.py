"""Reads the pickle of a verification pack without running anything in it.

Only the names that packs need are known: `_codecs.encode` and numpy's `_reconstruct`, `_frombuffer`, `scalar`,
`ndarray` and `dtype`. Behind each stands a stand-in of ours, so that not even numpy's own unpickling sees the file.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from facemae_cli.data.names import one_line

_SAFE_KINDS = "biu"  # truth values and whole numbers
_PLAIN_KIND = re.compile(r"[<>=|]?[A-Za-z?][0-9]{0,4}")
_CORES = ("numpy.core", "numpy._core")


class Refused(Exception):
    """The pickle is broken or asks for something no pack needs; the message says what."""


def load(data: bytes) -> Any:
    """The value of a pickle of any protocol, Python 2's too; its `str` come as bytes, its arrays as numpy arrays.

    Only lists, tuples, dicts, numbers, text, bytes and arrays of whole numbers can be in it.
    Raises Refused, which names what was asked for.
    """
    try:
        return _finished(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except Refused:
        raise
    except Exception as error:  # broken pickles fail in every way there is
        text = " ".join(str(error).split())[:120]
        raise Refused(f"it is not a whole pickle ({type(error).__name__}: {text})") from error


def _load_bytearray(reader: Any) -> None:
    """Protocol 5 holds the bytes of arrays so; plain bytes do, and are not set aside before they are read."""
    (size,) = struct.unpack("<Q", reader.read(8))
    reader.append(reader.read(size))


def _text_keys(code: bytes, first: int) -> Callable[[Any], None]:
    """The opcode `code`, whose keys stand on the stack from `first` on, for keys that are text: to hash a tuple of
    tuples that are one and the same takes as long as the file likes."""
    plain: Callable[[Any], None] = pickle._Unpickler.dispatch[code[0]]

    def load_items(reader: Any) -> None:
        if not all(isinstance(key, str | bytes) for key in reader.stack[first::2]):
            raise Refused("it holds a dict whose keys are not text")
        plain(reader)

    return load_items


def _load_reduce(reader: Any) -> None:
    """Calls one of the functions of `_KNOWN`; Python would spell out what is none of them to say so."""
    function, arguments = reader.stack[-2:]
    if not isinstance(function, _StandIn) or not isinstance(arguments, tuple):
        raise Refused("it calls what is not a function")
    reader.stack[-2:] = [function(*arguments)]


def _refuse_set(reader: Any) -> None:
    raise Refused("it holds a set, which no pack needs")


class _Unpickler(pickle._Unpickler):
    """Python's own reader in Python: the one in C takes as much memory as a file tells it to."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.REDUCE[0]: _load_reduce,
        pickle.SETITEM[0]: _text_keys(pickle.SETITEM, -2),
        pickle.SETITEMS[0]: _text_keys(pickle.SETITEMS, 0),
        pickle.DICT[0]: _text_keys(pickle.DICT, 0),
        **dict.fromkeys(b"".join((pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET)), _refuse_set),
    }

    def find_class(self, module: str, name: str) -> Any:
        for core in _CORES:
            if module.startswith(f"{core}."):
                module = f"numpy.core.{module.removeprefix(core + '.')}"
        if (module, name) not in _KNOWN:
            raise Refused(f"it asks for {one_line(f'{module}.{name}'[:120])}, which no pack needs")
        return _KNOWN[module, name]

    def get_extension(self, code: int) -> None:
        """A number in place of a name: what it stands for is looked up in tables of the process."""
        raise Refused(f"it asks for extension {code}, which no pack needs")

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it refers to objects outside the file")


class _StandIn:
    """Something a pickle may call, and nothing else: no attribute of it can be set from the file."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise Refused("it tries to change one of the functions it may call")


class _Kind:
    """A numpy dtype on its way in: only what is needed to read whole numbers, and lists that are arrays of objects."""

    __slots__ = ("dtype", "objects")

    def __init__(self, code: str | bytes, *_: Any) -> None:
        if not isinstance(code, str | bytes):
            raise Refused("it holds an array of no plain kind")
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not _PLAIN_KIND.fullmatch(text):  # numpy parses more, and with Python's own compiler
            raise Refused(f"it holds an array of {one_line(text[:40])}, not of whole numbers")
        self.objects = text.lstrip("<>=|") in ("O", "O4", "O8")
        self.dtype = np.dtype(np.uint8 if self.objects else text)
        if self.dtype.kind not in _SAFE_KINDS:
            raise Refused(f"it holds an array of {self.dtype}, not of whole numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in (">", b">"):
            self.dtype = self.dtype.newbyteorder(">")

    def array(self, data: bytes, shape: Any, order: str) -> np.ndarray:
        if self.objects:
            raise Refused("it holds an array of objects in place of bytes")
        value = np.frombuffer(data, self.dtype).reshape(shape, order=order)  # type: ignore[call-overload]
        if value.ndim > 1 and not value.size:  # it can be as long as the file likes, and lists of it are
            raise Refused("it holds an array of nothing in several dimensions")
        return value


class _Array:
    """A numpy array on its way in, filled by the pickle's BUILD."""

    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | list[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, data = state
        if isinstance(kind, _Kind) and kind.objects:
            self.value = _objects(data, shape, bool(is_fortran))
        else:
            self.value = kind.array(data, shape, "F" if is_fortran else "C")


def _objects(data: Any, shape: Any, is_fortran: bool) -> list[Any]:
    """An array of objects as the list it is, row by row."""
    if not isinstance(data, list) or not isinstance(shape, tuple) or not all(isinstance(n, int) for n in shape):
        raise Refused("it holds an array of objects that is not a list of them")
    if len(shape) > 2 or math.prod(shape) != len(data) or (is_fortran and min(shape, default=1) > 1):
        raise Refused(f"it holds {len(data)} objects as an array of the shape {str(shape)[:40]}")
    return data


def _finished(value: Any) -> Any:
    """The value with arrays in place of their stand-ins, as deep as a pack goes: `(images, issame)`."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, list | tuple):
        once = {id(item): item for item in value}  # a list that is in it many times is read once
        done = {key: _finished_item(item) for key, item in once.items()}
        return type(value)(done[id(item)] for item in value)
    return value


def _finished_item(value: Any) -> Any:
    value = value.value if isinstance(value, _Array) else value
    if isinstance(value, list | tuple):
        return type(value)(item.value if isinstance(item, _Array) else item for item in value)
    return value


def _encode(text: str, encoding: str | bytes = "latin1") -> bytes:
    """How Python 3 writes bytes in the protocols of Python 2."""
    if not isinstance(encoding, str | bytes) or encoding not in ("latin1", b"latin1"):
        shown = repr(str(encoding)[:40]) if isinstance(encoding, str | bytes) else f"in a {type(encoding).__name__}"
        raise Refused(f"it asks for the codec {shown}, which no pack needs")
    return text.encode("latin1")


_KNOWN = {
    ("_codecs", "encode"): _StandIn(_encode),
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_Array),
    ("numpy.core.multiarray", "scalar"): _StandIn(lambda kind, data: kind.array(data, (), "C")[()]),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(lambda data, kind, shape, order: kind.array(data, shape, order)),
    ("numpy", "ndarray"): _StandIn(_Array),
    ("numpy", "dtype"): _StandIn(_Kind),
}
