"""The commands that are killed: what each is given, what it leaves, and what must hold right after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from helpers.models import write_embedder, write_mae, write_recognizer
from helpers.packcases import write_lfw
from helpers.releases import PEOPLE, write_faces
from safetensors import safe_open

from facemae_cli.app import main

MODEL = "../mae"
EMBEDDER = "../phi.onnx"
# Imported before anything is forked by a long run, so that the time of a command is its work.
WARM = [
    *(f"facemae_cli.tasks.{name}" for name in ("convert", "fit", "leakage", "train_recognizer", "verify")),
    "facemae_cli.evaluation.leakage.page",
    "facemae_cli.evaluation.verification.page",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "onnxruntime",
    "timm",
    "faiss",
    "scipy.stats",
]


def nothing(folder: Path) -> None:
    """Nothing more to look at."""


def checkpoint_is_whole(folder: Path) -> None:
    """Raises where there is a checkpoint that cannot be read to its last tensor."""
    path = folder / "out" / "checkpoint.safetensors"
    if path.exists():
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                file.get_tensor(name)
            if "state" not in (file.metadata() or {}):
                raise ValueError("a checkpoint without state")


def key_is_whole(folder: Path) -> None:
    """Raises where there is a key that is none."""
    path = folder / "new.key"
    if path.exists() and len(bytes.fromhex(path.read_text())) != 32:
        raise ValueError("a torn key")


@dataclass(frozen=True)
class Case:
    """A command line, run in a folder whose parent holds the inputs.

    `out`: the folder or file whose arrival makes the output whole; `again`: what goes on with a stopped run; `grows`:
    the output comes to be in place, file by file; `answers`: its JSON is compared too; `look`: what is asked right
    after a kill; `replaces`: a folder among the inputs, of which a copy stands in the output's place before.
    """

    name: str
    line: str
    out: str = "out"
    again: str = "--resume"
    grows: bool = False
    answers: bool = False
    look: Callable[[Path], None] = nothing
    replaces: str = ""

    @property
    def words(self) -> list[str]:
        return self.line.split()

    def begin(self, folder: Path) -> None:
        """The working folder, which holds nothing but what is to be replaced."""
        folder.mkdir()
        if self.replaces:
            shutil.copytree(folder.parent / self.replaces, folder / Path(self.out).parts[0])


MASK = "mask --in ../raw --key ../facemae.key --workers 2 --out"
RECONSTRUCT = f"reconstruct --in ../masked --model {MODEL} --batch-size 1 --precision fp32 --device cpu --workers 2"
FIT = f"fit --data ../raw --model {MODEL} --out out --loss mixed --embedder {EMBEDDER} --precision fp32 --device cpu"
TRAIN = "train-recognizer --data ../raw --model ../recogniser --out out --precision fp32 --device cpu"
LEAKAGE = f"leakage --original ../raw --released ../released --attacker {EMBEDDER} --imitation-model {MODEL}"
WITHDRAW = "withdraw --people ../withdrawn.txt --key ../facemae.key --workers 2"
VERIFY = f"verify --pairs ../lfw --model {EMBEDDER} --report report.html --cache cache --device cpu --workers 2 --json"

_ALL = (
    Case("mask-folder", f"{MASK} out"),
    Case("mask-rec", f"{MASK} out/train.rec", out="out/train.rec"),
    Case("mask-protect", f"{MASK} out --protect strong --sources whom.csv"),
    Case("reconstruct-folder", f"{RECONSTRUCT} --out out --preview sheet.png"),
    Case("reconstruct-rec", f"{RECONSTRUCT} --out out/train.rec --format png", out="out/train.rec"),
    Case("fit", f"{FIT} --epochs 6 --batch-size 5 --warmup 0", grows=True, look=checkpoint_is_whole),
    Case(
        "train-recognizer",
        f"{TRAIN} --epochs 8 --batch-size 6 --lr 0.4 --export pth",
        grows=True,
        look=checkpoint_is_whole,
    ),
    Case(
        "leakage",
        f"{LEAKAGE} --key ../facemae.key --cache cache --report report.html --device cpu --workers 2 --json",
        out="report.html",
        again="--overwrite",
        answers=True,
    ),
    Case("verify", VERIFY, out="report.html", again="--overwrite", answers=True),
    Case("convert-folder", "convert --in ../masked.rec --out out"),
    Case("convert-rec", "convert --in ../masked --out out/train.rec", out="out/train.rec"),
    Case("convert-pack", "convert --in ../lfw.bin --out out --workers 2"),
    Case("withdraw-folder", f"{WITHDRAW} out", again="", replaces="masked"),
    Case("withdraw-rec", f"{WITHDRAW} out", out="out/train.rec", again="", replaces="set"),
    Case("withdraw-both", f"{WITHDRAW} out/masked out/set", again="", grows=True, replaces="both"),
    Case("convert-bin", "convert --in ../lfw/pairs.txt --out out.bin", out="out.bin", again="--overwrite"),
)
CASES = {case.name: case for case in _ALL}


def prepare(root: Path) -> None:
    """Everything that the cases take, made of small pictures and small networks."""
    write_faces(root / "raw", range(PEOPLE))
    write_embedder(root / "phi.onnx", dim=16)
    write_mae(root / "mae", recipe={"lr": 0.01})
    write_recognizer(root / "recogniser")
    write_lfw(root / "lfw", people=12)
    (root / "withdrawn.txt").write_text("p1\np2/0.png\n")
    for line in (
        f"mask --in {root}/raw --out {root}/masked --key {root}/facemae.key",
        f"convert --in {root}/masked --out {root}/masked.rec",
        f"convert --in {root}/masked --out {root}/set/train.rec",
        f"convert --in {root}/lfw/pairs.txt --out {root}/lfw.bin",
        f"reconstruct --in {root}/masked --out {root}/released --model {root}/mae --device cpu --precision fp32",
    ):
        if code := main(line.split()):
            raise RuntimeError(f"facemae {line} ends with {code}")
    for name in ("masked", "set"):
        shutil.copytree(root / name, root / "both" / name)
