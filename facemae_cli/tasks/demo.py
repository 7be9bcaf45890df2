"""The whole way from raw to released faces, on people who are drawn: for a machine that has no faces."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import facemae_cli
from facemae_cli import sheets
from facemae_cli.data import open_source
from facemae_cli.data.drawn import write_dataset
from facemae_cli.data.faces import FaceSource, Name, Refusal, count_reasons
from facemae_cli.data.files import disk_errors
from facemae_cli.data.images import decode, decode_masked
from facemae_cli.data.manifest import read_manifest
from facemae_cli.errors import UsageError
from facemae_cli.keys import Key, without_suffix
from facemae_cli.networks.loading import load_mae
from facemae_cli.progress import SILENT, Progress
from facemae_cli.zoo import resolve

FOLDERS = ("raw", "masked", "released")
KEY, SHEET = "facemae.key", "contact-sheet.png"
SHOWN = 12  # people on the contact sheet


@dataclass(frozen=True)
class DemoResult:
    """What `demo` left in the folder `out`: `raw`, `masked`, `released`, the key between them and a contact sheet."""

    out: Path
    people: int
    faces: int
    ratio: float | None
    model: str
    refused: list[Refusal] = field(default_factory=list)

    @property
    def sheet(self) -> Path:
        """The picture to look at first."""
        return self.out / SHEET

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        return {
            "command": "demo",
            "out": str(self.out),
            **{name: str(self.out / name) for name in FOLDERS},
            "key": str(self.out / KEY),
            "contact_sheet": str(self.sheet),
            "people": self.people,
            "faces": {"in": self.faces, "out": self.faces - len(self.refused), "refused": count_reasons(self.refused)},
            "mask_ratio": self.ratio,
            "model": {"name": self.model},
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person, with the commands that do the same to real faces."""
        return [
            ("raw", f"{self.out / 'raw'}: {self.faces} drawn faces of {self.people} people who do not exist"),
            ("masked", f"{self.out / 'masked'}: {100 * (self.ratio or 0):.0f} % of each face is gone, names are keyed"),
            ("released", f"{self.out / 'released'}: drawn anew by {self.model} from what was left"),
            ("look at", str(self.sheet)),
            ("", ""),
            ("next", "the same with aligned faces of your own, one folder a person or a .rec:"),
            ("", "facemae mask --in raw --out masked"),
            ("", "facemae reconstruct --in masked --out released --preview preview.png"),
        ]


def demo(
    out: Path = Path("facemae-demo"),
    *,
    people: int = 40,
    photos: int = 5,
    seed: int = 0,
    model: str = "facemae-v1",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DemoResult:
    """Draws `photos` faces of each of `people` people, masks them, reconstructs them, and shows all three side by side.

    `seed` chooses the people; `model` is what `reconstruct` takes. A minute or less on two cores.
    Raises UsageError where `out` exists without `overwrite`, or holds a dataset that no demo made, and all that
    `mask` and `reconstruct` raise.
    """
    out = Path(out)
    _check_free(out, overwrite)
    load_mae(resolve(model, "mae"))  # so that a wrong model is told before anything is drawn
    raw, masked, released = (out / name for name in FOLDERS)
    faces = write_dataset(raw, people, photos, seed, overwrite=overwrite, progress=progress)
    # By the package's front door, as a reader of the demo would call them: tasks do not know each other.
    hidden = facemae_cli.mask(raw, masked, key=out / KEY, overwrite=overwrite, progress=progress)
    drawn = facemae_cli.reconstruct(masked, released, model=model, overwrite=overwrite, progress=progress)
    sheets.save_png(out / SHEET, _contact_sheet(out))
    refused = [*hidden.refused, *drawn.refused]
    return DemoResult(out, people, faces, hidden.ratio, drawn.model, refused)


def _check_free(out: Path, overwrite: bool) -> None:
    """Only what an earlier demo made may be replaced: somebody's own `raw` may be the only copy of their faces."""
    with disk_errors(out):
        if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
            return
    if not overwrite:
        raise UsageError(f"{out} exists; --overwrite makes the demo anew, --out FOLDER makes it elsewhere")
    there = [name for name in FOLDERS if os.path.lexists(out / name)]
    manifest = read_manifest(out / "raw") if there else None
    if not out.is_dir() or (there and (manifest is None or manifest.command != "demo")):
        raise UsageError(f"{out} holds what no demo made, so it is left alone; --out FOLDER makes the demo elsewhere")


def _contact_sheet(out: Path) -> sheets.Face:
    """The first photo of a dozen people: original, masked, reconstructed. Names are joined by the key."""
    key = Key.load(out / KEY)
    raw = open_source(out / "raw")
    masked, released = (_by_name(open_source(out / name)) for name in FOLDERS[1:])
    rows: dict[str | None, list[Any]] = {}
    for index in range(len(raw)):
        name = raw.name(index)
        keyed = without_suffix(key.name(name))
        if name.identity not in rows and keyed in masked and keyed in released and len(rows) < SHOWN:
            hidden, drawn = masked[keyed], released[keyed]
            rows[name.identity] = [
                decode(raw.read(index)),
                decode_masked(hidden[0].read(hidden[1])),
                decode(drawn[0].read(drawn[1])),
            ]
    return sheets.contact_sheet(list(rows.values()), ["original", "masked", "reconstructed"])


def _by_name(source: FaceSource) -> dict[Name, tuple[FaceSource, int]]:
    return {without_suffix(source.name(index)): (source, index) for index in range(len(source))}
