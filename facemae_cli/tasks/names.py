"""Who is who in what a key masked, for those who may know: the names of a raw dataset beside their pseudonyms."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facemae_cli.data.faces import NotRead
from facemae_cli.data.open import open_source
from facemae_cli.data.side_files import NAMES, SideFile
from facemae_cli.masking.key import DEFAULT_KEY_FILE, Key
from facemae_cli.masking.people_list import raw_names
from facemae_cli.masking.pseudonyms import recover_names
from facemae_cli.runtime.progress import SILENT, Progress


@dataclass(frozen=True)
class NamesResult:
    """What `names` wrote to `out`: a row for each of `photos` photos of `people` people.

    `not_read`: what of the dataset's place is not part of it."""

    out: Path
    photos: int
    people: int
    key_id: str
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The result for machines, which names nobody."""
        return {
            "schema": 1,
            "command": "names",
            "out": str(self.out),
            "photos": self.photos,
            "people": self.people,
            "key_id": self.key_id,
            **self.not_read.as_json(),
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        return [
            ("named", f"{self.photos} photos of {self.people} people -> {self.out}, which only you may read"),
            ("key_id", self.key_id),
            *self.not_read.rows(),
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
    out: the CSV file: `person`, `photo`, `person_pseudonym`, `photo_pseudonym`, without suffixes of released images;
        a row for each face that `mask` can have taken, so one where a `.lst` names several faces alike.
    key: the file of the key.
    overwrite: whether an older file of this kind is replaced; False: it is refused.
    progress: what is told of the key; by default nobody.

    Raises UsageError, InputError and OutputError.
    """
    input, out = Path(input), Path(out)
    table = SideFile(out, "--out", "names")
    table.check(overwrite=overwrite, places=(input, Path(key)))
    secret = Key.load(Path(key), outside=(input,), progress=progress)
    source = open_source(input)
    who = recover_names(raw_names(source, "--in"), secret)
    rows = [(name.identity or "", name.photo, keyed.identity or "", keyed.photo) for keyed, name in who.items()]
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows([NAMES, *rows])
    table.write(held.getvalue(), overwrite=overwrite)
    people = len({row[2] for row in rows} - {""})
    return NamesResult(out, len(rows), people, secret.key_id, NotRead.of(source))
