"""Inputs for the reader of a `.bin`: pickles put together from opcodes, of every protocol, sound and hostile."""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random
from typing import Any

import numpy as np
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, nudged, number, reorder

from facemae_cli.data.packs.source import open_pack, pack_bytes
from facemae_cli.errors import FaceError

_IMAGES = [b"\xff\xd8one", b"\x89PNG two", b"\xff\xd8one", b""]
_NAMES = (
    *("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy.core.multiarray scalar"),
    *(
        "numpy ndarray",
        "numpy dtype",
        "_codecs encode",
        "numpy._core.numeric _frombuffer",
        "numpy.core.numeric _frombuffer",
    ),
    *("os system", "builtins eval", "builtins getattr", "posix system", "numpy load", "numpy.core.multiarray fromfile"),
    *(
        "copyreg _reconstructor",
        "__builtin__ bytes",
        "collections OrderedDict",
        "functools partial",
        "a.b c.d",
        "nt system",
    ),
)
_TYPES = (
    "u1",
    "i8",
    "b1",
    "f8",
    "O8",
    "V8",
    "u1,u1",
    "(9,)u1",
    "(1000000000,)u1",
    "M8[s]",
    "S4",
    "?",
    "x",
    "",
    "i" * 99,
)
# What one more opcode may be; numbers, text and names are put in when it is made.
_BARE = b"(.0123NaRbdet]}lospu\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94\x97\x98QP)"
_WIDTHS = {1: b"K\x8aCU\x8cqh", 2: b"M", 4: b"J\x8bBTXrj", 8: b"\x8e\x8d\x95\x96"}  # of lengths and numbers


@cache
def _seeds() -> list[bytes]:
    arrays = [np.frombuffer(image, np.uint8) for image in _IMAGES]
    packs = [pack_bytes(_IMAGES, [True, False])]
    packs += [pickle.dumps((_IMAGES, [True, False]), protocol) for protocol in range(6)]
    packs += [
        pickle.dumps((arrays, np.array([1, 0], kind)), protocol)
        for kind, protocol in (("?", 0), ("<i8", 2), (">i4", 5))
    ]
    packs += [pickle.dumps((np.zeros((2, 5), np.uint8), [np.bool_(True)]), protocol) for protocol in (2, 4, 5)]
    python2 = b"\x80\x02]T" + struct.pack("<I", 5) + b"\xff\xd8twoU\x03oneae]\x88a\x86."
    return [*packs, python2, b"((lp0\nS'\\xff\\xd8'\np1\nag1\na(lp2\nI01\natp3\n."]


@lru_cache(4096)
def _opcodes(data: bytes) -> list[bytes]:
    """The opcodes of a pickle, each with its argument, as far as there are any, and what comes then."""
    starts = []
    try:
        for _, _, at in pickletools.genops(data):
            starts.append(at or 0)
    except Exception:  # it is no whole pickle, and need not be one
        pass
    starts = starts or [0]
    ends = [*starts[1:], len(data)]
    return [data[start:end] for start, end in zip(starts, ends, strict=True)]


def _edit_order(random: Random, data: bytes) -> bytes:
    return b"".join(reorder(random, list(_opcodes(data))))


def _edit_insert(random: Random, data: bytes) -> bytes:
    opcodes = list(_opcodes(data))
    at = random.randrange(len(opcodes) + 1)
    opcodes[at:at] = [_opcode(random) for _ in range(random.choice((1, 1, 2, 4)))]
    return b"".join(opcodes)


def _edit_replace(random: Random, data: bytes) -> bytes:
    opcodes = list(_opcodes(data))
    at = random.randrange(len(opcodes))
    opcodes[at] = _opcode(random)
    return b"".join(opcodes)


def _edit_argument(random: Random, data: bytes) -> bytes:
    """Another length or number after an opcode, what follows it unchanged."""
    opcodes = list(_opcodes(data))
    at = random.randrange(len(opcodes))
    code, argument = opcodes[at][:1], opcodes[at][1:]
    width = {b"K": 1, b"M": 2, b"J": 4, b"\x8a": 1, b"\x8b": 4, b"C": 1, b"B": 4, b"\x8e": 8, b"U": 1, b"T": 4}.get(
        code
    )
    width = width or {b"\x8c": 1, b"X": 4, b"\x8d": 8, b"\x95": 8, b"\x96": 8, b"q": 1, b"r": 4, b"h": 1, b"j": 4}.get(
        code
    )
    if width is None:
        return _edit_replace(random, data)
    old = int.from_bytes(argument[:width], "little")
    opcodes[at] = code + nudged(random, old, 8 * width).to_bytes(width, "little") + argument[width:]
    return b"".join(opcodes)


def _edit_name(random: Random, data: bytes) -> bytes:
    """Another name that is asked for, or another dtype."""
    old, new = random.choice(_NAMES[:8]).split(), random.choice(_NAMES).split()
    if random.random() < 0.3:
        kind = random.choice(_TYPES).encode()
        return data.replace(b"\x8c\x02u1", b"\x8c" + bytes([len(kind)]) + kind).replace(b"U\x02u1", b"U\x02" + kind)
    by_line = data.replace("\n".join(old).encode(), "\n".join(new).encode())
    return by_line if by_line != data else data.replace(old[-1].encode(), new[-1].encode())


def _opcode(random: Random) -> bytes:
    """One opcode with an argument."""
    kind = random.randrange(9)
    if kind < 3:
        return bytes([random.choice(_BARE)])
    if kind == 3:
        return random.choice((b"h", b"q")) + bytes([random.randrange(8)])
    if kind == 4:
        return random.choice((b"J" + number(random, 32).to_bytes(4, "little"), b"I%d\n" % number(random, 64), b"K\x01"))
    if kind == 5:
        long = number(random, 64).to_bytes(8, "little") * random.choice((1, 1, 31))
        return random.choice((b"\x8a" + bytes([len(long)]) + long, b"\x8b" + struct.pack("<i", 3000) + b"\x01" * 3000))
    if kind == 6:
        return b"c" + random.choice(_NAMES).replace(" ", "\n").encode() + b"\n"
    if kind == 7:
        text = random.choice((*_TYPES, "latin1", "|", ">", "C", "x" * 60)).encode()
        return random.choice((b"\x8c", b"U", b"C")) + bytes([len(text)]) + text
    return random.choice((_laughter, _shape, _depth))(random)


def _laughter(random: Random) -> bytes:
    """A value that holds one value twice, which holds one twice...: small, but not to whoever spells it out."""
    start, pair = random.choice(((b"]", b"(h\x09h\x09l"), (b")", b"h\x09h\x09\x86"), (b"C\x01x", b"h\x09h\x09\x86")))
    use = random.choice((b"", b"", b"}h\x09K\x01s", b"\x8f(h\x09\x90", b"(h\x09\x91", b"(h\x09K\x01d"))
    return start + b"q\x09" + (pair + b"q\x09") * random.choice((3, 30, 60)) + use


def _shape(random: Random) -> bytes:
    """An array of bytes whose shape is far from what it holds."""
    shape = b"".join(b"\x8a\x08" + number(random, 63).to_bytes(8, "little") for _ in range(random.choice((1, 2, 2, 3))))
    shape += random.choice((b"", b"K\x00"))
    body = random.choice((b"C\x00", b"C\x04abcd", b"\x96" + bytes(8)))
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    return b"cnumpy.core.numeric\n_frombuffer\n(" + body + kind + b"(" + shape + b"tU\x01CtR"


def _depth(random: Random) -> bytes:
    """Lists in lists."""
    depth = random.choice((10, 500, 5000))
    return b"]" * depth + b"a" * (depth - 1)


_EDITS = (_edit_order, _edit_insert, _edit_replace, _edit_argument, _edit_argument, _edit_name)


def _change(random: Random, pool: Sequence[bytes]) -> bytes:
    data = random.choice(pool)
    if random.random() < 0.15:
        return _hostile_pack(random)
    return apply(random, data, _EDITS, 0.15) if random.random() < 0.98 else data


def _hostile_pack(random: Random) -> bytes:
    """A pack as it should be but for one value, which stands where it is looked at."""
    odd = _opcode(random) if random.random() < 0.5 else random.choice((_laughter, _shape, _depth))(random)
    image = b"C\x02\xff\xd8"
    kind = random.randrange(4)
    if kind == 0:
        return b"\x80\x04](" + image + odd + b"e](\x88e\x86."
    if kind == 1:
        return b"\x80\x04](" + image * 2 + b"e](" + odd + b"e\x86."
    return b"\x80\x04" + (odd + b"](\x88e" if kind == 2 else b"](" + image * 2 + b"e" + odd) + b"\x86."


def _read(data: bytes) -> Reading:
    path = scratch() / "pairs.bin"
    path.write_bytes(data)
    pack = open_pack(path)
    empty = False
    assert len(pack.pairs) == len(pack.same), "pairs and truth values differ in number"
    assert pack.pairs.size == 0 or (pack.pairs.min() >= 0 and pack.pairs.max() < len(pack)), "a pair of no face"
    for index in range(min(len(pack), 20)):
        identity, photo = pack.name(index)
        assert identity is not None
        assert photo.startswith(identity), "a photo is not of its person"
        assert pack.where(index)
        try:
            assert isinstance(pack.read(index), bytes), "an image is no bytes"
        except FaceError as error:
            empty = error.reason == "empty"
    features: Any = (min(len(pack), 5), min(len(pack.pairs), 4), int(pack.same.sum()))
    return Reading(features, "empty" if empty else None, in_part=True)


TARGETS = [Target("bin", 1_000_000, _seeds, _change, _read)]
