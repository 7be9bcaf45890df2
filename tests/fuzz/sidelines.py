"""Inputs for the readers of what stands beside a `.rec`: `.idx`, `.lst` and `property`, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import NUMBERS, apply, change_bytes, nudged, reorder, text
from fuzz.recs import check_name, index_of, insightface, survey
from numpy.typing import NDArray

from facemae_cli.data.faces import Name
from facemae_cli.data.recordio import sidecars
from facemae_cli.data.recordio.keys import assign_keys
from facemae_cli.data.recordio.lst import Lst
from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.data.recordio.source import RecSource


@cache
def _sound(folder: str, records: tuple[bytes, ...]) -> Path:
    """A whole `.rec` in a folder of its own."""
    path = scratch() / folder / "train.rec"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(records))
    path.with_suffix(".idx").write_bytes(index_of(records))
    return path


@cache
def _dozen() -> tuple[bytes, ...]:
    """Framed records: the header, twelve images, so that one may be at odds with the rest, and a range."""
    images = [pack_header(0, float(key // 4), key) + b"\xff\xd8" + bytes(key) for key in range(1, 13)]
    return tuple(map(frame, (pack_header(2, [13, 14], 0), *images, pack_header(2, [1, 13], 13))))


@cache
def _columns() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int]:
    """Offsets, own numbers and which are images of the records of `_dozen`, and their size: what meets an index."""
    offsets = np.cumsum([0, *map(len, _dozen())], dtype=np.int64)
    own = np.arange(14, dtype=np.int64)
    return offsets[:-1], own, (own > 0) & (own < 13), int(offsets[-1])


def _read_idx(data: bytes) -> Reading:
    """What `RecSource` does with an index; in one execution of eight by `RecSource` itself."""
    path = _sound("idx", _dozen())
    path.with_suffix(".idx").write_bytes(data)
    if len(data) % 8 == 0:
        return survey(RecSource(path.parent))
    offsets, own, images, size = _columns()
    index = sidecars.parse_index(sidecars.read_sidecar(path, "idx") or b"")
    keys, complaints = assign_keys(offsets, own, images, index, (), size)
    assert len(set(keys.tolist())) == len(keys), "two records have one key"
    assert keys.min() >= 0, "a key is negative"
    reasons = ["bad-line"] * len(index.bad_lines) + [complaint.reason for complaint in complaints]
    features = min(len(index.keys), 16), min(len(index.bad_lines), 3), len(complaints), frozenset(reasons)
    return Reading(features, reasons[0] if reasons else None, in_part=True)


def _read_lst(data: bytes) -> Reading:
    """The names that keys get, in one execution of eight as `RecSource` gives them. A line may name nobody."""
    path = _sound("lst", insightface())
    path.with_suffix(".lst").write_bytes(data)
    if len(data) % 8 == 0:
        source = RecSource(path)
        reading = survey(source)
        assert reading.refused is None, "a .lst spoils a whole .rec"
        named = sum(source.name(index).photo != str(source.key(index)) for index in range(len(source)))
        return Reading((source.layout, named), None if named else "names no face")
    lst = Lst(path.with_suffix(".lst"))
    names = [lst.name(key, label) for key, label in enumerate((0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 0.5))]
    for name in names:
        check_name(*(name or Name(None, "x")))
    named = sum(name is not None for name in names)
    return Reading((lst.dialect, named, min(len(lst), 8)), None if named else "names no face")


def _read_property(data: bytes) -> Reading:
    path = _sound("property", insightface())
    (path.parent / "property").write_bytes(data)
    said = sidecars.parse_property(sidecars.read_sidecar(path, "property") or b"")
    if said is None:
        return Reading(refused="not three numbers")
    assert min(said.identities, said.height, said.width) >= 0
    return Reading(tuple(len(str(value)) for value in (said.identities, said.height, said.width)))


def _edit_lines(random: Random, data: bytes) -> bytes:
    return b"\n".join(reorder(random, data.split(b"\n")))


def _edit_field(random: Random, data: bytes) -> bytes:
    """Another number or text in one place between tabs or commas."""
    lines = data.split(b"\n")
    at = random.randrange(len(lines))
    mark = b"," if b"," in lines[at] and b"\t" not in lines[at] else b"\t"
    fields = lines[at].split(mark)
    place = random.randrange(len(fields))
    old = fields[place]
    kind = random.randrange(7)
    if kind < 2 and old.isdigit() and len(old) < 20:
        fields[place] = b"%d" % nudged(random, int(old), 64)
    elif kind == 2:
        fields[place] = b"%d" % random.choice((1, 1, -1, 2**70) if kind else NUMBERS) + random.choice(
            (b"", b" ", b".0")
        )
    elif kind == 3:
        fields[place] = text(random).encode("utf-8", "surrogateescape")
    elif kind == 4:
        fields = reorder(random, fields)
    elif kind == 5:
        fields[place] = old + b"/" + text(random).encode()
    else:
        fields[place] = random.choice((b" ", b"-", b"+", b"\xff", b"0", b"\xef\xbb\xbf")) + old
    lines[at] = mark.join(fields)
    return b"\n".join(lines)


def _edit_ends(random: Random, data: bytes) -> bytes:
    old, new = random.choice(
        ((b"\n", b"\r\n"), (b"\n", b"\n\n"), (b"\t", b" \t "), (b"\t", b" "), (b"\n", b"\r"), (b",", b" , "))
    )
    return data.replace(old, new, random.choice((1, -1))) if random.random() < 0.7 else data.rstrip(b"\n")


_LINE_EDITS = (_edit_lines, _edit_field, _edit_field, _edit_field, _edit_ends, change_bytes)


def _change_lines(random: Random, pool: Sequence[bytes]) -> bytes:
    return apply(random, random.choice(pool), _LINE_EDITS)


def _lst_seeds() -> list[bytes]:
    im2rec = b"".join(
        b"%d\t%d\tp%d/%d.jpg\n" % (key, label, label, key) for key, label in enumerate((0, 0, 1, 2, 2), 1)
    )
    escaped = b"1\t0\ta%0Ab/x%25.jpg\n2\t0\tnested/a/2.png\n5\t2\t\xc3\xa9/5.jpg\n"
    packer = b"".join(b"1\t/root/%d/%d.jpg\t%d\n" % (label, key, label) for key, label in enumerate((0, 0, 1, 2, 2), 1))
    boxes = b"0\t/a/b/1.jpg\t0\t1\t2\t3\t4\t5\t6\t7\t8\t9\n1\t/a/c/2.jpg\t0\n0\t/a/c/3.jpg\t0\n"
    return [im2rec, escaped, packer, boxes]


def _idx_seeds() -> list[bytes]:
    index = index_of(_dozen())
    return [index, index.replace(b"\n", b"\r\n")]


def _property_seeds() -> list[bytes]:
    return [b"3,112,112\n", b"85742,112,112", b" 1 , 2 , 3 \r\nmore\n"]


TARGETS = [
    Target("idx", 1_000_000, _idx_seeds, _change_lines, _read_idx),
    Target("lst", 1_000_000, _lst_seeds, _change_lines, _read_lst),
    Target("property", 1_000_000, _property_seeds, _change_lines, _read_property),
]
