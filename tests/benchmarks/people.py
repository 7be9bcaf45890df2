"""Datasets of chosen people, from one or several.

    python tests/benchmarks/people.py others.rec public private:even
    python tests/benchmarks/people.py odd.rec private:odd

`even` and `odd` count people as they first appear in the source. Of several sources each person's name begins with the
number of the source, since two people of two datasets may have one name. Images are copied byte for byte.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from facemae_cli.data import open_source
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.outputs import open_output

Rule = Callable[[int], bool]
RULES: dict[str, Rule] = {
    "": lambda number: True,
    "even": lambda number: number % 2 == 0,
    "odd": lambda number: number % 2 == 1,
}


def gather(out: Path, parts: Sequence[tuple[Path, Rule]], most: int | None = None) -> int:
    """Writes the people whose number is wanted, whole people, about `most` faces of each part; how many faces."""
    count = 0
    with open_output(out, plan={}, overwrite=True) as output:
        for part, (path, wanted) in enumerate(parts, 1):
            source = open_source(path)
            numbers: dict[str | None, int] = {}
            written = 0
            for index in range(len(source)):
                name = source.name(index)
                known = name.identity in numbers
                number = numbers.setdefault(name.identity, len(numbers))
                if wanted(number) and (most is None or written < most or known):
                    renamed = name._replace(identity=f"{part}-{name.identity}") if len(parts) > 1 else name
                    output.write(renamed, source.read(index))
                    written += 1
            count += written
        output.commit()
        output.finish(Manifest(command="convert", names="copied"))
    return count


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
    print(f"{gather(given.out, parts)} faces: {given.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
