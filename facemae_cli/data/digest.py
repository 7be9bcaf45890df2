"""What tells one set of faces from another: a digest of all their bytes, in their order, whatever they are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from facemae_cli.data.faces import FaceSource
from facemae_cli.errors import FaceError
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map


def faces_digest(source: FaceSource, indexes: Sequence[int], threads: int, progress: Progress) -> str:
    """That of the faces `indexes`, every one of which is read. Raises OutputError where the disk fails."""

    def of_face(index: int) -> bytes | None:
        try:
            return hashlib.sha256(source.read(index)).digest()
        except FaceError:
            return None

    def told(faces: Iterable[bytes | None]) -> Iterator[bytes | None]:
        for face in faces:
            yield face
            progress.advance()

    progress.start("digest", len(indexes))
    with closing(ordered_map(of_face, indexes, threads)) as faces:
        return join_digests(told(faces))


def join_digests(faces: Iterable[bytes | None]) -> str:
    """The sha256, in hex, of the sha256 of each face; None stands for one that cannot be read."""
    whole = hashlib.sha256()
    for face in faces:
        whole.update(b"-" if face is None else b"+" + face)
    return whole.hexdigest()
