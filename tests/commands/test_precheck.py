"""Errors that need no torch come before it is imported, and read as the task's own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

# One fresh process for all lines: what none of them imports, none of them pays for.
CODE = """
import contextlib, io, json, os, sys
from facemae_cli.app import main
for line in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(line.split())
    heavy = [name for name in ("torch", "timm") if name in sys.modules]
    print(json.dumps([code, heavy, err.getvalue(), os.listdir()]))
"""
REFUSED = [
    ("mask --in nowhere", "nowhere does not exist: give a folder of images, a .rec, .parquet, .zip or .tar"),
    ("reconstruct --in nowhere", "nowhere does not exist"),
    ("reconstruct --in . --model nobody", "nobody: neither a path nor a model of the zoo"),
    ("reconstruct --in . --model probe", "a model of kind embedder"),
    ("leakage --original nowhere --released .", "nowhere does not exist"),
    ("leakage --original . --released nowhere", "nowhere does not exist"),
    ("leakage --original . --released . --adapt nowhere", "nowhere does not exist"),
    ("leakage --original . --released . --attacker probe-v1 --attacker nobody", "nobody: neither"),
    ("leakage --original . --released . --imitation-model probe-v1", "one of kind mae is needed"),
    ("fit --data nowhere --loss mse", "nowhere does not exist"),
    ("fit --data . --embedder nobody", "nobody: neither"),
    ("train-recognizer --data nowhere", "nowhere does not exist"),
    ("train-recognizer --data . --teacher nobody", "nobody: neither"),
    ("train-recognizer --data . --pairs nowhere.bin", "nowhere.bin"),
    ("verify --pairs nowhere.bin", "nowhere.bin"),
    ("demo --model nobody", "nobody: neither"),
    ("demo --people 1", "--people 1: there is nobody"),
    ("leakage --k 0", "--k '0': give a number from 1 to 1000"),
    ("leakage --max-leakage 20", "write 0.2 for 20 %"),
    ("leakage --device toaster", "--device 'toaster' is not a device"),
    ("verify --pairs . --min-accuracy 99", "so write 0.99 for 99 %"),
    ("verify --pairs . --batch-size 0", "--batch-size '0' is neither"),
    ("reconstruct --in . --workers 0", "--workers 0 must be at least 1"),
    ("reconstruct --in . --min-hidden 0.1", "--min-hidden 0.1 must be from 0.2"),
    ("reconstruct --in . --quality 0", "--quality 0 must be from 1 to 100"),
    ("reconstruct --in . --format gif", "--format 'gif' is not known"),
    ("reconstruct --in . --mask-color red", "--mask-color 'red' is not a colour"),
    ("reconstruct --in . --out x", "--out x is inside the input ."),
    ("reconstruct --in . --precision fp8", "--precision 'fp8' is not known"),
    ("fit --recipe nowhere.yaml --data nowhere", "--recipe nowhere.yaml cannot be read: No such file"),
    ("fit --data . --loss max", "recipe loss: 'max' is not known; say irm or mse or mixed"),
    ("train-recognizer --recipe . --data nowhere", "--recipe . cannot be read: Is a directory"),
    ("train-recognizer --data . --m 9", "recipe m: 9.0 must be in [0, 1.5)"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code, heavy modules, stderr and files of each line."""
    lines, folder = [line for line, _ in REFUSED], tmp_path_factory.mktemp("empty")
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, cwd=folder, input=json.dumps(lines), capture_output=True, text=True, check=True)
    return dict(zip(lines, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("line", "said"), REFUSED)
def test_what_is_wrong_at_sight_is_said_before_torch_is_imported(answers: dict[str, Any], line: str, said: str) -> None:
    code, heavy, err, left = answers[line]
    assert (code, heavy, left) == (2, [], [])
    assert said in err
    assert len(err.splitlines()) == 1
