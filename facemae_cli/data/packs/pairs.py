"""Pairs of faces to verify: LFW's `pairs.txt`, and pairs sampled by LFW's protocol from any identities.

`pairs.txt`: a first line of one or two numbers (folds, pairs a fold), then a pair per line: `name\\tm\\tn` for two
photos of one person, `name\\tm\\tother\\tn` for photos of two. Photo n of a person is `name/name_000n` and a suffix.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from facemae_cli.errors import InputError

FOLDS = 10
_TRIES = 200  # samples that give nothing new before a fold is taken to be exhausted
IndexPair = tuple[int, int]


class Photo(NamedTuple):
    """Photo `number` (from 1) of the person `name`."""

    name: str
    number: int

    @property
    def stem(self) -> str:
        """Where it stands under the images' folder, less the suffix."""
        return f"{self.name}/{self.name.rpartition('/')[2]}_{self.number:04d}"


class Pair(NamedTuple):
    """Two photos, whether they show one person, and the line (from 1) that says so."""

    first: Photo
    second: Photo
    same: bool
    line: int


def parse_pairs(text: str) -> list[Pair]:
    """The pairs of a `pairs.txt`. Raises InputError naming the first line that is none."""
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        is_head = number == 1 and len(fields) <= 2 and all(field.isdecimal() for field in fields)
        if is_head or not any(fields):
            continue
        pairs.append(_pair(fields, number))
    return pairs


def _pair(fields: Sequence[str], line: int) -> Pair:
    numbers = fields[1::2] if len(fields) == 4 else fields[1:]
    names = fields[0::2] if len(fields) == 4 else fields[:1]
    if len(fields) not in (3, 4) or not all(n.isdecimal() and len(n) < 10 for n in numbers):
        raise InputError(f"line {line} of the pairs is {'  '.join(fields)[:80]!r}, not `name m n` or `name m other n`")
    for name in names:
        if name.startswith("/") or {"", ".", ".."} & set(name.split("/")) or "\0" in name:
            raise InputError(f"line {line} of the pairs names {name[:80]!r}, which leads out of the images' folder")
    return Pair(Photo(names[0], int(numbers[0])), Photo(names[-1], int(numbers[1])), len(fields) == 3, line)


def format_pairs(pairs: Sequence[tuple[Photo, Photo, bool]]) -> str:
    """The text of a `pairs.txt`; its first line tells folds and pairs a fold where they alternate as LFW's do."""
    same = np.array([pair[2] for pair in pairs], bool)
    half, rest = divmod(len(pairs), 2 * FOLDS)
    as_lfw = half > 0 and not rest and np.array_equal(same, np.tile(np.repeat([True, False], half), FOLDS))
    lines = [f"{FOLDS}\t{half}" if as_lfw else f"{len(pairs)}"]
    for first, second, one in pairs:
        other = "" if one else f"{second.name}\t"
        lines.append(f"{first.name}\t{first.number}\t{other}{second.number}")
    return "".join(f"{line}\n" for line in lines)


def sample_pairs(
    identities: Sequence[str | None], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of faces in LFW's order: ten folds of people who are in one fold only, in each half of its pairs same.

    `identities`: whose each face is; faces without identity are left out. `count` pairs are asked for, rounded down
    to a multiple of 20. Returns (n, 2) indexes and (n,) whether a pair shows one person; n is less than `count` where
    the people are too few. Raises InputError where not even one pair of each kind a fold can be sampled.
    """
    rng = random.Random(seed)
    people: dict[str, list[int]] = {}
    for index, identity in enumerate(identities):
        if identity is not None:
            people.setdefault(identity, []).append(index)
    rich = [faces for faces in people.values() if len(faces) > 1]
    poor = [faces for faces in people.values() if len(faces) == 1]
    rng.shuffle(rich)
    rng.shuffle(poor)
    folds = [(rich[fold::FOLDS], rich[fold::FOLDS] + poor[fold::FOLDS]) for fold in range(FOLDS)]
    folded = [(_sample_same(rng, some, count // 20), _sample_other(rng, every, count // 20)) for some, every in folds]
    half = min(min(len(same), len(other)) for same, other in folded)
    if not half:
        raise InputError(
            f"{len(rich)} people with two photos and {len(poor)} with one: too few to sample pairs in {FOLDS} folds"
            " of different people; give a pairs.txt"
        )
    pairs = [pair for same, other in folded for pair in (*same[:half], *other[:half])]
    return np.array(pairs, np.int64), np.tile(np.repeat([True, False], half), FOLDS)


def _sample_same(rng: random.Random, people: Sequence[list[int]], count: int) -> list[IndexPair]:
    return _distinct(lambda: rng.sample(rng.choice(people), 2), count if people else 0)


def _sample_other(rng: random.Random, people: Sequence[list[int]], count: int) -> list[IndexPair]:
    return _distinct(lambda: [rng.choice(faces) for faces in rng.sample(people, 2)], count if len(people) > 1 else 0)


def _distinct(sample: Callable[[], list[int]], count: int) -> list[IndexPair]:
    """Up to `count` different pairs, in the order sampled."""
    found: dict[IndexPair, None] = {}
    failed = 0
    while len(found) < count and failed < _TRIES:
        before = len(found)
        first, second = sorted(sample())
        found[first, second] = None
        failed = 0 if len(found) > before else failed + 1
    return list(found)
