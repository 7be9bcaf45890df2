"""Which format a path is, and its faces opened for reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from facemae_cli.data.files import STAGING_SUFFIX
from facemae_cli.data.names import one_line
from facemae_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from facemae_cli.data.faces import FaceSource

SourceKind = Literal["folder", "rec", "pack", "parquet", "archive"]
ARCHIVES = (".zip", ".tar")
ACCEPTED = "a folder of images, a .rec, .parquet, .zip or .tar"  # what `open_source` opens


def kind_of(path: Path) -> SourceKind:
    """Which format `path` is, by what stands there, or by its name alone where nothing does yet (an output).

    `rec`: `X.rec`, or a folder with a `train.rec`. `pack`, a verification pack: `X.bin` or `pairs.txt`. `parquet`:
    `X.parquet`, or a folder with such files in it or in its `data`. `archive`: `X.zip` or `X.tar`. Else `folder`.
    Raises InputError for a file of any other kind.
    """
    path = Path(path)
    if os.path.isdir(path):
        return "rec" if os.path.isfile(path / "train.rec") else "parquet" if parquet_files(path) else "folder"
    if path.suffix.lower() == ".parquet":
        return "parquet"
    if path.suffix.lower() in ARCHIVES:
        return "archive"
    if path.suffix.lower() == ".rec":
        return "rec"
    if path.suffix.lower() == ".bin" or path.name == "pairs.txt":
        return "pack"
    if os.path.lexists(path):
        from facemae_cli.data.content import describe_content  # here, since every command's --help would pay for it

        what, way_out = one_line(str(path)), "give what holds the faces"
        raise InputError(f"{what} is not {ACCEPTED}, nor a pack (.bin or pairs.txt){describe_content(path)}: {way_out}")
    return "folder"


def parquet_files(path: Path) -> list[Path]:
    """The Parquet files that make a folder, or its `data`, a dataset; none where it is another one."""
    from facemae_cli.data.parquet.source import parquet_files as found

    return found(path)


def require_exists(path: Path) -> None:
    """Raises InputError where nothing is at the path of a dataset."""
    if not os.path.exists(path):
        shown, staging = one_line(str(path)), path.with_name(path.name + STAGING_SUFFIX)
        if path.name and os.path.isdir(staging):
            way_out = "run the same command again, with --resume, to end it"
            raise InputError(f"{shown} does not exist: {one_line(str(staging))} is left from a stopped run; {way_out}")
        raise InputError(f"{shown} does not exist: give {ACCEPTED}")


def open_source(path: Path, *, whole: bool = False) -> FaceSource:
    """The faces at `path` (a folder of images, a .rec, .parquet, .zip or .tar) opened for reading.

    `whole`: every byte of a `.rec` is looked at, so that all that is in it is found, whatever its `.idx` says.

    Raises InputError where nothing is there or it cannot be read, UsageError for a verification pack.
    """
    path = Path(path)
    require_exists(path)
    kind = kind_of(path)
    if kind == "pack":
        raise UsageError(
            f"{one_line(str(path))} is a verification pack, which holds pairs: `facemae verify` takes it, "
            "and `facemae convert` turns it into a folder, .rec or .parquet"
        )
    if kind == "rec":
        from facemae_cli.data.recordio.source import RecSource

        return RecSource(path, whole=whole)
    if kind == "parquet":
        from facemae_cli.data.parquet.source import ParquetSource

        return ParquetSource(path)
    if kind == "archive":
        from facemae_cli.data.archive import ArchiveSource

        return ArchiveSource(path)
    from facemae_cli.data.folder import FolderSource

    return FolderSource(path)
