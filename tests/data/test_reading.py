"""Files that somebody names, read up to a limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemae_cli.data.reading import read_small
from facemae_cli.errors import InputError


def test_a_small_file_is_read_up_to_its_limit_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"x" * 2**20)
    assert read_small(path, f"--list {path}", 2**20, "give a list") == b"x" * 2**20
    with pytest.raises(InputError, match=r"^--list .*list.txt is larger than 0.5 MiB: give a list$"):
        read_small(path, f"--list {path}", 2**19, "give a list")
    with pytest.raises(InputError, match=r"^--list .* cannot be read: Is a directory; give a list$"):
        read_small(tmp_path, f"--list {tmp_path}", 1, "give a list")
