"""A small release from end to end, and audits of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.maskcases import key_file
from helpers.models import write_embedder, write_mae
from helpers.sources import smooth_face

import facemae_cli
from facemae_cli.data.images.codec import encode_png
from facemae_cli.evaluation.leakage import attackers
from facemae_cli.evaluation.leakage.leakage_result import LeakageResult
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.masking.levels import Level
from facemae_cli.masking.mixing import Mixing
from facemae_cli.tasks.leakage import leakage

PEOPLE, PHOTOS = 8, 3
COPIES = 2  # of each photo in a mixed release


def photo(person: int, number: int) -> np.ndarray:
    """Photos of one person are alike: his own picture, and a little of another."""
    own, other = smooth_face(person).astype(float), smooth_face(1000 + 10 * person + number)
    return (0.7 * own + 0.3 * other).astype(np.uint8)


def write_faces(folder: Path, people: range, photos: int = PHOTOS) -> Path:
    for person in people:
        (folder / f"p{person}").mkdir(parents=True)
        for number in range(photos):
            (folder / f"p{person}" / f"{number}.png").write_bytes(encode_png(photo(person, number)))
    return folder


def make_release(folder: Path) -> Path:
    """raw, masked and released, with their key; `phi` attacks, `mae` drew, taught by `phi2`."""
    write_faces(folder / "raw", range(PEOPLE))
    write_embedder(folder / "phi.onnx", dim=16)
    phi2 = Recognizer.load(str(write_embedder(folder / "phi2.onnx", dim=12, seed=1)), "cpu")
    write_mae(folder / "mae", lineage=[str(phi2.model.digest)])
    key_file(folder / "facemae.key")  # always the same masks and names: who attacks best may hang on them
    facemae_cli.mask(folder / "raw", folder / "masked", key=folder / "facemae.key")
    facemae_cli.reconstruct(
        folder / "masked", folder / "released", model=str(folder / "mae"), device="cpu", precision="fp32"
    )
    return folder


def make_mixed_release(folder: Path) -> Path:
    """raw, masked and released, two people in every face, with their key and `whom.csv`; `phi` attacks, `mae`
    reconstructed, and `own` are the attacker's own people."""
    write_faces(folder / "raw", range(6))
    write_faces(folder / "own", range(20, 26))
    write_embedder(folder / "phi.onnx", dim=16)
    write_mae(folder / "mae")
    level = Level(Mixing(people=2, copies=COPIES), 0.75)
    key_file(folder / "facemae.key")
    facemae_cli.mask(
        folder / "raw", folder / "masked", key=folder / "facemae.key", protect=level, sources=folder / "whom.csv"
    )
    facemae_cli.reconstruct(
        folder / "masked", folder / "released", model=str(folder / "mae"), device="cpu", precision="fp32"
    )
    return folder


def only_given_attackers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the bundled embedders out, which take seconds; thumbnails and the ensemble attack all the same."""
    monkeypatch.setattr(attackers, "ATTACKERS", ())


def audit(**options: Any) -> LeakageResult:
    given = {"attacker": ["phi.onnx"], "imitation_model": ["mae"], "device": "cpu", "workers": 2, "min_attacker": 0.0}
    return leakage(**(given | options))


def risks(result: LeakageResult) -> dict[tuple[str, str, str, int], float]:
    return {(each.attack, each.photo, each.attacker, each.k): each.risk for each in result.findings if each.whole}
