"""The digest of faces: of their bytes in their order, the same wherever they lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from helpers.releases import write_faces

from facemae_cli import convert
from facemae_cli.data.digest import faces_digest, join_digests
from facemae_cli.data.open import open_source
from facemae_cli.runtime.progress import SILENT


@dataclass
class Told:
    """A progress that counts."""

    counts: list[int] = field(default_factory=list)

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        self.counts.append(total)

    def advance(self, count: int = 1, note: str = "") -> None:
        self.counts[-1] -= count

    def notice(self, line: str) -> None:
        raise AssertionError(line)


def test_it_is_of_bytes_in_their_order_whatever_holds_them(tmp_path: Path) -> None:
    raw = write_faces(tmp_path / "raw", range(3))
    source, told = open_source(raw), Told()
    every = range(len(source))
    wanted = hashlib.sha256(b"".join(b"+" + hashlib.sha256(source.read(index)).digest() for index in every)).hexdigest()
    assert faces_digest(source, every, 2, told) == wanted
    assert told.counts == [0]
    convert(raw, tmp_path / "copy.rec")
    assert faces_digest(open_source(tmp_path / "copy.rec"), every, 1, SILENT) == wanted
    assert faces_digest(source, every[::-1], 1, SILENT) != wanted
    assert faces_digest(source, every[:-1], 1, SILENT) != wanted


def test_a_face_that_cannot_be_read_counts_too(tmp_path: Path) -> None:
    raw = write_faces(tmp_path / "raw", range(2))
    source = open_source(raw)
    before = faces_digest(source, range(len(source)), 1, SILENT)
    Path(source.where(0)).unlink()
    after = faces_digest(source, range(len(source)), 1, SILENT)
    assert after == join_digests([None, *(hashlib.sha256(source.read(at)).digest() for at in range(1, len(source)))])
    assert after != before
