"""Commands ended by `kill -9` at random moments, resumed, and held against a run that nothing ended.

    python tests/crash/kills.py --kills 100 mask-folder mask-rec reconstruct-folder reconstruct-rec
    python tests/crash/kills.py --kills 25

Without names every case is run. A round is one fresh working folder: the command is started, killed after a random
share of the time it takes, looked at, started again as a person would (`--resume`, or `--overwrite` for what has no
resume), killed again, up to three times, and then left to end. Every file of the folder must be the unbroken run's, and
no other may be there. Runs are forked from this process, which has all modules loaded, so that a round takes about a
second. The exit code is 1 if a round differed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from crash.cases import CASES, WARM, Case, prepare  # noqa: E402

from facemae_cli.runtime import worker_pool  # noqa: E402

PARTS = (".facemae-part", ".part", ".lock")  # in the names of what an unfinished run leaves
TOLD_EVERY = 10  # kills
AT_ONCE = 3  # kills of one round at most
OURS = "FACEMAE_CRASH_ROUND"  # in the environment of whatever a run starts
PATIENCE = 20.0  # seconds in which a killed run's worker processes must be gone


@dataclass
class Tally:
    """What came of one case: kills that struck a living run, rounds, and a line for each difference."""

    case: str
    kills: int = 0
    rounds: int = 0
    seconds: float = 0.0
    stood: int = 0  # kills after which the output stood there, whole
    workers: int = 0  # processes still seen right after a kill, at most
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.case}: {self.kills} kills in {self.rounds} rounds, {self.stood} of them after the output was in"
            f" place, {len(self.wrong)} differences, at most {self.workers} workers seen after a kill and none in the"
            f" end, {self.seconds:.0f} s"
        )


def files(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below `folder`, by relative path."""
    return {str(path.relative_to(folder)): _bytes(path) for path in folder.rglob("*") if path.is_file()}


def _bytes(path: Path) -> bytes:
    """Of a safetensors file, whose writer leaves the order of its metadata to chance, with sorted metadata."""
    data = path.read_bytes()
    if path.suffix != ".safetensors":
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.dumps(json.loads(data[8:end]), sort_keys=True).encode() + data[end:]


def start(words: list[str], folder: Path, answer: Path, first: Callable[[], object] = lambda: None) -> int:
    """The command line `words` in a forked process that works in `folder`, and calls `first` before.

    `answer` gets its stdout, and the same name with `.err` its stderr. Returns the number of the process.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        os.chdir(folder)
        os.environ[OURS] = str(folder)
        sys.stdout, sys.stderr = answer.open("w"), answer.with_suffix(".err").open("w")
        import torch

        from facemae_cli.app import main

        torch.set_num_threads(1)  # the parent's threads do not outlive the fork
        first()
        code = main(words)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def finished(pid: int) -> int:
    """The exit code of the process, minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed(pid: int, after: float) -> bool:
    """Whether the process still ran when it was killed after so many seconds."""
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    return finished(pid) == -signal.SIGKILL


def workers(folder: Path) -> list[int]:
    """The processes that runs in `folder` have started and that live, by their environment."""
    mark, found = f"{OURS}={folder}\0".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


class Rounds:
    """The rounds of one case, below `root`; `chance` decides when kills come."""

    def __init__(self, case: Case, root: Path, chance: random.Random) -> None:
        self.case, self.root, self.chance = case, root, chance
        self.tally = Tally(case.name)
        self.answer = root / f"{case.name}.out"
        begun = time.monotonic()
        self.whole = self._unbroken(root / f"{case.name}-whole")
        self.takes = time.monotonic() - begun

    def _unbroken(self, folder: Path) -> dict[str, bytes]:
        self.case.begin(folder)
        self.before = files(folder)
        code = finished(start(self.case.words, folder, self.answer))
        if code:
            raise RuntimeError(f"{self.case.name} ends with {code}: {self.answer.with_suffix('.err').read_text()}")
        self.told = self.answer.read_bytes()
        return files(folder)

    def run(self, kills: int) -> Tally:
        """Rounds until so many kills struck, those of earlier calls counted."""
        begun = time.monotonic()
        while self.tally.kills < kills:
            self._round(self.root / f"{self.case.name}-broken")
            self.tally.rounds += 1
        self.tally.seconds += time.monotonic() - begun
        return self.tally

    def _round(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.case.begin(folder)
        words, ended = self.case.words, False
        for _ in range(self.chance.randint(1, AT_ONCE)):
            if not killed(start(words, folder, self.answer), self.chance.uniform(0, self.takes)):
                ended = True
                self.takes *= 0.9  # the machine is less busy than it was
                break
            self.takes *= 1.02
            self.tally.kills += 1
            self._look(folder)
            words = [*self.case.words, *self.case.again.split()]
        code = 0 if ended else finished(start(words, folder, self.answer))
        self._compare(folder, code)

    def _look(self, folder: Path) -> None:
        """What stands there right after a kill: the output is not there or whole, and no checkpoint is torn."""
        self.tally.workers = max(self.tally.workers, len(workers(folder)))
        shown = {name: data for name, data in files(folder).items() if not any(part in name for part in PARTS)}
        stands = any(name == self.case.out or name.startswith(f"{self.case.out}/") for name in shown)
        if stands and not self.case.grows and shown != self.before:
            self.tally.stood += 1
            self._differ("stands there in part", shown, self.whole)
        deadline = time.monotonic() + PATIENCE
        while (left := workers(folder)) and time.monotonic() < deadline:
            self.tally.workers = max(self.tally.workers, len(left))
            time.sleep(0.01)
        if left:
            self.tally.wrong.append(f"{len(left)} worker processes outlive a kill")
        try:
            self.case.look(folder)
        except Exception as error:
            self.tally.wrong.append(f"after a kill: {type(error).__name__}: {error}")

    def _compare(self, folder: Path, code: int) -> None:
        said = self.answer.with_suffix(".err").read_text()
        complete = code == 2 and ("is complete already" in said or (self.case.replaces and "matches nobody in" in said))
        if code and not complete:
            self.tally.wrong.append(f"ends with {code}: {said.strip().splitlines()[-1:]}")
        self._differ("differs in the end", files(folder), self.whole)
        if self.case.answers and self.answer.read_bytes() != self.told:
            self.tally.wrong.append("its JSON differs")

    def _differ(self, how: str, found: dict[str, bytes], wanted: dict[str, bytes]) -> None:
        names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        if names:
            self.tally.wrong.append(f"{how}: {', '.join(names[:6])}")


@contextmanager
def prepared(root: Path) -> Iterator[Path]:
    """A folder with the inputs of every case, and small units, so that a small run has many."""
    modules = [
        importlib.import_module(f"facemae_cli.{name}") for name in ("masking.job", "tasks.mask", "tasks.convert")
    ]
    before = [(module, module.UNIT) for module in modules if hasattr(module, "UNIT")]
    items = worker_pool.ITEMS_A_WORKER
    for name in ("torch._dynamo", "facemae_cli.tasks.fit", "facemae_cli.tasks.reconstruct"):
        importlib.import_module(name)  # once, not in each process that is forked
    try:
        for module, _ in before:
            module.UNIT = 4
        prepare(root)
        worker_pool.ITEMS_A_WORKER = 0.01  # so that a small run has worker processes too
        yield root
    finally:
        worker_pool.ITEMS_A_WORKER = items
        for module, unit in before:
            module.UNIT = unit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--kills", type=int, default=25, help="kills of each case that must strike (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="what decides when kills come (default 0)")
    given = parser.parse_args()
    failed = False
    for module in WARM:
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as folder, prepared(Path(folder)) as root:
        for name in given.names or CASES:
            rounds = Rounds(CASES[name], root, random.Random(f"{given.seed} {name}"))
            for goal in (*range(TOLD_EVERY, given.kills, TOLD_EVERY), given.kills):
                print(rounds.run(goal), flush=True)
            for line in rounds.tally.wrong:
                print(f"  {line}", flush=True)
            failed |= bool(rounds.tally.wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
