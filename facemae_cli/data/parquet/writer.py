"""Faces written as Parquet that Hugging Face's datasets loads: an image struct, a label with its names, row groups."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import Name
from facemae_cli.data.manifest import Manifest, manifest_path
from facemae_cli.data.output.beside import BESIDE, beside_path
from facemae_cli.data.output.recordio import RecWriter
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.data.parquet.source import need_pyarrow
from facemae_cli.data.recordio.source import RecSource

GROUP = 100  # rows, as datasets writes for images


class ParquetWriter(RecWriter):
    """The staged `X.parquet`. Faces are spooled as a `.rec`, which can be appended to and cut back, and become Parquet
    when all are there: a Parquet file is whole only with its end."""

    def __init__(self, staged: Path, target: Path, ways: WaysOut = WAYS_OUT) -> None:
        need_pyarrow()
        super().__init__(staged, target, ways)

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
        """Turns the spooled faces into Parquet. The spool stays until all is in place, so that a run that is killed
        before its journal is sealed can do this again. Raises OSError."""
        super().seal(manifest)
        self._write(self.staged / "faces.parquet")

    def _write(self, path: Path) -> None:
        import pyarrow

        parquet = need_pyarrow()
        names = list(self._labels)
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        schema = _schema().with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
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

    def _is_ours(self, faces: int) -> bool:
        """Whether the old output has so many rows, in the columns we write."""
        try:
            old = need_pyarrow().ParquetFile(self.target)
        except (OSError, ValueError):  # pyarrow's own errors are ValueErrors
            return False
        return bool(old.metadata.num_rows == faces and old.schema_arrow.equals(_schema()))


def _schema() -> Any:
    """The columns: an image struct and a label."""
    import pyarrow

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    return pyarrow.schema([("image", image), ("label", pyarrow.int64())])
