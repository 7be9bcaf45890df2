"""Files for readers that stand with a dataset: in a folder, or as `X.README.md` beside `X.rec` and `X.parquet`.

They go with the dataset when it is replaced, so only what facemae wrote may stand there then.
"""

from __future__ import annotations

import os
from pathlib import Path

from facemae_cli.data.manifest import manifest_path
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.errors import UsageError

CARD, CROISSANT = "README.md", "croissant.json"
BESIDE: tuple[str, str] = (CARD, CROISSANT)
_FILES = (".rec", ".parquet", ".bin")  # datasets beside which their own files stand
_SEEN = 2**20  # bytes, far more than either is
_MARKS = {CARD: b"Written by facemae ", CROISSANT: b"wang2022facemae"}  # what each of ours holds


def beside_path(dataset: Path, name: str) -> Path:
    """Where the file called `name` of a dataset stands, or would."""
    if dataset.suffix.lower() in (".rec", ".parquet") and not dataset.is_dir():
        return dataset.with_suffix(f".{name}")
    return dataset / name


def is_beside(path: Path) -> bool:
    """Whether the file is a card or a Croissant that facemae wrote, to which its owner may have added."""
    mark = next((mark for name, mark in _MARKS.items() if path.name == name or path.name.endswith(f".{name}")), None)
    try:
        with path.open("rb") as file:
            return mark is not None and mark in file.read(_SEEN)
    except OSError:
        return False


def check_beside(dataset: Path, ways: WaysOut) -> None:
    """Raises UsageError where a file stands beside the dataset that is called like one of ours and is not."""
    for path in (beside_path(dataset, name) for name in BESIDE):
        if os.path.lexists(path) and not is_beside(path):
            raise UsageError(
                f"{path} was not written by facemae: {ways.replacing} would remove it with {dataset}; "
                + ways.or_elsewhere("move it away")
            )


def check_neighbours(dataset: Path, ways: WaysOut = WAYS_OUT) -> None:
    """Raises UsageError where a dataset of another format stands beside `dataset`, and one's manifest or card would be
    taken for the other's, as those of `X.rec` and `X.parquet` are."""
    if dataset.suffix.lower() not in _FILES:
        return
    try:
        names = sorted(os.listdir(dataset.parent))
    except OSError:  # it is not there yet, or may be written in and not listed
        return
    for other in map(dataset.with_name, names):
        if other == dataset or other.suffix.lower() not in _FILES or not other.is_file():
            continue
        if shared := _of_its_own(other) & _of_its_own(dataset):
            raise UsageError(
                f"{ways.named(dataset)}: {other.name} stands beside it, and {max(shared).name} would tell of both: "
                "choose another name, or move that away"
            )


def _of_its_own(dataset: Path) -> set[Path]:
    """The manifest and the cards of a dataset, wherever they may stand."""
    found = {manifest_path(dataset), *(beside_path(dataset, name) for name in BESIDE)}
    return found | {dataset.with_suffix(".facemae.json")} if dataset.name == "train.rec" else found
