"""All benchmarks, one after the other, and their figures in one table at the end.

    python tests/benchmarks/run.py [--quick] [--device cpu|cuda|all] [--only records codec ...] [--out FILE]

About a quarter of an hour on two cores, two minutes with --quick. --device all (the default) adds the rows of a GPU,
which say "no GPU" where there is none. Each script is a process of its own; one that fails is told at the end and
stops no other. --out keeps every row, a JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Run(NamedTuple):
    """A script, and its options: on a CPU with time or without, and on a GPU; None where it does not run there."""

    script: str
    full: str
    quick: str
    cuda: str | None = None


RUNS = (
    Run("help", "--rounds 5", "--rounds 2"),
    Run("records", "--records 50000", "--records 5000 --rounds 2"),
    Run("codec", "--faces 1000", "--faces 96 --rounds 2"),
    Run("mask", "--faces 1000", "--faces 96 --rounds 2"),
    Run("host", "--faces 65536 --rounds 2", "--faces 512 --rounds 1"),
    Run("reconstruct", "--model facemae-base --faces 48", "--faces 8", "--model facemae-base --faces 4096"),
    Run(
        "reconstruct",
        "--model facemae-tiny --faces 256",
        "--model facemae-tiny --faces 32",
        "--model facemae-v1 --faces 16384",
    ),
    Run("embed", "--models mbf probe --faces 192", "--models probe --faces 64 --rounds 2"),
    Run("embed", "--models r18 --faces 48", "--models mbf --faces 32 --rounds 2", "--models r50 --faces 8192"),
    Run("backends", "--faces 64", "--models facemae-v1 --faces 32 --rounds 2"),
    Run("audit", "--faces 512", "--faces 64 --rounds 2"),
    Run("retrieval", "--faces 20000", "--faces 4000", "--faces 500000 --k 2"),
    Run("retrieval", "--faces 20000 --dim 128", "--faces 4000 --dim 128"),
    Run(
        "fit",
        "--phi mbf --onnx --batch 32 --steps 4 --rounds 2",
        "--phi probe --batch 16 --steps 2 --rounds 1",
        "--model facemae-base --phi r50 --batch 256 --steps 16",
    ),
    Run("fit", "--phi r18 --batch 16 --steps 2 --rounds 2", "--phi probe --onnx --batch 16 --steps 2 --rounds 1"),
    Run(
        "train",
        "--models probe mbf --batch 64 --steps 4 --rounds 2",
        "--models probe --batch 32 --steps 2 --rounds 1",
        "--models mbf r50 --batch 512 --steps 16 --classes 100000",
    ),
    Run("train", "--models r18 --batch 16 --steps 2 --rounds 2", "--models mbf --batch 8 --steps 2 --rounds 1"),
)


def chosen(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Script and options of each run that is asked for."""
    runs = [run for run in RUNS if not options.only or run.script in options.only]
    found = []
    if options.device != "cuda":
        found += [(run.script, f"{run.quick if options.quick else run.full} --device cpu") for run in runs]
    if options.device != "cpu":
        found += [(run.script, f"{run.cuda} --device cuda") for run in runs if run.cuda]
    return found


def show(rows: list[dict[str, Any]]) -> None:
    """Every side of every comparison, a line each."""
    print(f"\n{'':74}{'rate':>12} {'':10}{'x first':>8}{'of floor':>10}")
    before = None
    for row in rows:
        head = f"{row['what']} [{row['device']}]"
        if head != before:
            print(head)
        before = head
        floor = f"{100 * row['floor']:8.1f} %" if row["floor"] is not None else ""
        print(f"    {row['side']:70}{row['best']:12,.4g} {row['unit'] + '/s':10}{row['x']:8.2f}{floor}")


def main(argv: list[str] | None = None) -> int:
    """Runs them; 1 where a script failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run, roughly how fast")
    parser.add_argument("--device", choices=("cpu", "cuda", "all"), default="all")
    parser.add_argument("--only", nargs="+", choices=sorted({run.script for run in RUNS}))
    parser.add_argument("--out", type=Path, help="a file that gets every row as a line of JSON")
    options = parser.parse_args(argv)
    start, failed = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        kept = options.out or Path(folder) / "rows"
        kept.write_text("")
        for script, words in chosen(options):
            print(f"\n== {script}.py {words}", flush=True)
            command = [sys.executable, str(HERE / f"{script}.py"), *shlex.split(words), "--rows", str(kept)]
            if subprocess.run(command).returncode:
                failed.append(f"{script}.py {words}")
        show([json.loads(line) for line in kept.read_text().splitlines()])
    print(f"\n{time.monotonic() - start:.0f} s in all" + "".join(f"\nfailed: {command}" for command in failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
