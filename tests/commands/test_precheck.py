"""Errors that need no torch come before it is imported, and read as the task's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from facemae_cli.app import main
code = main(sys.argv[1:])
print(code, "torch" in sys.modules, "timm" in sys.modules)
"""


def run(folder: Path, *words: str) -> tuple[str, str]:
    """What a fresh process says on stdout and stderr."""
    done = subprocess.run([sys.executable, "-c", CODE, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mask --in nowhere", "nowhere does not exist: give a folder of images or a .rec file"),
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
    ],
)
def test_what_is_not_there_is_said_before_torch_is_imported(line: str, said: str, tmp_path: Path) -> None:
    out, err = run(tmp_path, *line.split())
    assert out == "2 False False"
    assert said in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
