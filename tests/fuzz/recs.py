"""Inputs for the readers of a `.rec` and what stands beside it: `.idx`, `.lst` and `property`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from random import Random

from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, nudged, number, reorder

from facemae_cli.data.faces import Name
from facemae_cli.data.open import open_source
from facemae_cli.data.recordio import indexed
from facemae_cli.data.recordio.records import MAGIC, frame, pack_header
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import FaceError

_MAGIC = struct.pack("<I", MAGIC)
_FOUND_WHEN_USED = frozenset(
    {"bad-magic", "bad-flag", "bad-length", "bad-header", "bad-index", "too-large", "truncated-record"}
)
_LABELS = (0.0, 1.0, -1.0, 2.0, 0.5, 7.0, 2.0**24, 2.0**24 + 2, 1e38, -1e38, float("nan"), float("inf"), 1e-40)


def _image(key: int, label: float, body: bytes) -> bytes:
    return pack_header(0, label, key) + body


@cache
def insightface() -> tuple[bytes, ...]:
    """Framed records: the header, five images of three people (one image split at a magic), the ranges."""
    bodies = [
        b"\xff\xd8one",
        b"\x89PNG" + _MAGIC + b"two",
        b"\x89PNG..." + _MAGIC + _MAGIC + b"3",
        b"BM",
        b"\xff\xd8end",
    ]
    payloads = [pack_header(2, [6, 9], 0)]
    payloads += [_image(key, label, bodies[key - 1]) for key, label in enumerate((0, 0, 1, 2, 2), 1)]
    payloads += [pack_header(2, span, key) for key, span in ((6, [1, 3]), (7, [3, 4]), (8, [4, 6]))]
    return tuple(map(frame, payloads))


@cache
def _im2rec() -> tuple[bytes, ...]:
    """Framed records: four images without a header, one of them with two labels of its own."""
    images = [frame(_image(key, key // 2, b"\xff\xd8" + bytes([key] * key))) for key in range(3)]
    return (*images, frame(pack_header(2, [1.0, 1.0], 3) + b"\xff\xd8aligned"))


def index_of(records: Sequence[bytes]) -> bytes:
    """The `.idx` of framed records whose keys are 0, 1, 2..."""
    lines, at = [], 0
    for key, record in enumerate(records):
        lines.append(b"%d\t%d\n" % (key, at))
        at += len(record)
    return b"".join(lines)


def _rec_seeds() -> list[bytes]:
    return [b"".join(insightface()), b"".join(_im2rec()), b"".join(insightface()[1:6]), _im2rec()[0]]


@lru_cache(4096)
def _parts(data: bytes) -> list[bytes]:
    """The framed parts of a `.rec` as far as they follow each other, and what comes then."""
    parts, at = [], 0
    while data.startswith(_MAGIC, at) and at + 8 <= len(data):
        length = struct.unpack_from("<I", data, at + 4)[0] & 0x1FFFFFFF
        parts.append(data[at : at + 8 + length + -length % 4])
        at += len(parts[-1])
    return [*parts, data[at:]] if at < len(data) else parts


def _edit_parts(random: Random, data: bytes) -> bytes:
    return b"".join(reorder(random, list(_parts(data))))


def _edit_part(random: Random, data: bytes) -> bytes:
    parts = list(_parts(data))
    if parts:
        at = random.randrange(len(parts))
        parts[at] = random.choice((_lrec, _lrec, _bits, _header, _header, _body, _padding, _split))(random, parts[at])
    return b"".join(parts)


def _lrec(random: Random, part: bytes) -> bytes:
    """Another length, or another part flag."""
    if len(part) < 8:
        return part + _MAGIC
    lrec = struct.unpack_from("<I", part, 4)[0]
    flag, length = lrec >> 29, lrec & 0x1FFFFFFF
    if random.random() < 0.5:
        flag = random.randrange(4) if random.random() < 0.8 else random.randrange(8)
    else:
        length = nudged(random, length, 29)
    return part[:4] + struct.pack("<I", flag << 29 | length) + part[8:]


def _bits(random: Random, part: bytes) -> bytes:
    """A magic with a few bits off."""
    word = int.from_bytes(part[:4], "little")
    for _ in range(random.randrange(1, 7)):
        word ^= 1 << random.randrange(32)
    return word.to_bytes(4, "little") + part[4:]


def _header(random: Random, part: bytes) -> bytes:
    """Another flag, label, or number in the payload's header; now and then labels that the flag announces."""
    if len(part) < 32:
        return part
    flag, label, key, id2 = struct.unpack_from("<IfQQ", part, 8)
    rest = part[32:]
    kind = random.randrange(4)
    if kind == 0:
        flag = nudged(random, flag, 32)
    elif kind == 1:
        label = random.choice(_LABELS)
    elif kind == 2:
        key = nudged(random, key, 64)
    else:
        flag = random.randrange(1, 4)
        rest = struct.pack(f"<{flag}f", *(random.choice(_LABELS) for _ in range(flag))) + random.choice((b"", rest))
        return frame(struct.pack("<IfQQ", flag, label, key, id2) + rest)
    return part[:8] + struct.pack("<IfQQ", flag, label, key, id2) + rest


def _body(random: Random, part: bytes) -> bytes:
    """Another payload, framed as a writer frames it: empty, cut, longer, with magics where they do and do not count."""
    payload = part[8:]
    cut = random.randrange(len(payload) + 1)
    added = random.choice((b"", _MAGIC, b"x" + _MAGIC, _MAGIC * 3, bytes(random.choice((1, 3, 8, 600))), b"\xff\xd8x"))
    return frame(payload[:cut] + added + random.choice((b"", payload[cut:])))


def _padding(random: Random, part: bytes) -> bytes:
    return part[:-1] + bytes([random.getrandbits(8)]) if part else part


def _split(random: Random, part: bytes) -> bytes:
    """The part in two or three, flagged as such, right or not."""
    data, pieces = part[8:], []
    cuts = sorted(random.randrange(len(data) + 1) & ~3 for _ in range(random.choice((1, 2))))
    flags = random.choice(((1, 3), (1, 2, 3), (1, 2, 2), (0, 0), (1, 1, 3), (3, 1), (2, 3)))
    for flag, start, stop in zip(flags, [0, *cuts], [*cuts, len(data)], strict=False):
        piece = data[start:stop]
        pieces.append(_MAGIC + struct.pack("<I", flag << 29 | len(piece)) + piece + bytes(-len(piece) % 4))
    return b"".join(pieces)


def _insert(random: Random, data: bytes) -> bytes:
    """Something between two parts: a lost block, junk, a bare head, a whole record of the other layout."""
    parts = list(_parts(data))
    own = frame(_image(number(random, 64), random.choice(_LABELS), random.choice((b"", b"\xff\xd8new"))))
    what = (
        bytes(512),
        bytes(1024),
        random.randbytes(random.choice((1, 4, 8, 30))),
        _MAGIC,
        _MAGIC + b"\x08\0\0\0",
        own,
    )
    parts.insert(random.randrange(len(parts) + 1), random.choice((*what, own, random.choice(_im2rec()))))
    return b"".join(parts)


_REC_EDITS = (_edit_parts, _edit_part, _edit_part, _edit_part, _insert)


def _change_rec(random: Random, pool: Sequence[bytes]) -> bytes:
    if random.random() < 0.02:
        return random.choice(_rec_seeds())
    return apply(random, random.choice(pool), _REC_EDITS, 0.1)


def check_name(identity: str | None, photo: str) -> None:
    parts = [*(identity.split("/") if identity is not None else ()), photo]
    assert not {"", ".", ".."} & set(parts), "a name leads elsewhere"
    assert not any("\0" in part or "/" in part for part in parts), "a name holds what no file's can"


def survey(source: RecSource, found_when_used: frozenset[str] = frozenset()) -> Reading:
    """Asks a source for everything it has; holds it to what it promises: `found_when_used` are reasons that may be met
    on reading a face, since opening has not looked at it."""
    count, met = len(source), None
    keys = [source.key(index) for index in range(count)]
    assert len(set(keys)) == count, "two faces have one key"
    assert keys == sorted(keys), "keys are in no order"
    assert min(keys, default=0) >= 0, "a key is negative"
    for index in range(min(count, 40)):
        assert "\n" not in source.where(index)
        check_name(*source.name(index))
        try:
            source.read(index)
        except FaceError as error:
            met = error.reason
            if met not in found_when_used | {"empty"}:
                raise AssertionError(f"a record that was found whole is {error.reason}") from error
    reasons = [refusal.reason for refusal in source.refused]
    refused = reasons[0] if reasons else met
    return Reading((source.layout, min(count, 6), frozenset(reasons)), refused, in_part=count > 0)


def _read_rec(data: bytes) -> Reading:
    """The file alone, or, for one in two, beside the index it had before it was damaged, all of it looked at on opening
    or a few records."""
    path = _place() / ("indexed.rec" if len(data) & 4 else "faces.rec")
    path.write_bytes(data)
    if len(data) & 12 == 12:
        return _read_by_index(path)
    source = open_source(path)
    assert isinstance(source, RecSource)
    return survey(source)


def _read_by_index(path: Path) -> Reading:
    """A file of which opening looks at three records; what both give of a place must be the same."""
    indexed.LOOKED_AT, usual = 3, indexed.LOOKED_AT
    try:
        source = open_source(path)
    finally:
        indexed.LOOKED_AT = usual
    whole = open_source(path, whole=True)
    assert isinstance(source, RecSource)
    assert isinstance(whole, RecSource)
    if source.refused:
        return survey(source)
    known = {_place_of(whole, index): _face(whole, index) for index in range(len(whole))}
    for index in range(len(source)):
        face, place = _face(source, index), _place_of(source, index)
        assert face is None or face == known.get(place, face), "not the face that is at this place"
    return survey(source, _FOUND_WHEN_USED)


def _place_of(source: RecSource, index: int) -> str:
    return source.where(index).rpartition(" ")[2]


def _face(source: RecSource, index: int) -> tuple[Name, bytes] | None:
    """A face's name and image; None where there is none to read."""
    try:
        return source.name(index), source.read(index)
    except FaceError:
        return None


@cache
def _place() -> Path:
    folder = scratch() / "rec"
    folder.mkdir(exist_ok=True)
    (folder / "indexed.idx").write_bytes(index_of(insightface()))
    return folder


TARGETS = [Target("rec", 1_000_000, _rec_seeds, _change_rec, _read_rec)]
