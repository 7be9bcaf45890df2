"""Faces in Parquet, as Hugging Face's datasets writes them, read a row group at a time."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

from facemae_cli.data.faces import FaceSource, Name, Refusal
from facemae_cli.data.images.headers.header import Limits, limits_in_use
from facemae_cli.data.names import in_order, one_line
from facemae_cli.data.scan import beside
from facemae_cli.errors import FaceError, InputError

IMAGE_COLUMNS = ("image", "img", "photo", "face")
LABEL_COLUMNS = ("label", "labels", "identity", "person", "name", "id")
HIDDEN_FILES = "Parquet files that begin with a dot"
KEPT = 8  # row groups in memory


def need_pyarrow() -> ModuleType:
    """pyarrow.parquet. Raises InputError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("Parquet needs pyarrow: `pip install 'facemae[parquet]'`") from error
    return pyarrow.parquet


def parquet_files(path: Path) -> list[Path]:
    """The shards of a dataset: the file itself, or those in a folder or in its `data`, in order; else none."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    for folder in (path, path / "data"):
        if folder.is_dir() and (found := [name for name in _in(folder) if not name.startswith(".")]):
            return [folder / name for name in in_order(found)]
    return []


def _in(folder: Path) -> list[str]:
    """The Parquet files in a folder by name, hidden ones too."""
    return [name for name in os.listdir(folder) if name.lower().endswith(".parquet")]


def _left_alone(path: Path, folder: Path) -> dict[str, int]:
    """What stands in `path`, and in the `folder` of its shards, and is not read."""
    hidden = sum(name.startswith(".") for name in _in(folder))
    found = Counter(beside(folder, "the Parquet files"))
    if folder != path:
        found.update(beside(path, "the Parquet files", own=folder.name))
    return ({HIDDEN_FILES: hidden} if hidden else {}) | found


class ParquetSource(FaceSource):
    """The faces of `X.parquet`, or of the shards in a folder, in the order of their rows.

    Images stand in a column `image` (a struct of `bytes` and `path`, or plain bytes), people in `label` (a number, for
    which the file may give names, or text). A photo is called as its `path`, else by its row. Row groups are read whole
    and a few are kept, so reading in order is fast, and memory does not grow with the dataset. Shards that begin with a
    dot, and images and folders beside the shards, are passed over and counted. Raises InputError.
    """

    kind = "parquet"
    ignored = 0

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        self.refused: Sequence[Refusal] = ()
        self._files = parquet_files(self.path)
        if self.path.is_dir():
            self.passed_over = _left_alone(self.path, self._files[0].parent)
        self._names: list[Name] = []
        self._groups: list[tuple[int, int]] = []  # shard, row group
        rows: list[int] = []
        for shard, file in enumerate(self._files):
            opened = self._open(file)
            self._names += self._named(opened, file, len(self._names))
            for group in range(opened.num_row_groups):
                self._groups.append((shard, group))
                rows.append(opened.metadata.row_group(group).num_rows)
        self._starts = [0, *accumulate(rows)]
        self._read: OrderedDict[int, list[Any]] = OrderedDict()
        self._lock = Lock()

    def _open(self, file: Path) -> Any:
        try:
            return need_pyarrow().ParquetFile(file)
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(f"{one_line(str(file))} is not a Parquet file that can be read: {reason}") from error

    def _named(self, opened: Any, file: Path, first: int) -> list[Name]:
        """What the rows of a shard are called; only labels and paths are read."""
        schema = opened.schema_arrow
        image = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
        if image is None:
            raise InputError(
                f"{one_line(str(file))} has no column image, but {one_line(', '.join(schema.names[:9]))}: rename it"
            )
        self._image = image
        label = next((name for name in LABEL_COLUMNS if name in schema.names), None)
        kind = schema.field(image).type
        fields = [kind.field(at).name for at in range(kind.num_fields)]
        columns = [f"{image}.path"] if "path" in fields else []
        table = opened.read(columns=columns + ([label] if label else []))
        rows = opened.metadata.num_rows
        paths = [each and each["path"] for each in table.column(image).to_pylist()] if columns else [None] * rows
        labels = table.column(label).to_pylist() if label else [None] * rows
        names = _label_names(schema.metadata or {}, label)
        digits = range(first, first + rows)
        return [_name(one, names, path, row) for one, path, row in zip(labels, paths, digits, strict=True)]

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> Name:
        return self._names[index]

    def where(self, index: int) -> str:
        shard, _ = self._groups[bisect_right(self._starts, index) - 1]
        return f"{one_line(str(self._files[shard]))} row {index}"

    def read(self, index: int) -> bytes:
        """The image bytes of face `index`. Raises FaceError: `empty`, `too-large`, `unreadable`."""
        place = bisect_right(self._starts, index) - 1
        value = self._group(place)[index - self._starts[place]]
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            raise FaceError("empty", "the row holds no image, at most a path to one: embed the files in the dataset")
        if len(data) > self.limits.max_bytes:
            raise FaceError("too-large", f"{len(data)} bytes, over the limit of {self.limits.max_bytes}")
        return bytes(data)

    def _group(self, place: int) -> list[Any]:
        with self._lock:
            if place not in self._read:
                shard, group = self._groups[place]
                try:
                    table = self._open(self._files[shard]).read_row_group(group, columns=[self._image])
                except (OSError, ValueError) as error:
                    raise FaceError("unreadable", f"its row group is damaged: {str(error)[:200]}") from error
                self._read[place] = table.column(self._image).to_pylist()
                if len(self._read) > KEPT:
                    self._read.popitem(last=False)
            self._read.move_to_end(place)
            return self._read[place]

    def __reduce__(self) -> tuple[type[ParquetSource], tuple[Path, Limits]]:
        return type(self), (self.path, self.limits)


def _label_names(metadata: dict[bytes, bytes], label: str | None) -> Sequence[str]:
    """The names of a ClassLabel, as datasets keeps them beside the schema."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
        return names if all(isinstance(name, str) for name in names) else ()
    except (KeyError, TypeError, ValueError):
        return ()


def _name(label: Any, names: Sequence[str], path: str | None, row: int) -> Name:
    photo = os.path.basename(path or "") or str(row)
    if label is None or (isinstance(label, int) and label < 0):
        return Name(None, photo)
    known = isinstance(label, int) and label < len(names)
    parts = [part for part in (names[label] if known else str(label)).split("/") if part not in ("", ".", "..")]
    return Name("/".join(parts) or None, photo)
