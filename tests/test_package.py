"""The wheel: what lands in site-packages, and that it works from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from facemae_cli import __version__

ROOT = Path(__file__).parents[1]
INPUTS = ("facemae_cli", "models", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", ".gitignore")
DIST_INFO = f"facemae-{__version__}.dist-info"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is made from, with strays that must not be in it."""
    copy = tmp_path_factory.mktemp("sources")
    for name in INPUTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    for stray in (
        "models/notes.txt",
        "models/facemae-tiny/curves.png",
        "facemae.key",
        "runs/a/model.yaml",
        "raw/p/1.jpg",
    ):
        (copy / stray).parent.mkdir(parents=True, exist_ok=True)
        (copy / stray).write_text("stray")
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling, of the extra `test`, is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    (built,) = builder.WheelBuilder(str(sources)).build(directory=str(folder), versions=["standard"])
    return zipfile.ZipFile(built)


def test_the_top_holds_the_package_and_its_metadata_only(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0] for name in wheel.namelist()} == {"facemae_cli", DIST_INFO}


def test_every_module_is_in_it(wheel: zipfile.ZipFile, sources: Path) -> None:
    modules = {str(path.relative_to(sources)) for path in (sources / "facemae_cli").rglob("*.py")}
    assert modules == {name for name in wheel.namelist() if name.endswith(".py")}


def test_the_page_of_a_report_is_in_it(wheel: zipfile.ZipFile) -> None:
    assert {"facemae_cli/reports/templates/page.html", "facemae_cli/reports/templates/page.css"} <= set(
        wheel.namelist()
    )


def test_the_models_are_inside_the_package(wheel: zipfile.ZipFile, sources: Path) -> None:
    kept = [*sources.glob("models/*/model.yaml"), *sources.glob("models/*/weights.safetensors")]
    kept += sources.glob("models/*.md")
    assert len(kept) >= 6
    expected = {f"facemae_cli/{path.relative_to(sources)}" for path in kept}
    assert {name for name in wheel.namelist() if name.startswith("facemae_cli/models/")} == expected


def test_the_metadata_says_who_it_is(wheel: zipfile.ZipFile) -> None:
    said = Parser().parsestr(wheel.read(f"{DIST_INFO}/METADATA").decode())
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("facemae", __version__, "Apache-2.0")
    assert said["Requires-Python"] == ">=3.11"
    assert {"gpu", "openvino", "parquet", "test"} == set(said.get_all("Provides-Extra", []))
    assert f"{DIST_INFO}/licenses/LICENSE" in wheel.namelist()
    assert "facemae = facemae_cli.app:main" in wheel.read(f"{DIST_INFO}/entry_points.txt").decode()


def test_it_is_small(wheel: zipfile.ZipFile) -> None:
    for info in wheel.infolist():
        limit = 20e6 if info.filename.endswith("weights.safetensors") else 1e6
        assert info.file_size <= limit, info.filename


def test_it_works_from_where_it_is_installed(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    wheel.extractall(site)
    script = (
        "import facemae_cli; from facemae_cli.networks import zoo; "
        "print(facemae_cli.__file__, zoo.root(), *zoo.names())"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", script], cwd=elsewhere, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    file, root, *names = done.stdout.split()
    assert file == str(site / "facemae_cli" / "__init__.py")
    assert root == str(site / "facemae_cli" / "models")
    assert "facemae-tiny" in names
