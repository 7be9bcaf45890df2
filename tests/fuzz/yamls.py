"""Inputs for the readers of YAML: model cards and `facemae.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import typer
from fuzz.engine import Reading, Target, scratch
from fuzz.mutating import apply, number, text
from fuzz.writing import edit_encoding, edit_lines, tokens

from facemae_cli.app import app
from facemae_cli.commands.config_file import FILE_NAME, load_settings
from facemae_cli.networks.card import card_text, load_card

_CARDS = (
    """kind: mae
input: {size: 112, color: rgb, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
architecture: {size: 112, patch: 8, width: 384, depth: 12}
recipe:
  epochs: 200
  lr: 1.5e-4
license: Apache-2.0
""",
    """kind: embedder
name: a
weights: a.onnx
input:
  size: 112
  color: bgr
  mean: [0, 0, 0]
  std: [1e-3, 1, 1]
dim: 512
lineage:
- 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
results: {lfw: {accuracy: 0.99, std: 0.3}}
data: [one, two]
notes: >
  Folded
  text.
""",
)
_SETTINGS = (
    "mask:\n  ratio: 0.5\n  keep-names: true\n  out: masked\n",
    "reconstruct: {format: png, quality: 90}\nfit:\n  epochs: 3\n  data: raw\n",
    "leakage:\n  k: [1, 2]\n  people: 100\n  report: a.html\nverify: {pairs: [a.bin, b.bin]}\n",
    "",
)
_VALUES = (
    *(
        "1",
        "-1",
        "0",
        "0x1F",
        "0o17",
        "0b11",
        "0b",
        "0x",
        "1_000",
        "_",
        "1:30:00",
        "190:20:30.15",
        "1e3",
        "1e400",
        ".inf",
    ),
    *(
        "-.inf",
        ".nan",
        "+",
        "-",
        ".",
        "~",
        "null",
        "true",
        "yes",
        "off",
        "=",
        "<<",
        "2026-01-01",
        "0x" + "f" * 4000,
        "9" * 400,
    ),
    *(
        "9" * 5000,
        "!!python/object:os.system",
        "!!python/name:eval",
        "!!binary aGk=",
        "!!set {a}",
        "!!omap [a: 1]",
        "!!timestamp x",
    ),
    *(
        "!!int a",
        "!!float x",
        "!!bool maybe",
        "!!null x",
        "!!str 1",
        "!!map [a]",
        "!!seq {a: 1}",
        "!x y",
        "! y",
        "!!int ''",
    ),
    *(
        "&a b",
        "*a",
        "&a [*a]",
        "{<<: {a: 1}}",
        "? a",
        "? [a]",
        "|\n  a\n",
        ">-\n  b",
        "|2\n a",
        '"\\x41"',
        '"\\ud800"',
        '"\\q"',
    ),
    *(
        "'it''s'",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "[a",
        "{a: b",
        "{a}",
        "[]",
        "{}",
        "a: b: c",
        "- - a",
        "%YAML 1.1",
        "%TAG ! x",
        "---",
    ),
    *(
        "...",
        "#",
        "@",
        "`",
        "\t",
        "\\",
        "\ufeff",
        "\x85",
        "\u2028",
        "é",
        "😀",
        "a" * 200,
        "../x",
        "/etc/passwd",
        "a.onnx",
        "mae",
    ),
)
_KEYS = (
    "kind",
    "name",
    "input",
    "size",
    "mean",
    "dim",
    "lineage",
    "assumed",
    "paste_visible",
    "notes",
    "weights",
    "x",
    "ratio",
)


def _edit_token(random: Random, data: bytes) -> bytes:
    """Another value or key in the place of one."""
    said, spans = data.decode("utf-8", "replace"), tokens(data)
    start, end = random.choice(spans) if spans else (0, 0)
    fresh = random.choice(random.choice((_VALUES, _VALUES, _KEYS)))
    fresh = str(number(random, 64)) if random.random() < 0.15 else fresh
    return (said[:start] + fresh + said[end:]).encode("utf-8", "surrogatepass")


def _edit_insert(random: Random, data: bytes) -> bytes:
    """One line more: a key of a card or of anything, and a value."""
    lines = data.split(b"\n")
    said = f"{random.choice((*_KEYS, text(random)))}: {random.choice(_VALUES)}"
    lines.insert(
        random.randrange(len(lines) + 1), random.choice(("", "  ")).encode() + said.encode("utf-8", "surrogatepass")
    )
    return b"\n".join(lines)


def _edit_large(random: Random, data: bytes) -> bytes:
    """Much of one thing, up to the size that is taken, and beyond."""
    if random.random() < 0.97:
        return _edit_token(random, data)
    size = random.choice((30, 300, 1000, 20_000))
    what = random.choice(
        ("[", "{a: ", "- ", "? ", "[a,", "a, ", "'", "\\", "!", "&a ", "1:", "é", "\n", "k%d: 1\n", "[[],", "x: |\n ")
    )
    many = "".join(what % n if "%d" in what else what for n in range(size))
    return random.choice((data + b"notes: " + many.encode(), many.encode(), data.replace(b"112", many.encode(), 1)))


_YAML_EDITS = (*[_edit_token] * 6, edit_lines, edit_lines, _edit_insert, _edit_insert, _edit_large)


def _change_yaml(random: Random, pool: Sequence[bytes]) -> bytes:
    data = apply(random, random.choice(pool), _YAML_EDITS, 0.02)
    return edit_encoding(random, data) if random.random() < 0.02 else data


def _read_card(data: bytes) -> Reading:
    path = scratch() / "card.yaml"
    path.write_bytes(data)
    card = load_card(path)
    if len(data) % 4 == 0 and len(data) < 2000:
        path.write_text(card_text(card), encoding="utf-8")
        assert load_card(path) == card, "a card that is written is another when it is read"
    filled = sum(value is not None for value in vars(card).values())
    return Reading((card.kind, filled, card.input.color, bool(card.lineage), card.dim is None))


@cache
def _commands() -> Any:
    command: Any = typer.main.get_command(app)
    return command.commands


def _read_settings(data: bytes) -> Reading:
    """As the program does: the file's settings become the defaults of a command, whose options are parsed with them."""
    folder = scratch() / "settings"
    folder.mkdir(exist_ok=True)
    (folder / FILE_NAME).write_bytes(data)
    found = load_settings(folder, _commands())
    for name, options in found.items():
        command = _commands()[name]
        params = {param.name: param for param in command.params}
        assert options.keys() <= params.keys(), "a setting that is no option"
        for option, value in options.items():
            assert isinstance(value, str | bool) or all(isinstance(item, str) for item in value), "a value no flag has"
            assert not isinstance(value, bool) or params[option].is_flag, "a truth value for what is no flag"
    return Reading(tuple(sorted((name, len(options)) for name, options in found.items())))


def _encoded(texts: Sequence[str]) -> list[bytes]:
    return [one.encode() for one in texts]


def _bundled() -> list[bytes]:
    """Cards that the program ships, beside two that were written for this."""
    models = Path(__file__).parents[2] / "models"
    return [path.read_bytes() for path in sorted(models.glob("*/model.yaml")) if path.stat().st_size < 500][:3]


TARGETS = [
    Target("cards", 100_000, lambda: [*_encoded(_CARDS), *_bundled()], _change_yaml, _read_card),
    Target("yaml", 100_000, lambda: _encoded(_SETTINGS), _change_yaml, _read_settings),
]
