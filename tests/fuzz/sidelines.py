"""Inputs for the readers of what stands beside a `.rec`: `.idx`, `.lst` and `property`, line by line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import NUMBERS, apply, change_bytes, nudged, reorder, text
from fuzz.recs import check_name, insightface, survey
from numpy.typing import NDArray

from facemae_cli.data import sidecars
from facemae_cli.data.faces import Name
from facemae_cli.data.lst import Lst
from facemae_cli.data.rec import RecSource
from facemae_cli.data.reckeys import assign_keys


def _index(records: Sequence[bytes]) -> bytes:
    lines, at = [], 0
    for key, record in enumerate(records):
        lines.append(b"%d\t%d\n" % (key, at))
        at += len(record)
    return b"".join(lines)


@cache
def _sound(folder: str, idx: bool = True) -> Path:
    """A whole `.rec` in a folder of its own."""
    path = scratch() / folder / "train.rec"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(insightface()))
    if idx:
        path.with_suffix(".idx").write_bytes(_index(insightface()))
    return path


@cache
def _columns() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int]:
    """Offsets, own numbers and which are images of a whole `.rec`'s records, and its size: what meets an index."""
    records = insightface()
    offsets = np.cumsum([0, *map(len, records[:-1])], dtype=np.int64)
    return offsets, np.arange(9, dtype=np.int64), np.array([0, 1, 1, 1, 1, 1, 0, 0, 0], bool), sum(map(len, records))


def _read_idx(data: bytes) -> Reading:
    """What `RecSource` does with an index; in one execution of eight by `RecSource` itself."""
    path = _sound("idx", idx=False)
    path.with_suffix(".idx").write_bytes(data)
    if len(data) % 8 == 0:
        return survey(RecSource(path.parent))
    offsets, own, images, size = _columns()
    index = sidecars.parse_index(sidecars.read_sidecar(path, "idx") or b"")
    keys, complaints = assign_keys(offsets, own, images, index, (), size)
    assert len(set(keys.tolist())) == len(keys), "two records have one key"
    assert keys.min() >= 0, "a key is negative"
    reasons = ["bad-line"] * len(index.bad_lines) + [complaint.reason for complaint in complaints]
    features = min(len(index.keys), 12), min(len(index.bad_lines), 3), len(complaints), frozenset(reasons)
    return Reading(features, reasons[0] if reasons else None, in_part=True)


def _read_lst(data: bytes) -> Reading:
    """The names that keys get, in one execution of eight as `RecSource` gives them. A line may name nobody."""
    path = _sound("lst")
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
    path = _sound("property")
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
    index = _index(insightface())
    return [index, index.replace(b"\n", b"\r\n")]


def _property_seeds() -> list[bytes]:
    return [b"3,112,112\n", b"85742,112,112", b" 1 , 2 , 3 \r\nmore\n"]


TARGETS = [
    Target("idx", 1_000_000, _idx_seeds, _change_lines, _read_idx),
    Target("lst", 1_000_000, _lst_seeds, _change_lines, _read_lst),
    Target("property", 1_000_000, _property_seeds, _change_lines, _read_property),
]
