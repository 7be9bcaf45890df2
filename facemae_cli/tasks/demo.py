"""The whole way, from raw faces to an audited release, on synthetic people: for a machine that has no faces."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import facemae_cli
from facemae_cli.data.faces import FaceSource, Name, Refusal, count_reasons
from facemae_cli.data.files import disk_errors, write_whole
from facemae_cli.data.images.codec import decode, decode_masked
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.packs.pairs import sample_pairs
from facemae_cli.data.packs.source import pack_bytes
from facemae_cli.data.synthetic import write_dataset
from facemae_cli.errors import UsageError
from facemae_cli.masking.key import Key, without_suffix
from facemae_cli.networks.loading import load_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports import pictures
from facemae_cli.runtime.progress import SILENT, Progress

FOLDERS = ("raw", "masked", "released")
STRANGERS = "strangers"
RECOGNIZERS = {"raw": "recogniser-raw", "released": "recogniser"}  # what each learns from, and its own folder
KEY, SHEET, PACK = "facemae.key", "contact-sheet.png", "strangers.bin"
VERIFICATION, AUDIT = "verification.html", "audit.html"
NOT_MEASURED = "an unknown share"
SHOWN = 12  # people on the contact sheet
LEAST_STRANGERS = 20  # two in each of ten folds
PAIRS = 400
BATCH = 40


@dataclass(frozen=True)
class DemoResult:
    """What `demo` left in the folder `out`: datasets, the key between them, a contact sheet, recognisers, two reports.

    `accuracy`: on strangers, of a recogniser that learnt from `raw` and of one from `released`; `leakage` and `real`:
    how often a real photo finds its person among the two nearest released faces, and the two nearest real ones.
    """

    out: Path
    people: int
    faces: int
    ratio: float | None
    model: str
    accuracy: dict[str, float | None]
    leakage: float | None
    real: float | None
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        files = {"key": KEY, "contact_sheet": SHEET, "pack": PACK, "verification": VERIFICATION, "audit": AUDIT}
        return {
            "command": "demo",
            "out": str(self.out),
            **{name: str(self.out / name) for name in (*FOLDERS, STRANGERS)},
            "recogniser": str(self.out / RECOGNIZERS["released"]),
            **{name: str(self.out / file) for name, file in files.items()},
            "people": self.people,
            "faces": {"in": self.faces, "out": self.faces - len(self.refused), "refused": count_reasons(self.refused)},
            "mask_ratio": self.ratio,
            "model": {"name": self.model},
            "accuracy": self.accuracy,
            "leakage": self.leakage,
            "real_to_real": self.real,
        }

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person, with the commands that do the same to real faces."""
        shares = (self.accuracy["released"], self.accuracy["raw"], self.leakage, self.real)
        learnt, best, found, real = (NOT_MEASURED if share is None else f"{100 * share:.1f} %" for share in shares)
        return [
            ("raw", f"{self.out / 'raw'}: {self.faces} faces of {self.people} synthetic people"),
            ("masked", f"{self.out / 'masked'}: {100 * (self.ratio or 0):.0f} % of each face is gone, names are keyed"),
            ("released", f"{self.out / 'released'}: reconstructed by {self.model} from what was left"),
            (
                "utility",
                f"a recogniser trained on the release tells strangers apart: {learnt}, on the originals: {best}",
            ),
            ("leakage", f"{found} of real photos find their person in the release, {real} among the originals"),
            ("", "(among the two nearest, by the recogniser that learnt these very originals: the worst case)"),
            ("", ""),
            ("next", "the same with aligned faces of your own, one folder a person or a .rec:"),
            ("", "facemae mask --in raw --out masked"),
            ("", "facemae reconstruct --in masked --out released --preview preview.png"),
            ("", "facemae leakage --k 2 --report audit.html"),
            ("", ""),
            ("look at", str(self.out / SHEET)),
            ("open", str(self.out / AUDIT)),
        ]


def demo(
    out: Path = Path("facemae-demo"),
    *,
    people: int = 40,
    photos: int = 5,
    seed: int = 0,
    model: str = "facemae-v1",
    epochs: int = 10,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DemoResult:
    """Makes `photos` faces of each of `people` people and goes all the way with them: masked, reconstructed, learnt by
    a small recogniser in `epochs` (which is verified on other people, and so is one that learnt the originals), and
    attacked, with a page to read.

    `seed` chooses the people; `model` is what `reconstruct` takes. Two minutes on two cores.
    Raises UsageError where `out` exists without `overwrite`, or holds a dataset that no demo made, and all that the
    tasks raise.
    """
    out = Path(out)
    _check_free(out, overwrite)
    if people < 2:
        raise UsageError(f"--people {people}: there is nobody to be taken for another; give 2 or more")
    load_mae(resolve(model, "mae"))  # so that a wrong model is refused before anything is made
    raw, masked, released = (out / name for name in FOLDERS)
    common: dict[str, Any] = {"overwrite": overwrite, "progress": progress}
    faces = write_dataset(raw, people, photos, seed, **common)
    # By the package's front door, as a reader of the demo would call them: tasks do not know each other.
    hidden = facemae_cli.mask(raw, masked, key=out / KEY, **common)
    made = facemae_cli.reconstruct(masked, released, model=model, **common)
    pictures.save_png(out / SHEET, _contact_sheet(out))
    pack = _strangers(out, people, photos, seed, common)
    accuracy = {name: _learn(out, name, pack, epochs, common) for name in RECOGNIZERS}
    attacker = [str(out / RECOGNIZERS["raw"])]  # who knows the originals is the best attacker at hand
    audit = facemae_cli.leakage(
        raw, released, attacker=attacker, key=out / KEY, report=out / AUDIT, show_faces=True, **common
    )
    found = {finding.attack: finding.risk for finding in audit.findings if finding.photo == "other"}
    return DemoResult(
        out, people, faces, hidden.ratio, made.model, accuracy,
        found.get("real_to_released"), found.get("real_to_real"), [*hidden.refused, *made.refused],
    )  # fmt: skip


def _strangers(out: Path, people: int, photos: int, seed: int, common: dict[str, Any]) -> Path:
    """A verification pack of people whom the release does not hold."""
    write_dataset(out / STRANGERS, max(people // 2, LEAST_STRANGERS), max(photos, 2), seed, first=people, **common)
    source = open_source(out / STRANGERS)
    pairs, same = sample_pairs([source.name(index).identity for index in range(len(source))], PAIRS, seed)
    write_whole(out / PACK, pack_bytes((source.read(index) for index in pairs.ravel().tolist()), same.tolist()))
    return out / PACK


def _learn(out: Path, data: str, pack: Path, epochs: int, common: dict[str, Any]) -> float | None:
    """How well a recogniser that saw the faces of `data` alone tells strangers apart."""
    trained = out / RECOGNIZERS[data]
    size = min(BATCH, len(open_source(out / data)))
    facemae_cli.train_recognizer(
        data=out / data, out=trained, model="probe", epochs=epochs, batch_size=size, lr=0.8, **common
    )
    report = out / VERIFICATION if data == "released" else None
    verified = facemae_cli.verify(model=str(trained), pairs=[pack], report=report, **common)
    found: float | None = verified.packs[pack.stem].verification.accuracy
    return found


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


def _contact_sheet(out: Path) -> pictures.Face:
    """The first photo of a dozen people: original, masked, reconstructed. Names are joined by the key."""
    key = Key.load(out / KEY)
    raw = open_source(out / "raw")
    masked, released = (_by_name(open_source(out / name)) for name in FOLDERS[1:])
    rows: dict[str | None, list[Any]] = {}
    for index in range(len(raw)):
        name = raw.name(index)
        keyed = without_suffix(key.name(name))
        if name.identity not in rows and keyed in masked and keyed in released and len(rows) < SHOWN:
            hidden, made = masked[keyed], released[keyed]
            rows[name.identity] = [
                decode(raw.read(index)),
                decode_masked(hidden[0].read(hidden[1])),
                decode(made[0].read(made[1])),
            ]
    return pictures.contact_sheet(list(rows.values()), ["original", "masked", "reconstructed"])


def _by_name(source: FaceSource) -> dict[Name, tuple[FaceSource, int]]:
    return {without_suffix(source.name(index)): (source, index) for index in range(len(source))}
