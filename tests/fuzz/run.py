"""The long run: hostile inputs for every reader, in a process that may die, with counts that add up.

    python tests/fuzz/run.py --all                                # every target, as many executions as it is due
    python tests/fuzz/run.py --target rec --executions 1000000    # one, or several: --target rec --target idx
    python tests/fuzz/run.py --target bin --first 500000          # from an execution on, to share the work
    python tests/fuzz/run.py --target bin --replay FILE           # one input that was kept

Executions are done a stretch at a time, and each stretch's counts are a line of OUT/TARGET.SEED.jsonl: an interrupted
run goes on where it was. Inputs of defects are kept in OUT/defects. Exit code 1 where there is a defect.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path[:0] = [str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parents[2])]

if TYPE_CHECKING:
    from fuzz.engine import Tally, Target

STRETCH = 10_000
SHOWN = 12  # reasons of a target in the table


def main() -> int:
    """Runs what the command line asks for."""
    from fuzz import targets

    chosen = _arguments(targets.NAMES)
    if chosen.replay:
        return _replay(targets.target(chosen.target[0]), chosen.replay)
    chosen.out.mkdir(parents=True, exist_ok=True)
    totals = {}
    for name in targets.NAMES if chosen.all else chosen.target:
        target = targets.target(name)
        last = chosen.first + (chosen.executions or target.executions)
        totals[name] = run(target, chosen.seed, chosen.first, last, chosen.out)
        print(table(name, totals[name]), flush=True)
    (chosen.out / "counts.json").write_text(
        json.dumps({name: t.as_json() for name, t in totals.items()}, indent=1) + "\n"
    )
    return int(any(tally.defects or not tally.adds_up() for tally in totals.values()))


def _arguments(names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", choices=names, default=[])
    parser.add_argument("--all", action="store_true", help="every target")
    parser.add_argument("--executions", type=int, help="of each target; by default as many as the target is due")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    parser.add_argument("--out", type=Path, default=Path(".local/fuzz"), help="folder for counts and inputs of defects")
    parser.add_argument("--replay", type=Path, help="an input to be read once, by the one --target, with a traceback")
    chosen = parser.parse_args()
    if not chosen.all and not chosen.target:
        parser.error("say --all or --target NAME")
    return chosen


def run(target: Target, seed: int, first: int, last: int, out: Path) -> Tally:
    """Executions `first` to `last` of a target but those that `out` has the counts of; the counts of all."""
    from fuzz.engine import Tally
    from fuzz.sandbox import play_apart

    path = out / f"{target.name}.{seed}.jsonl"
    whole, at = Tally(), first
    for line in path.read_text().splitlines() if path.exists() else []:
        said = json.loads(line)
        if said["first"] == at and said["last"] <= last:
            whole.add(_counts(said))
            at = said["last"]
    while at < last:
        to, began = min(at + STRETCH, last), time.monotonic()
        tally = play_apart(target, seed, at, to)
        _keep(target, tally, out)
        with path.open("a") as lines:
            lines.write(json.dumps({"first": at, "last": to, **tally.as_json()}) + "\n")
        whole.add(tally)
        at = to
        print(f"{target.name}: {at} of {last}, {time.monotonic() - began:.1f} s, {_defects(whole)}", flush=True)
    return whole


def _counts(said: dict[str, Any]) -> Tally:
    from fuzz.engine import Tally

    refused, defects = Counter(said["refused"]), Counter(said["defects"])
    return Tally(said["executions"], said["accepted"], said["refused_in_part"], said["seconds"], refused, defects)


def _keep(target: Target, tally: Tally, out: Path) -> None:
    for kind, number, data in tally.inputs:
        (out / "defects").mkdir(exist_ok=True)
        safe = "".join(letter if letter.isalnum() else "-" for letter in kind)[:60]
        (out / "defects" / f"{target.name}-{number}-{safe}").write_bytes(data)


def _defects(tally: Tally) -> str:
    return f"{tally.defects.total()} defects" + (f": {dict(tally.defects)}" if tally.defects else "")


def table(name: str, tally: Tally) -> str:
    """The counts of a target for a person: executions = accepted + refused + defects, and the reasons."""
    refused, total = tally.refused.total(), max(tally.executions, 1)
    sign = "=" if tally.adds_up() else "!="
    head = f"{name}: {tally.executions} executions {sign} {tally.accepted} accepted + {refused} refused"
    lines = [f"{head} ({tally.in_part} in part) + {_defects(tally)}; {tally.seconds:.0f} s of CPU"]
    rows = [("accepted", tally.accepted), *tally.refused.most_common(SHOWN)]
    rest = refused - sum(count for _, count in rows[1:])
    rows += [(f"{len(tally.refused) - SHOWN} reasons more", rest)] if rest else []
    return "\n".join([*lines, *(f"  {count:>9}  {count / total:6.1%}  {reason}" for reason, count in rows)])


def _replay(target: Target, path: Path) -> int:
    from fuzz.engine import execute

    data = path.read_bytes()
    print(target.name, *execute(target, data, []))
    print(target.read(data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
