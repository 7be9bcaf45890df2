"""The list of whom mixed faces are made, beside its dataset: without it nobody can audit that, or be withdrawn from it.

So none replaces the list of a dataset that stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.files import STAGING_SUFFIX
from facemae_cli.data.manifest import own_manifest
from facemae_cli.data.side_files import SOURCES, SideFile
from facemae_cli.errors import UsageError
from facemae_cli.masking.mixing import SOURCES_CODE, sources_code


@dataclass(frozen=True)
class SourcesList:
    """The list to be written to `path` with the mixed faces of `out`."""

    path: Path
    out: Path

    def check(self, *, overwrite: bool, resume: bool, places: Sequence[Path]) -> None:
        """Raises UsageError as `SideFile.check`, and where another dataset's list stands there; under `resume` it may
        be that of the stopped run, and `write` sees to the rest."""
        if not resume:
            self._require_own()
        self._file.check(overwrite=overwrite, resume=resume, places=places)

    def write(self, table: str, code: str, *, overwrite: bool) -> None:
        """Writes the `table` of a run, with its `code`, whole or not at all; before its dataset replaces the old one.
        Raises UsageError and OutputError."""
        self._require_own(code)
        self._file.write(table, overwrite=overwrite)

    @property
    def _file(self) -> SideFile:
        return SideFile(self.path, "--sources", "sources")

    def _require_own(self, code: str | None = None) -> None:
        """Raises UsageError where a list stands there that is neither of the dataset to be replaced nor has `code`."""
        rows = _first_rows(self.path)
        if not rows or rows[0] != ",".join(SOURCES):
            return  # whatever that is: the rest is said of any side file
        there = rows[1].partition(",")[0] if len(rows) > 1 else ""
        held = there.removeprefix(SOURCES_CODE) if there.startswith(SOURCES_CODE) else None
        replaced = own_manifest(self.out, {"mask"})
        if replaced is not None and replaced.mixed_people and held == sources_code(replaced):
            return  # both None: an older dataset, whose list has no code
        if held is not None and held == code:
            return
        stopped = self.out.with_name(self.out.name + STAGING_SUFFIX)
        way_out = (
            f"--resume ends the stopped run in {stopped}, if it is of that"
            if self.out.name and os.path.lexists(stopped)
            else "remove it yourself if that dataset is gone"
        )
        raise UsageError(
            f"--sources {self.path} is the list of another dataset, which needs it: choose another --sources, or "
            + way_out
        )


def _first_rows(path: Path) -> list[str]:
    """The first two rows of a file, as text; none where it is not a file that can be read."""
    with suppress(OSError):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                return [file.readline(4096).decode("utf-8", "replace").rstrip("\r\n") for _ in range(2)]
    return []
