"""Datasets of chosen people, from one or several.

    python tests/benchmarks/people.py others.rec public private:even
    python tests/benchmarks/people.py odd.rec private:odd
    python tests/benchmarks/people.py even.bin private:even

To a `.bin` 6,000 pairs of one dataset are written, half of them of one person, as LFW has them. `even` and `odd` count
people as they first appear in the source. Of several sources each person's name begins with the number of the source,
since two people of two datasets may have one name. Images are copied byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.files import write_whole
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import open_output
from facemae_cli.data.packs.pairs import sample_pairs
from facemae_cli.data.packs.source import pack_bytes

PAIRS, SEED = 6000, 7

Rule = Callable[[int], bool]
RULES: dict[str, Rule] = {
    "": lambda number: True,
    "even": lambda number: number % 2 == 0,
    "odd": lambda number: number % 2 == 1,
}


def members(source: FaceSource, wanted: Rule, most: int | None = None) -> list[int]:
    """The faces of the people whose number is wanted, whole people, about `most` faces."""
    names = [source.name(index).identity for index in range(len(source))]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    chosen: list[int] = []
    taken: set[str | None] = set()
    for index, name in enumerate(names):
        if wanted(numbers[name]) and (name in taken or most is None or len(chosen) < most):
            taken.add(name)
            chosen.append(index)
    return chosen


def gather(out: Path, parts: Sequence[tuple[Path, Rule]], most: int | None = None) -> int:
    """Writes the people whose number is wanted, whole people, about `most` faces of each part; how many faces."""
    count = 0
    with open_output(out, plan={}, overwrite=True) as output:
        for part, (path, wanted) in enumerate(parts, 1):
            source = open_source(path)
            chosen = members(source, wanted, most)
            for index in chosen:
                name = source.name(index)
                renamed = name._replace(identity=f"{part}-{name.identity}") if len(parts) > 1 else name
                output.write(renamed, source.read(index))
            count += len(chosen)
        output.commit()
        output.finish(Manifest(command="convert", names="copied"))
    return count


def draw_pack(out: Path, path: Path, wanted: Rule) -> int:
    """Writes pairs of the people whose number is wanted; how many. Raises InputError where the people are too few."""
    source = open_source(path)
    chosen = members(source, wanted)
    pairs, same = sample_pairs([source.name(index).identity for index in chosen], PAIRS, SEED)
    write_whole(out, pack_bytes((source.read(chosen[at]) for at in pairs.ravel()), same.tolist()))
    return len(pairs)


def main(arguments: Sequence[str]) -> None:
    """Writes one dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="+", metavar="DATASET[:even|:odd]")
    given = parser.parse_args(arguments)
    parts = []
    for text in given.parts:
        place, _, rule = text.partition(":")
        if rule not in RULES:
            parser.error(f"{text}: {rule!r} is neither 'even' nor 'odd'")
        parts.append((Path(place), RULES[rule]))
    if given.out.suffix != ".bin":
        print(f"{gather(given.out, parts)} faces: {given.out}")
    elif len(parts) == 1:
        print(f"{draw_pack(given.out, *parts[0])} pairs: {given.out}")
    else:
        parser.error("a .bin is drawn from one dataset")


if __name__ == "__main__":
    main(sys.argv[1:])
