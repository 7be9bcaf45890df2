"""The whole way, from raw faces to an audited release, on synthetic people: for a machine that has no faces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import facemae_cli
from facemae_cli.data.faces import FaceSource, Name, Refusal, count_reasons
from facemae_cli.data.files import STAGING_SUFFIX, disk_errors, write_whole
from facemae_cli.data.images.codec import decode, decode_masked
from facemae_cli.data.manifest import own_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.taken_out import taken_out
from facemae_cli.data.packs.pairs import sample_pairs
from facemae_cli.data.packs.source import pack_bytes
from facemae_cli.data.synthetic import write_dataset
from facemae_cli.errors import UsageError
from facemae_cli.masking.key import Key
from facemae_cli.masking.pseudonyms import without_suffix
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports import pictures
from facemae_cli.reports.text import NONE, percent, percent_interval
from facemae_cli.runtime.progress import SILENT, Progress, Steps

FOLDERS = ("raw", "masked", "released")
STRANGERS = "strangers"
RECOGNIZERS = {"raw": "recogniser-raw", "released": "recogniser"}  # what each learns from, and its own folder
KEY, SHEET, PACK = "facemae.key", "contact-sheet.png", "strangers.bin"
VERIFICATION, AUDIT, WORST_CASE = "verification.html", "audit.html", "worst-case.html"
SHOWN = 12  # people on the contact sheet
LEAST_STRANGERS = 20  # two in each of ten folds
PAIRS = 400
BATCH = 40
STEPS = 8

Interval = tuple[float, float]


@dataclass(frozen=True)
class Share:
    """A measured share in [0, 1] and its 95 % interval; None where it could not be measured."""

    value: float | None = None
    interval: Interval | None = None

    def __str__(self) -> str:
        ends = f" ({percent_interval(self.interval).removesuffix(' %')})" if self.interval else ""
        return percent(self.value) + ends


@dataclass(frozen=True)
class Figures:
    """What was measured on some people: how many of their photos find the person among the two nearest faces of the
    originals and of the release, by the strongest attacker, and what random faces would reach (`chance`); and how well
    a recogniser that learnt from either tells pairs of strangers apart."""

    found_real: Share = Share()
    found_released: Share = Share()
    chance: float | None = None
    learnt_real: Share = Share()
    learnt_released: Share = Share()

    @classmethod
    def of_real_people(cls, results: Mapping[str, Any] | None) -> Figures | None:
        """Those of a model's card: of the release it made of real people, and of these people's originals."""
        released = results or {}
        originals, leaks = released.get("originals"), "leakage_of_odd_people"
        if not isinstance(originals, Mapping) or leaks not in released or leaks not in originals:
            return None
        accuracy = "lfw_of_a_thin_recogniser"
        found = [_strongest(side[leaks]) for side in (originals, released)]
        learnt = [Share(side.get(accuracy)) for side in (originals, released)]
        return cls(Share(found[0]), Share(found[1]), originals[leaks].get("chance"), *learnt)


def _strongest(leakage: Mapping[str, Any]) -> float:
    """What the strongest of a card's attackers finds by other photos."""
    rates = {name: rate for name, rate in leakage.items() if not name.endswith("-very-photo")}
    return max(float(rate) for name, rate in rates.items() if name not in ("k", "people", "chance"))


@dataclass(frozen=True)
class DemoResult:
    """What `demo` left in the folder `out`: datasets, the key between them, a contact sheet, recognisers, reports.

    `synthetic`: what was measured here; `real`: the same of real people, as the model's card tells it, None where it
    does not. `attacker`: the strongest of the bundled ones; `worst_case`: how often a photo finds its person in the
    release by a recogniser that learnt these very originals, which no outsider has.
    """

    out: Path
    people: int
    faces: int
    ratio: float | None
    model: str
    synthetic: Figures
    real: Figures | None = None
    attacker: str | None = None
    worst_case: float | None = None
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        files = {"key": KEY, "contact_sheet": SHEET, "pack": PACK, "verification": VERIFICATION, "audit": AUDIT}
        mine = self.synthetic
        return {
            "schema": 1,
            "command": "demo",
            "out": str(self.out),
            **{name: str(self.out / name) for name in (*FOLDERS, STRANGERS)},
            "recogniser": str(self.out / RECOGNIZERS["released"]),
            **{name: str(self.out / file) for name, file in files.items()},
            "people": self.people,
            "faces": {"in": self.faces, "out": self.faces - len(self.refused), "refused": count_reasons(self.refused)},
            "mask_ratio": self.ratio,
            "model": {"name": self.model},
            "accuracy": {"raw": mine.learnt_real.value, "released": mine.learnt_released.value},
            "accuracy_interval": {"raw": mine.learnt_real.interval, "released": mine.learnt_released.interval},
            "attacker": self.attacker,
            "leakage": mine.found_released.value,
            "leakage_interval": mine.found_released.interval,
            "real_to_real": mine.found_real.value,
            "chance": mine.chance,
            "worst_case": {"leakage": self.worst_case, "report": str(self.out / WORST_CASE)},
        }

    def measured(self) -> list[list[str]]:
        """What photos find, and what recognisers learn: in the originals, in the release, by chance."""
        rows = [["", "originals", "released", "chance"]]
        asked = [("synthetic", self.synthetic), ("real", self.real or Figures())]
        for whose, seen in asked:
            rows.append([f"found, {whose}", str(seen.found_real), str(seen.found_released), percent(seen.chance)])
        for whose, seen in asked:
            learnt = (seen.learnt_real, seen.learnt_released)
            chance = percent(0.5) if any(share.value is not None for share in learnt) else NONE
            rows.append([f"told apart, {whose}", *map(str, learnt), chance])
        return rows

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person, with the commands that do the same to real faces."""
        return [
            ("found", "how many photos find their person among the two nearest faces"),
            ("told apart", "pairs of strangers, right or not, by a recogniser trained on them"),
            ("real", f"people of CelebA and LFW, as {self.model}'s card says; models/RESULTS.md"),
            ("", ""),
            ("raw", f"{self.out / 'raw'}: {self.faces} synthetic faces of {self.people} people"),
            ("masked", f"{self.out / 'masked'}: {percent(self.ratio, 0)} of each face is gone, names are keyed"),
            ("released", f"{self.out / 'released'}: reconstructed by {self.model}"),
            ("look at", str(self.out / SHEET)),
            ("open", f"{self.out / AUDIT}, and the worst case: {self.out / WORST_CASE}"),
            ("", ""),
            ("next", "the same with aligned faces of your own, one folder per person or a .rec:"),
            ("", "facemae mask --in raw --out masked"),
            ("", "facemae reconstruct --in masked --out released --preview preview.png"),
            ("", "facemae leakage --k 2 --report audit.html"),
        ]


def demo(
    out: str | Path = Path("facemae-demo"),
    *,
    people: int = 40,
    photos: int = 5,
    seed: int = 0,
    model: str = "facemae-v1",
    epochs: int = 10,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DemoResult:
    """Goes the whole way with synthetic people: masks and reconstructs their photos, trains a small recogniser on the
    release and one on the originals, verifies both on strangers, and attacks the release, with pages to read.

    Args:
        out: The folder to make.
        people: How many, 2 or more; half as many strangers, 20 at least, are verified.
        photos: Of each of them.
        seed: Which people.
        model: What `reconstruct` takes.
        epochs: How long the recognisers learn.
        overwrite: Replace a demo that exists.
        progress: Told of eight steps.

    Raises:
        UsageError: `out` exists without `overwrite`, or holds a dataset that no demo made.
        FacemaeError: All that the tasks raise.
    """
    out = Path(out)
    if people < 2:
        raise UsageError(f"--people {people}: there is nobody to be taken for another; give 2 or more")
    if epochs < 1:
        raise UsageError(f"--epochs {epochs} must be at least 1, in which the recognisers learn")
    _check_free(out, overwrite)
    found = resolve(model, "mae")
    from facemae_cli.networks.loading import load_mae  # brings torch, which what is refused above need not wait for

    load_mae(found)  # so that a wrong model is refused before anything is made
    raw, masked, released = (out / name for name in FOLDERS)
    steps = Steps(progress, STEPS)
    faces = write_dataset(raw, people, photos, seed, overwrite=overwrite, progress=steps.next())
    # By the package's front door, as a reader of the demo would call them: tasks do not know each other.
    hidden = facemae_cli.mask(raw, masked, key=out / KEY, overwrite=overwrite, progress=steps.next())
    made = facemae_cli.reconstruct(masked, released, model=model, overwrite=overwrite, progress=steps.next())
    pictures.save_png(out / SHEET, _contact_sheet(out))
    pack = _strangers(out, people, photos, seed, overwrite, steps.next())
    learnt = [_learn(out, name, pack, epochs, overwrite, steps.next()) for name in RECOGNIZERS]
    audit = _attack(out, None, AUDIT, overwrite, steps.next())
    # A recogniser that has learnt the originals knows more than any attacker should.
    worst = _attack(out, out / RECOGNIZERS["raw"], WORST_CASE, overwrite, steps.next()).headline
    real = Figures.of_real_people(found.card.results)
    return DemoResult(
        out, people, faces, hidden.ratio, made.model, _figures(audit, learnt), real,
        audit.headline and audit.headline.attacker, worst and worst.risk, [*hidden.refused, *made.refused],
    )  # fmt: skip


def _strangers(out: Path, people: int, photos: int, seed: int, overwrite: bool, progress: Progress) -> Path:
    """A verification pack of people whom the release does not hold."""
    count = max(people // 2, LEAST_STRANGERS)
    write_dataset(out / STRANGERS, count, max(photos, 2), seed, first=people, overwrite=overwrite, progress=progress)
    source = open_source(out / STRANGERS)
    pairs, same = sample_pairs([source.name(index).identity for index in range(len(source))], PAIRS, seed)
    write_whole(out / PACK, pack_bytes((source.read(index) for index in pairs.ravel().tolist()), same.tolist()))
    return out / PACK


def _learn(out: Path, data: str, pack: Path, epochs: int, overwrite: bool, progress: Progress) -> Share:
    """How well a recogniser that saw the faces of `data` alone tells strangers apart."""
    trained = out / RECOGNIZERS[data]
    options: dict[str, Any] = {"overwrite": overwrite, "progress": progress}
    size = min(BATCH, len(open_source(out / data)))
    facemae_cli.train_recognizer(
        data=out / data, out=trained, model="probe", epochs=epochs, batch_size=size, lr=0.8, **options
    )
    report = out / VERIFICATION if data == "released" else None
    found = facemae_cli.verify(model=str(trained), pairs=[pack], report=report, **options).packs[pack.stem].verification
    return Share(found.accuracy, found.interval)


def _attack(out: Path, attacker: Path | None, report: str, overwrite: bool, progress: Progress) -> Any:
    """The audit by `attacker`, None: by the bundled ones, who also imitate the release."""
    own: dict[str, Any] = {} if attacker is None else {"attacker": [str(attacker)], "imitations": 0}
    return facemae_cli.leakage(
        out / "raw", out / "released", key=out / KEY, report=out / report, show_faces=True, overwrite=overwrite,
        progress=progress, **own,
    )  # fmt: skip


def _figures(audit: Any, learnt: list[Share]) -> Figures:
    """What an audit and two verifications found."""
    real = [found for found in audit.findings if (found.attack, found.photo) == ("real_to_real", "other")]
    best = max(real, key=lambda found: found.risk, default=None)
    head = audit.headline
    originals, release = (Share() if found is None else Share(found.risk, found.interval) for found in (best, head))
    return Figures(originals, release, None if head is None else head.chance, *learnt)


def _check_free(out: Path, overwrite: bool) -> None:
    """Only what an earlier demo made may be replaced: somebody's own `raw` may be the only copy of their faces."""
    with disk_errors(out):
        if not os.path.lexists(out) or (out.is_dir() and not any(out.iterdir())):
            return
    if not overwrite:
        raise UsageError(f"{out} exists; --overwrite makes the demo again, --out FOLDER makes it elsewhere")
    begun = out.is_dir() and set(os.listdir(out)) <= {FOLDERS[0] + STAGING_SUFFIX}  # a demo that was stopped at once
    if not begun and (not out.is_dir() or own_manifest(out / FOLDERS[0], ("demo",)) is None):
        raise UsageError(f"{out} holds what no demo made, so it is left alone; --out FOLDER makes the demo elsewhere")
    if any(taken_out(own_manifest(out / name)) for name in FOLDERS[1:]):
        raise UsageError(
            f"{out} is a demo from which somebody was withdrawn, so it is left alone; --out FOLDER makes one elsewhere"
        )


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
            hidden, shown = masked[keyed], released[keyed]
            rows[name.identity] = [
                decode(raw.read(index)),
                decode_masked(hidden[0].read(hidden[1])),
                decode(shown[0].read(shown[1])),
            ]
    return pictures.contact_sheet(list(rows.values()), ["original", "masked", "released"])


def _by_name(source: FaceSource) -> dict[Name, tuple[FaceSource, int]]:
    return {without_suffix(source.name(index)): (source, index) for index in range(len(source))}
