"""Changes to text with a form, whichever it is: a token, a line, the encoding."""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

from fuzz.mutating import change_bytes, reorder

_TOKEN = re.compile(r"[^\s:,\[\]{}#]+")


@lru_cache(16)  # lists of up to 100,000 tokens, in the 512 MiB of the readers
def tokens(data: bytes) -> list[tuple[int, int]]:
    return [match.span() for match in _TOKEN.finditer(data.decode("utf-8", "replace"))]


def edit_lines(random: Random, data: bytes) -> bytes:
    lines = reorder(random, data.split(b"\n"))
    if lines and random.random() < 0.4:
        at = random.randrange(len(lines))
        lines[at] = random.choice((b"  ", b" ", b"- ", b"\t", b"? ", b"x: ")) + lines[at]
    return b"\n".join(lines)


def edit_encoding(random: Random, data: bytes) -> bytes:
    said = data.decode("utf-8", "replace")
    if random.random() < 0.5:
        return change_bytes(random, data)
    return said.encode(random.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig")), "replace")
