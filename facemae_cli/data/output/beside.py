"""Files for readers that stand with a dataset: in a folder, or as `X.README.md` beside `X.rec` and `X.parquet`."""

from __future__ import annotations

from pathlib import Path

CARD, CROISSANT = "README.md", "croissant.json"
BESIDE = (CARD, CROISSANT)


def beside_path(dataset: Path, name: str) -> Path:
    """Where the file called `name` of a dataset stands, or would."""
    if dataset.suffix.lower() in (".rec", ".parquet") and not dataset.is_dir():
        return dataset.with_suffix(f".{name}")
    return dataset / name
