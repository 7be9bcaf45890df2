"""Changes to inputs that any format can use: of bytes, of numbers, of text and of values as JSON has them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Edit = Callable[[Random, bytes], bytes]

NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 23, 24, 25, 63, 64, 127, 128, 255, 256, 1000, 4095, 4096, 16383, 32767, 65535, 65536),
    *(2**23, 2**24 - 1, 2**24, 2**24 + 1, 2**29 - 1, 2**29, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1),
    *(2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
TEXTS = (
    *("", " ", ".", "..", "/", "//", "../x", "/etc/passwd", "a/b/c", "a" * 300, "\0", "\n", "\r\n", "\t", "\x1b[31m"),
    *(
        "\u202e",
        "\ufeff",
        "é",
        "e\u0301",
        "ß",
        "😀",
        "\u2028",
        "\x85",
        "%00",
        "%2F",
        "%0A",
        "%",
        "%25",
        "%zz",
        "-",
        "-1",
    ),
    *("nan", "inf", "-inf", "1e400", "1e-400", "0x10", "1_000", "٣", "0" * 50, "9" * 30, "9" * 5000, "NULL", "None"),
)


def number(random: Random, bits: int) -> int:
    """A whole number of so many bits: one at which readers err, one near to it, or any."""
    chosen = random.choice(NUMBERS) + (random.choice((-1, 1, 4, -4)) if random.random() < 0.2 else 0)
    return (chosen if random.random() < 0.9 else random.getrandbits(bits)) & ((1 << bits) - 1)


def nudged(random: Random, value: int, bits: int) -> int:
    """`value` a little larger or smaller, or another number."""
    step = random.choice((-24, -8, -4, -3, -2, -1, 1, 2, 3, 4, 8, 24, value))
    return (value + step) & ((1 << bits) - 1) if random.random() < 0.6 else number(random, bits)


def change_bytes(random: Random, data: bytes) -> bytes:
    """One change that knows nothing of the format: bits, bytes, words, cuts, copies."""
    kind, size = random.randrange(9), len(data)
    at = random.randrange(size) if size else 0
    if kind == 0 and size:
        return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + bytes([random.choice((0, 1, 10, 32, 127, 128, 255, random.getrandbits(8)))]) + data[at + 1 :]
    if kind == 2:
        width = random.choice((1, 2, 4, 8))
        order = random.choice(("little", "big"))
        return data[:at] + number(random, 8 * width).to_bytes(width, order) + data[at + width :]  # type: ignore[arg-type]
    if kind == 3:
        return data[:at]
    end = min(size, at + random.choice((1, 2, 4, 8, 16, 64)))
    if kind == 4:
        return data[:at] + data[end:]
    if kind == 5:
        return data[:at] + data[at:end] * random.choice((2, 3, 8)) + data[end:]
    if kind == 6:
        return data[:at] + random.randbytes(random.choice((1, 2, 4, 8, 24))) + data[at:]
    if kind == 7:
        other = random.randrange(size) if size else 0
        return data[:other] + data[at:end] + data[other:]
    return data[:at] + data[at:end][::-1] + data[end:]


def apply(random: Random, data: bytes, edits: Sequence[Edit], blind: float = 0.15) -> bytes:
    """`data` after one to four of `edits`, and with a chance of `blind` after a change of its bytes."""
    for _ in range(random.choice((1, 1, 1, 1, 2, 2, 3))):
        data = random.choice(edits)(random, data)
    return change_bytes(random, data) if random.random() < blind else data


def reorder(random: Random, items: list[Any]) -> list[Any]:
    """`items` with one dropped, doubled, moved, exchanged or the end left out."""
    if not items:
        return items
    at, to = random.randrange(len(items)), random.randrange(len(items))
    kind = random.randrange(5)
    if kind == 0:
        return items[:at] + items[at + 1 :]
    if kind == 1:
        return items[:at] + [items[at]] * random.choice((1, 2, 9)) + items[at:]
    if kind == 2:
        rest = items[:at] + items[at + 1 :]
        return [*rest[:to], items[at], *rest[to:]]
    if kind == 3:
        items = list(items)
        items[at], items[to] = items[to], items[at]
        return items
    return items[: at + 1]


def text(random: Random) -> str:
    """A text that readers err at, alone or together with another."""
    return random.choice(TEXTS) + (random.choice(TEXTS) if random.random() < 0.2 else "")


def value(random: Random, depth: int = 0) -> Any:
    """A value as JSON has them."""
    kind = random.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return random.choice((None, True, False))
    if kind == 1:
        return random.choice((-1, 1)) * number(random, 64)
    if kind == 2:
        return random.choice((0.0, -0.0, 0.5, 1.0, 1.5, -1.5, 1e308, -1e308, 5e-324, 1e16, float("nan"), float("inf")))
    if kind in (3, 4):
        return text(random)
    if kind == 5:
        return random.choice((10**400, -(10**4200), 2**64, [], {}))
    if kind == 6:
        return {text(random): value(random, depth + 1) for _ in range(random.randrange(3))}
    return [value(random, depth + 1) for _ in range(random.randrange(4))]


def change_value(random: Random, tree: Any, words: Sequence[Any] = ()) -> Any:
    """`tree`, a value as JSON has them, with one place in it changed; `words` are values and keys at home there."""
    tree = copy.deepcopy(tree)
    parent, key = _place(random, tree)
    fresh = random.choice(words) if words and random.random() < 0.5 else value(random)
    kind = random.randrange(5)
    if parent is None:
        return fresh
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[fresh if isinstance(fresh, str) else text(random)] = parent.pop(key)
    elif kind == 2 and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif kind == 3:
        parent[key] = _near(random, parent[key])
    else:
        parent[key] = copy.deepcopy(fresh)
    return tree


def _near(random: Random, old: Any) -> Any:
    """A value of the kind of `old`."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int):
        return nudged(random, old, 64)
    if isinstance(old, float):
        return random.choice((0.0, -old, old * 2, float(int(old)) if abs(old) < 1e300 else 0.0))
    if isinstance(old, str):
        return random.choice((old.upper(), old[:-1], old + text(random), text(random)))
    return [old]


def _place(random: Random, tree: Any) -> tuple[Any, Any]:
    """A container in `tree` and a key or index of it; (None, None) where there is none."""
    parent, key = None, None
    while isinstance(tree, dict | list) and tree:
        parent, key = tree, random.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        tree = tree[key]
        if random.random() < 0.35:
            break
    return parent, key
