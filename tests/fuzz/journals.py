"""Inputs for the reader of a staging folder's journal: damaged lines, and sound ones that say what no run wrote."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, change_bytes, change_value, reorder

from facemae_cli.data.faces import Name, Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output as module
from facemae_cli.data.output import staging
from facemae_cli.data.output.output import Output, open_output
from facemae_cli.errors import OutputError

UNITS, FACES = 3, 2  # of the run that was stopped, and in each of its units
PLAN = {"command": "mask", "unit": 2}
KINDS = {b"f": "out", b"r": "out.rec", b"s": "sealed", b"t": "sealed.rec"}  # the first byte of an input
_WORDS: tuple[Any, ...] = (
    *("unit", "faces", "mark", "refused", "counts", "sizes", "rec", "idx", "lst", "images", "shape", "identities"),
    *("files", "plan", "replaces", "sealed", "tool", "facemae", 0, 1, 2, -1, 2**63, 1.0, True, None, [], {}, [[]]),
)


def _write(output: Output, units: range) -> None:
    for unit in units:
        for face in range(FACES):
            name = Name(f"id{unit}", f"{face}.png")
            output.write(name, encode_png(np.full((14, 14, 3), FACES * unit + face, np.uint8)))
        output.commit([Refusal("raw/x", "truncated", "ends at byte 3")], {"out": FACES})


def _manifest(faces: int) -> Manifest:
    return Manifest("mask", counts={"in": faces, "out": faces, "refused": {}})


@cache
def _stopped(kind: bytes) -> Path:
    """A folder with what a stopped run left: its staging folder, whose journal each input replaces."""
    root = scratch() / f"template-{KINDS[kind]}"
    root.mkdir()
    real = module._put_in_place
    try:
        if "sealed" in KINDS[kind]:
            module._put_in_place = lambda *arguments: None
        with open_output(root / KINDS[kind], plan=PLAN) as output:
            _write(output, range(UNITS))
            if "sealed" in KINDS[kind]:
                output.finish(_manifest(UNITS * FACES))
    finally:
        module._put_in_place = real
    return root


def _journal(root: Path, kind: bytes) -> Path:
    return root / f"{KINDS[kind]}{staging.SUFFIX}" / "journal"


@cache
def _seeds() -> list[bytes]:
    return [kind + _journal(_stopped(kind), kind).read_bytes() for kind in KINDS]


@lru_cache(4096)
def _entries(data: bytes) -> tuple[bytes, list[Any]]:
    """The kind of an input and the values of its lines, as far as they are any."""
    entries = []
    for line in data[1:].splitlines():
        try:
            entries.append(json.loads(line.rpartition(b"\t")[0]))
        except (ValueError, RecursionError):
            break
    return data[:1], entries


def _summed(kind: bytes, entries: Sequence[Any]) -> bytes:
    """The input whose lines are these, each with the checksum it should have."""
    lines, before = [kind], b""
    for entry in entries:
        line, before = staging._line(entry, before)
        lines.append(line)
    return b"".join(lines)


def _edit_value(random: Random, data: bytes) -> bytes:
    kind, entries = _entries(data)
    if not entries:
        return data
    entries = list(entries)
    at = random.randrange(len(entries))
    entries[at] = change_value(random, entries[at], _WORDS)
    return _summed(kind, entries)


def _edit_order(random: Random, data: bytes) -> bytes:
    kind, entries = _entries(data)
    return _summed(kind, reorder(random, list(entries)))


def _edit_lines(random: Random, data: bytes) -> bytes:
    return data[:1] + b"".join(reorder(random, data[1:].splitlines(keepends=True)))


def _edit_bytes(random: Random, data: bytes) -> bytes:
    return data[:1] + change_bytes(random, data[1:])


def _edit_tail(random: Random, data: bytes) -> bytes:
    """What a kill or a power cut leaves: a cut, zeros behind it."""
    return data[: random.randrange(1, len(data) + 1)] + bytes(random.choice((0, 0, 1, 512)))


_EDITS = (_edit_value, _edit_value, _edit_order, _edit_lines, _edit_bytes, _edit_bytes, _edit_tail)


def _change(random: Random, pool: Sequence[bytes]) -> bytes:
    data = random.choice(pool)
    return data if random.random() < 0.02 else apply(random, data, _EDITS, 0.0)


def _read(data: bytes) -> Reading:
    """Gone on with as `--resume` does; where the lines are some of the run's first ones, to the end.

    Then all faces must be there, the same as of a run that nothing stopped.
    """
    kind = data[:1] if data[:1] in KINDS else b"f"
    root = scratch() / "run"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(_stopped(kind), root)
    _journal(root, kind).write_bytes(data[1:])
    before = _shape(root)
    out = root / KINDS[kind]
    try:
        with open_output(out, plan=PLAN, resume=True) as output:
            units, sealed = output.units_done, output._sealed
            if _is_beginning(kind, data):
                _finish(output, out, units, sealed)
            return Reading((kind, min(units, 9), sealed, min(output.faces, 9), len(output.refused)))
    except OutputError as error:
        if "--overwrite" not in str(error):
            raise
        assert _shape(root) == before, "a journal that is refused, and yet something changed"
        return Reading(refused="damaged" if "is damaged" in str(error) else "data is gone")


def _shape(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*"))


def _is_beginning(kind: bytes, data: bytes) -> bool:
    """Whether the whole lines of an input are the first ones of the run's, or of a run that got no further."""
    original = _journal(_stopped(kind), kind).read_bytes()
    whole = data[1 : data.rfind(b"\n") + 1]
    return original.startswith(whole)


def _finish(output: Output, out: Path, units: int, sealed: bool) -> None:
    if not sealed:
        _write(output, range(units, UNITS))
    output.finish(_manifest(UNITS * FACES))
    source = open_source(out)
    found = {source.name(index).identity: 0 for index in range(len(source))}
    assert (len(source), len(found), len(source.refused)) == (UNITS * FACES, UNITS, 0), "faces are lost or doubled"
    shades = sorted(source.read(index) for index in range(len(source)))
    assert shades == sorted(encode_png(np.full((14, 14, 3), shade, np.uint8)) for shade in range(UNITS * FACES))
    assert not os.path.lexists(out.with_name(out.name + staging.SUFFIX)), "a staging folder is left"


TARGETS = [Target("journal", 100_000, _seeds, _change, _read)]
