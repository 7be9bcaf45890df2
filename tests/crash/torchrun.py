"""Commands under torchrun: the same results on 1, 2 and 3 ranks, and nothing lost when one rank is killed (section 7).

    python tests/crash/torchrun.py [--kills 2] [COMMAND ...]

Each command runs on 1, 2 and 3 ranks. Files of `mask` and `reconstruct` must be equal to the byte, what `verify` and
`leakage` answer to 1e-5, losses of `fit` and `train-recognizer` to 1e-4. Then one of two ranks is ended by `kill -9`
at a random moment: torchrun must fail, and the command, run again on three ranks as a person would, end as it did on
one. The exit code is 1 if anything differed. A rank takes seconds to start, so this is no part of the tests.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from crash.cases import CASES, FIT, MODEL, TRAIN, prepare  # noqa: E402
from crash.kills import files  # noqa: E402
from helpers.releases import write_faces  # noqa: E402

from facemae_cli.app import main as facemae  # noqa: E402

FEATURES, LOSSES = 1e-5, 1e-4
PEOPLE = 400  # of `mask` and `reconstruct`: a few units of work


def same_files(folder: Path, answer: str, one: Path, told: str) -> str:
    """What differs between the files of two folders, byte by byte."""
    found, wanted = files(folder), files(one)
    return ", ".join(sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))[:5])


def same_answer(folder: Path, answer: str, one: Path, told: str) -> str:
    """What differs between two JSON answers."""
    return apart(json.loads(answer), json.loads(told), FEATURES)


def same_history(folder: Path, answer: str, one: Path, told: str) -> str:
    """What differs between the figures of two runs, epoch by epoch."""
    found, wanted = (
        [json.loads(line) for line in (place / "out/history.jsonl").read_text().splitlines()] for place in (folder, one)
    )
    return apart(found, wanted, LOSSES)


def apart(found: Any, wanted: Any, most: float, at: str = "") -> str:
    """Where two JSON values are not equal, numbers to `most` of their size; empty if they are."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        return next(filter(None, (apart(found[key], wanted[key], most, f"{at}.{key}") for key in wanted)), "")
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return next(filter(None, (apart(*pair, most, f"{at}[{row}]") for row, pair in pairs)), "")
    if isinstance(found, float) and isinstance(wanted, float):
        return "" if math.isclose(found, wanted, rel_tol=most, abs_tol=most) else f"{at}: {found} and {wanted}"
    return "" if found == wanted else f"{at}: {found!r} and {wanted!r}"


@dataclass(frozen=True)
class Command:
    """A command line, run in an empty folder beside its inputs; `again`: what goes on with a stopped run."""

    line: str
    differ: Callable[[Path, str, Path, str], str]
    again: str = "--resume"


MASK = "mask --in ../many --key ../facemae.key --workers 2 --out"
RECONSTRUCT = f"reconstruct --in ../many.masked --model {MODEL} --precision fp32 --device cpu --workers 2 --out"
COMMANDS = {
    "mask": Command(f"{MASK} out", same_files),
    "mask-rec": Command(f"{MASK} out.rec", same_files),
    "reconstruct": Command(f"{RECONSTRUCT} out", same_files),
    "reconstruct-rec": Command(f"{RECONSTRUCT} out.rec", same_files),
    "fit": Command(f"{FIT} --epochs 6 --batch-size 6 --warmup 0", same_history),
    "train-recognizer": Command(f"{TRAIN} --epochs 6 --batch-size 6 --lr 0.02", same_history),
    **{name: Command(CASES[name].line, same_answer, CASES[name].again) for name in ("verify", "leakage")},
}


def start(ranks: int, line: str, folder: Path) -> subprocess.Popen[str]:
    """The command on so many ranks, working in `folder`."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m", "facemae_cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *torchrun, *line.split()], cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True
    )


def run(ranks: int, line: str, folder: Path) -> str:
    """What it prints on stdout. Raises RuntimeError where it fails, or more than one rank speaks."""
    process = start(ranks, line, folder)
    told, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"on {ranks} ranks it ends with {process.returncode}: {said[-2000:]}")
    if said.count(": 100 %") > 1 or told.count('"command"') > 1:
        raise RuntimeError(f"on {ranks} ranks more than one speaks: {said[-2000:]}")
    return told


def children(process: int) -> list[int]:
    """The processes that `process` started."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in listed]


def kill_one(folder: Path, line: str, after: float, chance: random.Random) -> bool:
    """Whether a rank could be killed so many seconds after the start; raises RuntimeError where torchrun goes on."""
    process = start(2, line, folder)
    time.sleep(after)
    workers = [] if process.poll() is not None else children(process.pid)
    if not workers:
        process.communicate()
        return False
    os.kill(chance.choice(workers), signal.SIGKILL)
    try:
        process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError("a rank was killed, and the others still wait for it after two minutes") from None
    return process.returncode != 0


def examined(name: str, root: Path, kills: int, chance: random.Random) -> list[str]:
    """What differed in a command's runs, a line each."""
    command, wrong = COMMANDS[name], []
    one, took = root / f"{name}-1", {}
    told = ""
    for ranks in (1, 2, 3):
        folder = root / f"{name}-{ranks}"
        folder.mkdir()
        begun = time.monotonic()
        answer = run(ranks, command.line, folder)
        took[ranks] = time.monotonic() - begun
        told = told or answer
        if found := command.differ(folder, answer, one, told):
            wrong.append(f"{ranks} ranks: {found}")
    struck = 0
    while struck < kills:
        folder = root / f"{name}-killed"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        struck += kill_one(folder, command.line, chance.uniform(0.3, 1) * took[2], chance)
        if (folder / "out/weights.safetensors").exists() or any(folder.glob("out*/facemae.json")):
            continue  # it was over
        answer = run(3, f"{command.line} {command.again}", folder)
        if found := command.differ(folder, answer, one, told):
            wrong.append(f"killed on 2 and resumed on 3 ranks: {found}")
    seconds = ", ".join(f"{each:.0f}" for each in took.values())
    print(f"{name}: 1, 2 and 3 ranks in {seconds} s, {struck} kills: {wrong or 'equal'}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="what decides when kills come")
    given = parser.parse_args()
    chance, failed = random.Random(given.seed), False
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare(root)
        write_faces(root / "many", range(PEOPLE))
        masked = f"mask --in {root}/many --out {root}/many.masked --key {root}/facemae.key"
        if facemae(masked.split()):
            raise RuntimeError(masked)
        for name in given.names or COMMANDS:
            failed |= bool(examined(name, root, given.kills, chance))
            sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
