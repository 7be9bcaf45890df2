"""`facemae --help` by the clock, beside a bare interpreter and beside one that imports torch and numpy first.

    python tests/benchmarks/help.py

The latter is what a command line takes to say anything whose modules import at their top what they may need later.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

from timing import Floor, begin, timed


def start(*arguments: str) -> None:
    """A fresh interpreter, from start to end."""
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)


def main(argv: list[str] | None = None) -> None:
    """Three commands by turns; the floor is the interpreter's own start."""
    parser = argparse.ArgumentParser("help.py", description=__doc__)
    options, bench = begin(parser, argv, rounds=5)
    if bench is None:
        return
    bare = min(timed(partial(start, "-c", "pass")) for _ in range(options.rounds + 1))
    sides = {
        "python -c 'import torch, numpy'": partial(start, "-c", "import torch, numpy"),
        "facemae --help": partial(start, "-m", "facemae_cli", "--help"),
        "facemae --version": partial(start, "-m", "facemae_cli", "--version"),
    }
    took = bench.compare("a command's start", sides, 1, Floor(bare, "python -c pass"), "runs")
    print(f"  facemae --help: {took['facemae --help']:.3f} s, python -c pass: {bare:.3f} s")


if __name__ == "__main__":
    main()
