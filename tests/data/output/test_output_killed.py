"""An output killed before any of its steps and then resumed is the unbroken one; what it replaces is never in part."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name, Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.beside import CARD
from facemae_cli.data.output.output import open_output
from facemae_cli.errors import FaceError, UsageError

STEPS = ["open", "write", "fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "truncate", "ftruncate"]
KINDS = ["released", "d/train.rec", "x.parquet"]
FACES = [Name("a", "1"), Name("b/c", "2"), Name("a", "1"), Name("a", "3"), Name(None, "4"), Name("b/c", "../5")]
UNIT = 2
KILLED = 9


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # a kill takes nothing from the page cache


def images(shade: int) -> list[bytes]:
    return [encode_png(np.full((14, 28, 3), shade + i, np.uint8)) for i in range(len(FACES))]


def write(out: Path, shade: int = 0, *, overwrite: bool = False, resume: bool = False) -> None:
    """What a task does: faces by the unit, refused ones noted, from where an earlier run stood; with a card, but for
    shade 0, so that one that has a card is replaced by one that has none."""
    refused: list[Refusal] = []
    with open_output(out, plan={"shade": shade}, overwrite=overwrite, resume=resume) as output:
        start = output.units_done * UNIT
        for index, image in list(enumerate(images(shade)))[start:]:
            try:
                output.write(FACES[index], image)
            except FaceError as error:
                refused.append(Refusal(str(index), error.reason, error.detail))
            if (index + 1) % UNIT == 0:
                output.commit(refused, {"out": UNIT - len(refused)})
                refused = []
        reasons = {item.reason: 1 for item in output.refused}
        counts = {"in": len(FACES), "out": output.tally["out"], "refused": reasons}
        card = {CARD: f"of shade {shade}. Written by facemae 1 from facemae.json"} if shade else None
        output.finish(Manifest("mask", counts=counts), beside=card)


def kill_before(step: int, out: Path, shade: int = 0, **options: bool) -> bool:
    """Runs `write` in a process that dies before its system call number `step`; of a write, half is done. False if it
    ended first."""
    pid = os.fork()
    if pid == 0:
        try:
            count, lock = itertools.count(), threading.Lock()
            for name in STEPS:
                setattr(os, name, _dying(name, getattr(os, name), step, count, lock))
            write(out, shade, **options)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, KILLED)
    return code == KILLED


def _dying(name: str, real: Callable, step: int, count: itertools.count, lock: threading.Lock) -> Callable:
    def call(*args, **kwargs):
        with lock:
            if next(count) == step:
                if name == "write":
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os._exit(KILLED)
        return real(*args, **kwargs)

    return call


def files(root: Path) -> dict[str, bytes | None]:
    """Every file's bytes, None for a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def unbroken(root: Path, kind: str, shade: int = 0) -> dict[str, bytes | None]:
    root.mkdir()
    write(root / kind, shade)
    return files(root)


def begun(out: Path) -> bool:
    """Whether a run got so far as to leave something to resume."""
    journal = out.with_name(f"{out.name}.facemae-part") / "journal"
    return journal.exists() and b"\n" in journal.read_bytes()


def resume(out: Path, shade: int) -> None:
    if out.exists() and not begun(out):
        with pytest.raises(UsageError, match="complete already"):  # killed after its last step, or before its first
            write(out, shade, resume=True)
    else:
        write(out, shade, resume=True)


@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere_then_resumed(tmp_path: Path, kind: str) -> None:
    expected = unbroken(tmp_path / "whole", kind)
    for step in itertools.count():
        root = tmp_path / "killed"
        root.mkdir()
        killed = kill_before(step, root / kind)
        out_of_nothing = not (root / kind).exists()
        if killed:
            assert out_of_nothing or {k: v for k, v in files(root).items() if ".facemae-part" not in k} == expected
        resume(root / kind, 0)
        assert files(root) == expected
        shutil.rmtree(root)
        if not killed:
            break
    assert step > 30


@pytest.mark.parametrize("kind", KINDS)
def test_killed_anywhere_while_replacing(tmp_path: Path, kind: str) -> None:
    old = unbroken(tmp_path / "old", kind, 100)
    new = unbroken(tmp_path / "new", kind)
    for step in itertools.count():
        root = tmp_path / "killed"
        shutil.copytree(tmp_path / "old", root)
        killed = kill_before(step, root / kind, overwrite=True)
        if (root / kind).exists():
            shown = {name: data for name, data in files(root).items() if ".facemae-part" not in name}
            assert shown in (old, new)
        possible = [new] if begun(root / kind) else [old, new]
        resume(root / kind, 0)
        assert files(root) in possible
        shutil.rmtree(root)
        if not killed:
            break
    assert step > 30


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [25, 45])
def test_killed_again_while_resuming(tmp_path: Path, kind: str, first: int) -> None:
    expected = unbroken(tmp_path / "whole", kind)
    for step in itertools.count(0, 3):
        root = tmp_path / "killed"
        root.mkdir()
        assert kill_before(first, root / kind)
        killed = kill_before(step, root / kind, resume=True)
        resume(root / kind, 0)
        assert files(root) == expected
        shutil.rmtree(root)
        if not killed:
            break


@pytest.mark.parametrize("kind", KINDS)
def test_starting_over_after_a_kill_in_finish_leaves_nothing_of_the_old(tmp_path: Path, kind: str) -> None:
    new = unbroken(tmp_path / "new", kind)
    for step in itertools.count(0, 2):
        root = tmp_path / "killed"
        root.mkdir()
        write(root / kind, 100)
        killed = kill_before(step, root / kind, 50, overwrite=True)
        write(root / kind, 0, overwrite=True)
        assert files(root) == new
        shutil.rmtree(root)
        if not killed:
            break
