"""Inputs for the reader of `facemae.json`: values and text of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache, lru_cache
from random import Random
from typing import Any

from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, change_value
from fuzz.writing import edit_encoding, edit_lines, tokens

from facemae_cli.data.manifest import Manifest, manifest_path, read_manifest


@cache
def _manifests() -> list[bytes]:
    counts = {"in": 9, "out": 7, "refused": {"corrupt": 1, "too-large": 1}}
    model = {"kind": "mae", "sha256": "0" * 64}
    first = Manifest(
        "mask", grid=14, mask_ratio=0.75, counts=counts, key_id="0123abcd", strategy="random", names="keyed"
    )
    second = Manifest(
        "reconstruct", model=model, names="copied", extra={"quality": 95, "made_by": "mask", "a": [1, None]}
    )
    return [first.as_json().encode(), second.as_json().encode(), json.dumps(json.loads(second.as_json())).encode()]


_KEYS = ("schema", "tool", "version", "command", "counts", "in", "out", "refused", "model", "extra")
_OPTIONAL = ("grid", "mask_ratio", "seed", "names", "strategy", "key_id")
_JSON_WORDS: tuple[Any, ...] = (
    *_KEYS,
    *_OPTIONAL,
    "facemae",
    "kept",
    "a/b",
    1,
    2,
    0.5,
    2**63,
    True,
    None,
    {},
    [],
    {"in": 1},
)


@lru_cache(1024)
def _json(data: bytes) -> Any:
    """The value, None where there is none or one too deep to be changed."""
    try:
        return json.loads(data) if data.count(b"[") + data.count(b"{") < 60 else None
    except (ValueError, RecursionError):
        return None


def _edit_json(random: Random, data: bytes) -> bytes:
    tree = _json(data)
    if tree is None:
        return data
    return json.dumps(change_value(random, tree, _JSON_WORDS), indent=random.choice((None, 1))).encode()


def _edit_depth(random: Random, data: bytes) -> bytes:
    """Values in values, few or as many as a reader goes down."""
    depth = random.choice((3, 8, 9, 100, random.randrange(850, 1000), 100_000))
    start, end = random.choice((("[", "]"), ('{"a":', "}")))
    deep = start * depth + random.choice(("1", "[]" if start == "[" else "{}")) + end * depth
    return data.replace(random.choice((b"0.75", b"14", b'"random"', b"95", b"{", b"false", b"1")), deep.encode(), 1)


def _edit_json_text(random: Random, data: bytes) -> bytes:
    spans = tokens(data)
    start, end = random.choice(spans) if spans else (0, 0)
    said = data.decode("utf-8", "replace")
    values = (
        "NaN",
        "-Infinity",
        "1e999",
        "9" * 5000,
        '"\\ud800"',
        '"\\u0000"',
        "'a'",
        "// a",
        "tru",
        "1.",
        "-0",
        '"a" "b"',
        "\x00",
    )
    return (said[:start] + random.choice(values) + said[end:]).encode("utf-8", "surrogatepass")


_JSON_EDITS = (*[_edit_json] * 6, _edit_depth, _edit_json_text, _edit_json_text, edit_lines)


def _change_json(random: Random, pool: Sequence[bytes]) -> bytes:
    data = apply(random, random.choice(pool), _JSON_EDITS, 0.04)
    return edit_encoding(random, data) if random.random() < 0.02 else data


def _read_json(data: bytes) -> Reading:
    folder = scratch() / "dataset"
    folder.mkdir(exist_ok=True)
    path = manifest_path(folder)
    path.write_bytes(data)
    found = read_manifest(folder)
    assert found is not None
    path.write_text(found.as_json())
    assert read_manifest(folder) == found, "a manifest that is written is another when it is read"
    return Reading((found.command, found.names, found.model is None, found.grid, bool(found.extra)))


TARGETS = [Target("json", 100_000, _manifests, _change_json, _read_json)]
