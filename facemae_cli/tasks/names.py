"""Who is who in what a key masked, for those who may know: the names of a raw dataset beside their pseudonyms."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemae_cli.data.files import require_outside, write_whole
from facemae_cli.data.open import open_source
from facemae_cli.errors import InputError, UsageError
from facemae_cli.masking.key import DEFAULT_KEY_FILE, Key
from facemae_cli.runtime.progress import SILENT, Progress

COLUMNS = ("person", "photo", "person_pseudonym", "photo_pseudonym")


@dataclass(frozen=True)
class NamesResult:
    """What `names` wrote to `out`: a row for each of `photos` photos of `people` people."""

    out: Path
    photos: int
    people: int
    key_id: str

    def as_json(self) -> dict[str, Any]:
        """The result for machines, which names nobody."""
        return {
            "command": "names",
            "out": str(self.out),
            "photos": self.photos,
            "people": self.people,
            "key_id": self.key_id,
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        return [
            ("named", f"{self.photos} photos of {self.people} people -> {self.out}, which only you may read"),
            ("key_id", self.key_id),
            ("note", "it undoes the pseudonyms: keep it as you keep the key, or remove it after use"),
        ]


def names(
    input: str | Path = Path("raw"),
    out: str | Path = Path("names.csv"),
    *,
    key: str | Path = DEFAULT_KEY_FILE,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> NamesResult:
    """Writes who is who in the datasets that `key` masked, as CSV, readable by its owner alone (0600).

    input: the raw faces, as `mask` was given them.
    out: the CSV file: `person`, `photo`, `person_pseudonym`, `photo_pseudonym`, without suffixes of released images.
    key: the file of the key.

    Raises UsageError, InputError and OutputError.
    """
    input, out = Path(input), Path(out)
    require_outside(out, (input,), "--out")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists: choose another --out, or --overwrite to replace it")
    if out.is_file() and not _is_ours(out):
        raise UsageError(f"{out} is not a list of names, so it stays: choose another --out")
    secret = Key.load(Path(key), outside=(input,))
    source = open_source(input)
    if not len(source):
        raise InputError(f"{input} holds no faces; --in takes the raw dataset")
    rows = []
    for name in (source.name(index) for index in range(len(source))):
        keyed = secret.name(name)
        rows.append((name.identity or "", name.photo, keyed.identity or "", keyed.photo))
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows([COLUMNS, *rows])
    write_whole(out, held.getvalue(), 0o600)
    return NamesResult(out, len(rows), len({row[0] for row in rows} - {""}), secret.key_id)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(200).startswith(",".join(COLUMNS).encode())
