"""What many tasks begin with: faces, and the key that masks them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.maskcases import key_file, make_folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "raw")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return key_file(tmp_path / "the.key")
