"""What every test may ask for: the real faces, where the machine has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch and numpy are imported: a test process a core, each with one thread, is faster than threads in each. The
# first process hands its environment to the others, so all say one.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


def _faces_folder() -> Path | None:
    named = os.environ.get("FACEMAE_FACES")
    return Path(named).resolve() if named else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests that need real faces where FACEMAE_FACES names none; a wrong name fails them."""
    if _faces_folder() is None:
        for item in items:
            if item.get_closest_marker("faces"):
                item.add_marker(pytest.mark.skip(reason="needs real faces: set FACEMAE_FACES"))


@pytest.fixture(scope="session")
def faces_root() -> Path:
    """The folder of real faces that FACEMAE_FACES names; for tests marked `faces`."""
    folder = _faces_folder()
    assert folder is not None, "this test reads real faces, so it must be marked `faces`"
    assert folder.is_dir(), f"FACEMAE_FACES names {folder}, which is no folder"
    return folder
