"""Card and Croissant of a dataset: they go with it when it is replaced, and a foreign file in their place stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.beside import BESIDE, CARD, CROISSANT, beside_path
from facemae_cli.data.output.output import check_output, open_output
from facemae_cli.errors import UsageError

KINDS = ["released", "released.rec", "d/train.rec", "released.parquet"]
PNG = encode_png(np.zeros((28, 14, 3), np.uint8))


def write(out: Path, beside: dict[str, str] | None = None, *, overwrite: bool = False) -> None:
    with open_output(out, plan={}, overwrite=overwrite) as output:
        output.write(Name("a", "1"), PNG)
        output.finish(Manifest("mask", counts={"in": 1, "out": 1, "refused": {}}), beside=beside)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_card_and_croissant_go_with_what_is_replaced(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "new" / kind)
    texts = {CARD: "mine, too. Written by facemae 1", CROISSANT: '{"citeAs": "wang2022facemae"}'}
    write(tmp_path / "old" / kind, texts)
    assert [beside_path(tmp_path / "old" / kind, name).read_text() for name in BESIDE] == [*texts.values()]
    write(tmp_path / "old" / kind, overwrite=True)
    assert files(tmp_path / "old") == files(tmp_path / "new")


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_file_called_like_them_is_not_replaced(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path / kind)
    beside_path(tmp_path / kind, name).write_text("mine")
    before = files(tmp_path)
    with pytest.raises(UsageError, match=rf"{name} .*--overwrite would remove it with .*move it away"):
        check_output(tmp_path / kind, overwrite=True)
    assert files(tmp_path) == before


def test_a_parquet_replaces_no_rec_of_its_name(tmp_path: Path) -> None:
    """They would share X.facemae.json."""
    write(tmp_path / "x.rec")
    with pytest.raises(UsageError, match=r"x\.facemae\.json was not made by facemae"):
        check_output(tmp_path / "x.parquet", overwrite=True)
