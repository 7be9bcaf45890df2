"""A short run of the harness in `kills.py`: kills at random moments, and what comes of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash.cases import CASES
from crash.kills import Rounds, Tally, prepared

from facemae_cli.data.foldersink import FolderSink


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with prepared(tmp_path_factory.mktemp("inputs")) as folder:
        yield folder


def run(case: str, root: Path, kills: int) -> Tally:
    tally = Rounds(CASES[case], root, random.Random(0)).run(kills)
    assert tally.kills >= kills
    return tally


@pytest.mark.parametrize("case", ["mask-rec", "reconstruct-folder", "convert-pack", "convert-bin"])
def test_a_killed_and_resumed_run_is_the_unbroken_one(root: Path, case: str) -> None:
    assert run(case, root, 3).wrong == []


def test_the_harness_notices_a_resume_that_keeps_what_was_not_journaled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(self: FolderSink) -> None:
        self.faces.mkdir(exist_ok=True)

    monkeypatch.setattr(FolderSink, "restore", keep)
    assert run("mask-folder", root, 6).wrong
