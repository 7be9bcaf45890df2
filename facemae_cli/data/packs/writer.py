"""Writing a verification pack: the images of pairs, as they are, in a `.bin` that InsightFace reads."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facemae_cli import __version__
from facemae_cli.data.faces import FaceSource, Refusal, count_reasons
from facemae_cli.data.files import is_inside, whole_of, write_whole
from facemae_cli.data.images.codec import probe
from facemae_cli.data.manifest import Manifest, manifest_path, own_manifest, read_manifest, write_manifest
from facemae_cli.data.output.beside import check_neighbours
from facemae_cli.data.output.ways_out import WaysOut
from facemae_cli.data.packs.source import BinPack, pack_bytes
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.runtime.mounts import mount_within
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map

SIDE = 112  # pixels a side that InsightFace's packs have


@dataclass(frozen=True)
class WrittenPack:
    """What a written `.bin` holds: distinct `faces`, `pairs` of them, and how many faces are not 112 x 112 pixels.

    `left_out`: pairs of which a face was `refused` on reading.
    """

    faces: int
    pairs: int
    left_out: int
    other_size: int
    refused: list[Refusal]


def whole_face(source: FaceSource, index: int) -> bytes | FaceError:
    """The bytes of a face, whole by their framing, or why they are not; nothing is decoded."""
    try:
        data = source.read(index)
        probe(data)
        return data
    except FaceError as error:
        return error


def whole_pairs(path: Path, pairs: NDArray[np.int64], lost: Collection[int]) -> NDArray[np.int64]:
    """Which of `pairs`, (n, 2) indexes of faces, have neither in `lost`. Raises InputError where none have."""
    left = np.flatnonzero(np.isin(pairs, list(lost), invert=True).all(axis=1))
    if not len(left):
        raise InputError(f"{path}: not one of its {len(pairs)} pairs has two whole images")
    return left


def check_free(out: Path, path: Path, overwrite: bool, option: str = "--out") -> None:
    """Raises UsageError where the `.bin` `out` may not be written: it lies in the dataset at `path`, something stands
    there, and is not to be replaced or not a pack that facemae wrote, or there is no folder for it."""
    if is_inside(out, whole_of(path)):
        raise UsageError(f"{option} {out} is inside the input {whole_of(path)}: choose a place outside it")
    if not out.parent.is_dir():
        raise UsageError(f"{option} {out}: there is no folder {out.parent}; make it first")
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {out}: the folder {out.parent} cannot be written; choose another place")
    if os.path.lexists(out) and not overwrite:
        raise UsageError(f"{out} exists: choose another {option}, or --overwrite to replace it once all is done")
    places = [place for place in (out, manifest_path(out)) if os.path.lexists(place)]
    for place in places:
        if place.is_symlink() or not place.is_file() or mount_within(place):
            raise UsageError(f"{place} is a link, a folder or a mount, which is not replaced: choose another {option}")
    check_neighbours(out, WaysOut(option=option))
    manifest = own_manifest(out, ("convert", "verify"))
    if places and (manifest is None or (out in places and not _is_ours(out, manifest.counts["out"]))):
        raise UsageError(
            f"{places[0]} was not made by facemae (no {manifest_path(out).name} of ours that tells of it): choose"
            f" another {option}, or remove it yourself"
        )


def _is_ours(out: Path, faces: int) -> bool:
    """Whether an old pack holds so many distinct faces."""
    try:
        return len(BinPack(out)) == faces
    except InputError:
        return False


def write_bin(
    out: Path,
    source: FaceSource,
    pairs: NDArray[np.int64],
    same: NDArray[np.bool_],
    *,
    command: str,
    threads: int,
    progress: Progress,
) -> WrittenPack:
    """Writes the `.bin` of `pairs`, (n, 2) indexes of faces, with its manifest `X.bin.facemae.json` beside it.

    Pairs with a broken face are left out. Raises InputError where no pair is whole, OutputError where the disk fails.
    """
    wanted = np.unique(pairs).tolist()
    images: dict[int, bytes] = {}
    refused: list[Refusal] = []
    progress.start(command, len(wanted))
    with closing(ordered_map(partial(whole_face, source), wanted, threads)) as faces:
        for index, face in zip(wanted, faces, strict=True):
            if isinstance(face, FaceError):
                refused.append(Refusal(source.where(index), face.reason, face.detail))
            else:
                images[index] = face
            progress.advance()
    left = whole_pairs(source.path, pairs, set(wanted) - set(images))
    kept = np.unique(pairs[left]).tolist()
    distinct = len({images[index] for index in kept})  # as the pack holds them, and is read
    manifest = copied_manifest(source, command, distinct, [*source.refused, *refused])
    write_manifest(manifest_path(out), manifest)  # first: where there is a pack, all of it is there
    write_whole(out, pack_bytes((images[index] for index in pairs[left].ravel().tolist()), same[left].tolist()), 0o666)
    other_size = sum((size.height, size.width) != (SIDE, SIDE) for size in (probe(images[index]) for index in kept))
    return WrittenPack(len(kept), len(left), len(pairs) - len(left), other_size, refused)


def copied_manifest(source: FaceSource, command: str, faces: int, refused: Iterable[Refusal]) -> Manifest:
    """The manifest of `faces` copied from `source`: what its own says of them, which is still the same."""
    before = read_manifest(source.path.parent if source.path.name == "pairs.txt" else source.path)
    return replace(
        before or Manifest(command=command),
        command=command,
        version=__version__,
        counts={"in": len(source) + len(source.refused), "out": faces, "refused": count_reasons(refused)},
        names="copied",
        extra={"made_by": before.command, **before.extra} if before else {},
    )
