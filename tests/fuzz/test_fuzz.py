"""A short fuzz of every reader: no defect, counts that add up, inputs of both kinds. `run.py` is the long one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from fuzz.engine import Reading, Target, play
from fuzz.targets import NAMES, target

from facemae_cli.errors import FaceError, InputError, OutputError

SHORT = {"rec": 60, "cards": 16, "yaml": 40, "weights": 300, "features": 300}


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_finds_no_defect(name: str) -> None:
    tally = play(target(name), seed=0, first=0, last=SHORT.get(name, 120))
    assert tally.inputs == []
    assert tally.defects.total() == 0
    assert tally.adds_up()
    assert tally.accepted > tally.executions // 100
    assert tally.refused.total() > tally.executions // 10


def test_the_long_run_is_as_long_as_it_is_said_to_be() -> None:
    due = {name: target(name).executions for name in NAMES}
    assert all(due[name] == 1_000_000 for name in ("rec", "idx", "lst", "property", "bin", "weights"))
    assert due["png"] + due["jpeg"] + due["webp"] + due["bmp"] == 100_000
    assert due["cards"] == due["yaml"] == due["json"] == due["journal"] == 100_000


def test_a_run_is_the_same_again() -> None:
    first, second = (play(target("property"), seed=3, first=50, last=150) for _ in range(2))
    assert (first.accepted, first.refused) == (second.accepted, second.refused)
    assert play(target("property"), seed=4, first=50, last=150).refused != first.refused


def target_of(read: Callable[[bytes], Reading], values: int = 100) -> Target:
    """A target whose inputs are numbers of two digits, below `values`."""

    def change(random: Random, pool: Sequence[bytes]) -> bytes:
        return b"%02d" % random.randrange(values)

    return Target("a", 10, lambda: [b""], change, read)


def faults(data: bytes) -> Reading:
    """Every kind of outcome there is, by the input."""
    if data < b"20":
        return Reading(features=data)
    if data < b"30":
        return Reading(refused="damaged", in_part=True)
    if data < b"40":
        raise FaceError("corrupt", "value 1, limit 2, way out")
    if data < b"50":
        raise KeyError(data)
    if data < b"60":
        raise InputError("two\nlines")
    if data < b"70":
        raise OutputError("the disk")
    if data < b"80":
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    if b"80" <= data < b"90":
        raise AssertionError("held")
    try:
        raise MemoryError
    except MemoryError as error:
        raise InputError("broken") from error


def test_every_outcome_is_told_apart() -> None:
    tally = play(target_of(faults), 1, 0, 400)
    assert tally.adds_up()
    assert tally.executions == 400
    assert min(tally.accepted, tally.in_part, tally.refused["damaged"], tally.refused["corrupt"]) > 10
    assert tally.in_part == tally.refused["damaged"]
    assert set(tally.defects) == {
        "KeyError in test_fuzz.py:faults",
        "a message of several lines from test_fuzz.py:faults",
        "OutputError for what is no failure of a disk",
        "RuntimeWarning from test_fuzz.py",
        "broken promise: held",
        "an allocation that failed",
    }
    assert all(len([1 for kind, *_ in tally.inputs if kind == one]) <= 3 for one in tally.defects)


def test_what_is_slow_or_large_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.engine.MAX_SECONDS", 0.01)
    slow = target_of(lambda data: Reading(features=sum(range(3_000_000))))
    assert set(play(slow, 1, 0, 1).defects) == {"over 0.01 s"}
    monkeypatch.setattr("fuzz.engine.MAX_SECONDS", 60.0)
    monkeypatch.setattr("fuzz.engine.MAX_GROWTH", -1)
    assert set(play(slow, 1, 0, 1).defects) == {"over -1 MiB"}


def kills(data: bytes) -> Reading:
    """Dies of some inputs, and runs for ever on others."""
    if data == b"07":
        os.kill(os.getpid(), signal.SIGSEGV)
    while data == b"11":
        pass
    if data == b"13":
        bytearray(2**30)
    return Reading()


def test_a_crash_a_hang_and_a_bomb_cost_one_execution_each() -> None:
    code = (
        "from fuzz import sandbox, test_fuzz\nsandbox.MAX_SECONDS = 0.05\n"
        "tally = sandbox.play_apart(test_fuzz.target_of(test_fuzz.kills, 15), 1, 0, 40)\n"
        "print(tally.executions, tally.adds_up(), sorted(tally.defects), sorted({data for _, _, data in tally.inputs}))"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    kinds = ["MemoryError in test_fuzz.py:kills", "crash: SIGSEGV", "over 0.05 s"]
    assert done.stdout.strip() == f"40 True {kinds} [b'07', b'11', b'13']", done.stderr
