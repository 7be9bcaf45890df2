"""Faces written as Parquet that Hugging Face's datasets loads: an image struct, a label with its names, row groups."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import Name
from facemae_cli.data.files import write_whole
from facemae_cli.data.manifest import Manifest, manifest_path, own_manifest
from facemae_cli.data.output.beside import BESIDE, beside_path, check_beside
from facemae_cli.data.output.recordio import RecWriter
from facemae_cli.data.parquet.source import need_pyarrow
from facemae_cli.data.recordio.source import RecSource
from facemae_cli.errors import UsageError

GROUP = 100  # rows, as datasets writes for images


class ParquetWriter(RecWriter):
    """The staged `X.parquet`. Faces are spooled as a `.rec`, which can be appended to and cut back, and become Parquet
    when all are there: a Parquet file is whole only with its end."""

    def __init__(self, staged: Path, target: Path) -> None:
        need_pyarrow()
        super().__init__(staged, target)

    @property
    def moves(self) -> list[tuple[Path, Path]]:
        """(staged, final) paths; the last is the one whose arrival completes the output."""
        cards = [(self.staged / name, beside_path(self.target, name)) for name in BESIDE]
        return [
            *cards,
            (self.staged / "facemae.json", manifest_path(self.target)),
            (self.staged / "faces.parquet", self.target),
        ]

    def seal(self, manifest: Manifest) -> None:
        """Turns the spooled faces into Parquet, and removes the spool. Raises OSError."""
        super().seal(manifest)
        self._write(self.staged / "faces.parquet")
        for kind in ("rec", "idx", "lst"):
            (self.staged / f"faces.{kind}").unlink()
        (self.staged / "property").unlink()

    def _write(self, path: Path) -> None:
        import pyarrow

        parquet = need_pyarrow()
        image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        names = list(self._labels)
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        told = json.dumps({"info": {"features": features}})
        schema = pyarrow.schema([("image", image), ("label", pyarrow.int64())], {"huggingface": told})
        with path.open("wb") as file:
            with parquet.ParquetWriter(file, schema, compression="none") as writer:
                for rows in self._rows():
                    writer.write_table(pyarrow.Table.from_pylist(rows, schema), row_group_size=GROUP)
            file.flush()
            os.fsync(file.fileno())

    def _rows(self) -> Iterator[list[dict[str, Any]]]:
        if not self._images:
            return
        source = RecSource(self.staged / "faces.rec")
        for first in range(0, len(source), GROUP):
            yield [self._row(source, index) for index in range(first, min(first + GROUP, len(source)))]

    def _row(self, source: RecSource, index: int) -> dict[str, Any]:
        name: Name = source.name(index)
        label = -1 if name.identity is None else self._labels[name.identity]
        return {"image": {"bytes": source.read(index), "path": name.photo}, "label": label}

    def check_replaceable(self) -> None:
        """Raises UsageError unless all that stands in the output's place is an output of ours."""
        for _, final in self.moves:
            if final.is_dir() or final.is_symlink():
                raise UsageError(f"{final} is a folder or a link, and a file has to go there: choose another --out")
        if own_manifest(self.target) is None or not self.target.is_file():  # it may tell of a .rec of this name
            raise UsageError(
                f"{self.occupied()} was not made by facemae as a part of {self.target.name}: choose another --out, or"
                " remove it yourself"
            )
        check_beside(self.target)

    def add(self, name: str, text: str) -> None:
        """Stages a file for readers. Raises OutputError."""
        write_whole(self.staged / name, text, 0o666)
