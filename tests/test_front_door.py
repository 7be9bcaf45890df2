"""The library as its users see it: typed, importable from the front, and its examples run as they stand."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.releases import write_faces

import facemae_cli
from facemae_cli import errors
from facemae_cli.evaluation.leakage.options import listed, parse_ks
from facemae_cli.evaluation.verification.gates import listed_gates, parse_gates

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "facemae_cli"
EXAMPLES = {
    f"{page.relative_to(ROOT)}-{number}": block
    for page in sorted([ROOT / "README.md", *PACKAGE.rglob("*.md")])
    for number, block in enumerate(re.findall(r"^```(?:python|py)\n(.*?)^```", page.read_text(), re.M | re.S), 1)
}
TYPED = """
from pathlib import Path
from facemae_cli import FacemaeError, LeakageResult, MaskResult, Refusal, VerifyResult, leakage, mask, verify
from facemae_cli import names, withdraw, convert, align, fit, train_recognizer, inspect, reconstruct, demo

def use() -> None:
    masked: MaskResult = mask("raw", Path("masked"), key="facemae.key", exclude="gone.txt")
    refused: list[Refusal] = masked.refused
    leaking: LeakageResult = leakage("raw", "released", k=2)
    leakage("raw", "released", k=[1, 2, 4], identities=[100, "all"], key=Path("k"), report="audit.html")
    found: VerifyResult = verify("lfw.bin", min_accuracy=0.99)
    verify([Path("lfw.bin"), "agedb.bin"], min_accuracy={"lfw": 0.99})
    withdraw(["masked", Path("released")], people="gone.txt")
    fit(data="public", out="runs/a", recipe="r.yaml")
    train_recognizer(data="released", pairs="lfw.bin")
    reconstruct("masked", "released", preview="sheet.png")
    convert("released", "released.rec", audit=["a.json"])
"""
WRONG = """
from facemae_cli import mask, leakage
def use() -> None:
    mask("raw", "masked", ratio="much")
    leakage("raw", "released", k=None)
    mask("raw", "masked", rotio=0.5)
"""


# All that --strict turns on, for the scripts alone: as an option it would make mypy learn the whole package anew.
STRICT = (
    "# mypy: disallow-any-generics, disallow-subclassing-any, disallow-untyped-calls, disallow-untyped-defs, "
    "disallow-untyped-decorators, warn-return-any, strict-equality, extra-checks, implicit-reexport=false\n"
)


def mypy(folder: Path, *texts: str) -> str:
    """What mypy says of these scripts; what it learnt of the package before is kept."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    files = []
    for number, text in enumerate(texts):
        files.append(folder / f"script{number}.py")
        files[-1].write_text(STRICT + text)
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    out, err, _ = api.run([*options, *map(str, files)])
    return str(out + err)


def names_in_the_stub() -> Iterator[str]:
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or "" for alias in node.names)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def test_all_of_the_front_is_there_and_typed() -> None:
    assert sorted(names_in_the_stub()) == sorted(facemae_cli.__all__)
    assert (PACKAGE / "py.typed").is_file()
    for name in facemae_cli.__all__:
        assert getattr(facemae_cli, name) is not None


def test_every_error_a_caller_may_catch_is_in_front() -> None:
    raised = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert raised - {"GateFailed"} <= set(facemae_cli.__all__)  # no task raises that one: the result says it
    assert issubclass(facemae_cli.UsageError, facemae_cli.FacemaeError)


def test_a_type_checker_sees_the_front_and_the_examples(tmp_path: Path) -> None:
    errors = [line for line in mypy(tmp_path, WRONG, TYPED, *EXAMPLES.values()).splitlines() if "error:" in line]
    assert len(errors) == 3, errors
    assert all("script0.py:" in line for line in errors), errors


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    write_faces(tmp_path / "raw", range(3), photos=2)
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLES[name]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_text_and_paths_are_taken(tmp_path: Path) -> None:
    write_faces(tmp_path / "raw", range(4), photos=2)
    place = str(tmp_path)
    facemae_cli.mask(f"{place}/raw", f"{place}/masked", key=f"{place}/key")
    facemae_cli.convert(f"{place}/masked", f"{place}/masked.rec")
    assert facemae_cli.inspect(f"{place}/masked.rec").faces == 8
    with pytest.raises(facemae_cli.InputError):
        facemae_cli.train_recognizer(data=f"{place}/nowhere", out=f"{place}/run", model="probe", device="cpu")


@pytest.mark.parametrize(("k", "read"), [(2, (2,)), ([4, 1, 2], (1, 2, 4)), ("1,3", (1, 3))])
def test_k_is_a_number_several_or_as_typed(k: Any, read: tuple[int, ...]) -> None:
    assert parse_ks(listed(k)) == read


@pytest.mark.parametrize(
    ("given", "minimums"), [(0.9, [0.9, 0.9]), ({"lfw": 0.8}, [0.8]), (["0.9", "lfw=0.8"], [0.8, 0.9]), (None, [])]
)
def test_accuracies_are_asked_for_by_number_by_pack_or_as_typed(given: Any, minimums: list[float]) -> None:
    assert [gate.minimum for gate in parse_gates(listed_gates(given), ["lfw", "agedb"])] == minimums


def test_notices_go_to_the_log_where_no_progress_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    write_faces(tmp_path / "raw", range(2), photos=1)
    with caplog.at_level(logging.WARNING, "facemae"):
        facemae_cli.mask(tmp_path / "raw", tmp_path / "masked", key=tmp_path / "key")
    assert any("made the key" in record.message for record in caplog.records)
    assert capsys.readouterr().out == ""
