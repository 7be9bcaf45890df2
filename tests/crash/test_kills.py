"""A short run of the harness in `kills.py`: kills at random moments, and what comes of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.cases import CASES
from crash.kills import Rounds, Tally, prepared


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with prepared(tmp_path_factory.mktemp("inputs")) as folder:
        yield folder


def run(case: str, root: Path, kills: int) -> Tally:
    tally = Rounds(CASES[case], root, random.Random(0)).run(kills)
    assert tally.kills >= kills
    return tally


@pytest.mark.parametrize("case", ["mask-rec", "reconstruct-folder", "convert-pack", "convert-bin", "withdraw-rec"])
def test_a_killed_and_resumed_run_is_the_unbroken_one(root: Path, case: str) -> None:
    assert run(case, root, 3).wrong == []


def test_the_harness_notices_each_kind_of_difference(root: Path) -> None:
    rounds = Rounds(CASES["mask-folder"], root, random.Random(0))
    folder = root / "mask-folder-whole"
    photo = next(folder.rglob("*.png"))
    data = photo.read_bytes()
    rounds._look(folder)
    rounds._compare(folder, 0)
    assert rounds.tally.wrong == []
    photo.write_bytes(data[:-1])
    rounds._compare(folder, 0)
    photo.unlink()
    rounds._look(folder)
    photo.write_bytes(data)
    (folder / "left.facemae-part").touch()
    rounds._compare(folder, 0)
    (folder / "left.facemae-part").unlink()
    rounds._compare(folder, 3)
    kinds = ["differs in the end", "stands there in part", "differs in the end", "ends with 3"]
    assert [line.partition(":")[0] for line in rounds.tally.wrong] == kinds
