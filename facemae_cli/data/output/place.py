"""Where an output goes: what writes there, and what must not stand in its way."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from facemae_cli.data.files import is_inside, whole_of
from facemae_cli.data.open import ARCHIVES
from facemae_cli.data.output.beside import check_neighbours
from facemae_cli.data.output.folder import FolderWriter
from facemae_cli.data.output.recordio import RecWriter
from facemae_cli.data.output.staging import SUFFIX
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.errors import UsageError
from facemae_cli.runtime.mounts import mount_within

Writer: TypeAlias = FolderWriter | RecWriter


def writer_of(path: Path, ways: WaysOut = WAYS_OUT) -> tuple[Path, Writer]:
    """The staging folder of an output at `path`, and what writes into it, whose messages advise `ways`. Raises
    UsageError for what is no dataset."""
    target = _resolve(path)
    folder = target.with_name(target.name + SUFFIX)
    if target.suffix.lower() == ".parquet":
        from facemae_cli.data.parquet.writer import ParquetWriter

        return folder, ParquetWriter(folder, target, ways)
    return folder, (RecWriter if target.suffix.lower() == ".rec" else FolderWriter)(folder, target, ways)


def check_place(path: Path, writer: Writer, inputs: Sequence[Path]) -> None:
    """Raises UsageError where `path`, which is really at `writer.target`, and one of `inputs` contain each other, where
    something of it is a mount point, or where its manifest or card would be taken for a neighbour's."""
    for given in map(whole_of, inputs):
        if is_inside(writer.target, given):
            raise UsageError(f"--out {path} is inside the input {given}: choose a place outside it")
        if is_inside(given, writer.target):
            raise UsageError(f"the input {given} is inside --out {path}: choose another place")
    for _, final in writer.moves:
        if os.path.lexists(final) and (mount := mount_within(final)):
            named = writer.ways.named(path)
            raise UsageError(f"{named}: {mount} is a mount point, which cannot be replaced: name a place in it")
    check_neighbours(writer.target, writer.ways)


def check_fresh(writer: Writer, overwrite: bool, resume: bool) -> None:
    """Raises UsageError unless a new output may be started."""
    found = writer.occupied()
    if found is None or overwrite:
        check_free(writer, overwrite)
    elif resume and found == writer.target:
        raise UsageError(f"--resume: {found} is complete already; --overwrite recreates it")
    else:
        raise UsageError(f"{found} exists: choose another --out, or --overwrite to replace it once all is done")


def check_free(writer: Writer, replaces: bool) -> None:
    """Raises UsageError where something stands in the output's place that must not be replaced."""
    found = writer.occupied()
    if found is None:
        return
    if not replaces:
        raise UsageError(f"{found} appeared meanwhile: move it away, or use --resume --overwrite to replace it")
    writer.check_replaceable()


def _resolve(path: Path) -> Path:
    """Where the output really is, seen through links, so that it can be staged on the same file system."""
    if path.suffix.lower() == ".bin" or path.name == "pairs.txt":
        raise UsageError(f"{path} names a verification pack: faces go into a folder, X.rec or X.parquet")
    if path.suffix.lower() in ARCHIVES:
        raise UsageError(f"{path} names an archive, which is only read: name a folder, X.rec or X.parquet")
    if path.suffix.lower() in (".rec", ".parquet"):
        return path.parent.resolve() / path.name
    return path.resolve()
