"""A part of the harness in `places.py`: options that name something to be written, on places where something is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from trust.places import COMMANDS, LINES, OUTPUTS, READ, paths, prepare, state, tried

from facemae_cli.app import main
from facemae_cli.commands.places import CACHE, SIDE_FILES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("world"))


def test_every_path_that_a_command_takes_is_known_as_read_or_written() -> None:
    """Whoever adds an option that writes something must say so here and in `commands.places`, and is tried below."""
    for command in COMMANDS:
        if command != "help":
            assert paths(command) <= {*READ, *SIDE_FILES, CACHE, *OUTPUTS}, command
            assert command in LINES


@pytest.mark.parametrize("command", LINES)
def test_nothing_that_existed_changes(world: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    count, wrong = tried(command, world, one_in=20)
    assert wrong == []
    assert count or command in ("inspect", "names", "withdraw")


def test_the_harness_notices_what_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepare(tmp_path))
    monkeypatch.setattr("trust.places.main", lambda words: (tmp_path / "notes.txt").write_text("gone") and 0)
    count, wrong = tried("inspect", tmp_path)
    assert len(wrong) == 2 * count + 1


def test_one_place_is_not_given_to_two_files(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    before = state(world)
    for words in (
        "leakage --original raw --released released --report x --refused x",
        "reconstruct --in masked --out new --model mae --preview x.png --refused ./x.png",
        "leakage --original raw --released released --cache c --refused c/list",
        "verify --pairs lfw --model phi.onnx --write-pack x.bin --refused x.bin",
        "verify --pairs lfw --model phi.onnx --write-pack x.bin --report x.bin.facemae.json",
        "verify --pairs lfw --model phi.onnx --write-pack x.bin --cache x.bin",
    ):
        assert main(words.split()) == 2, words
        assert state(world) == before, words
    assert not os.path.lexists("c")
