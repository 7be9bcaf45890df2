"""Card and Croissant of a dataset: they go with it when it is replaced, and a foreign file in their place stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output.beside import BESIDE, CARD, CROISSANT, beside_path, check_neighbours
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


@pytest.mark.parametrize(
    ("there", "out"),
    [
        ("x.parquet", "x.rec"),
        ("x.rec", "x.parquet"),
        ("x.rec", "x.REC"),
        ("x.bin", "x.bin.rec"),
        ("x.bin.parquet", "x.bin"),
        ("train.rec", "train.parquet"),
        ("train.parquet", "train.rec"),
    ],
)
def test_an_output_shares_no_manifest_or_card_with_a_neighbour(tmp_path: Path, there: str, out: str) -> None:
    (tmp_path / there).write_bytes(b"raw, and without a manifest")
    with pytest.raises(
        UsageError, match=rf"{out}: {there} stands beside it, and .* would tell of both: choose another"
    ):
        check_neighbours(tmp_path / out)
    if not out.endswith(".bin"):
        for overwrite in (False, True):
            with pytest.raises(UsageError, match=f"{there} stands beside it"):
                check_output(tmp_path / out, overwrite=overwrite)
    for other in (there, "y.rec", "x.jpg", "x", "sub/x.rec"):
        check_neighbours(tmp_path / other)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_file_that_took_the_place_of_ours_is_not_replaced(tmp_path: Path, kind: str) -> None:
    """Its manifest alone is no sign: another tool's, of other faces or of none, stands there now."""
    write(tmp_path / "other" / kind)
    (tmp_path / kind).parent.mkdir(exist_ok=True)
    with open_output(tmp_path / kind, plan={}) as output:
        for number in "12":
            output.write(Name("a", number), PNG)
        output.finish(Manifest("mask", counts={"in": 2, "out": 2, "refused": {}}))
    check_output(tmp_path / kind, overwrite=True)
    for theirs in (b"", b"theirs", (tmp_path / "other" / kind).read_bytes()):
        (tmp_path / kind).write_bytes(theirs)
        with pytest.raises(UsageError, match=r"was not made by facemae \(no .*facemae\.json of ours that tells of"):
            check_output(tmp_path / kind, overwrite=True)


def test_a_parquet_of_other_columns_is_not_ours(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": [b"one"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(UsageError, match=r"x\.parquet was not made by facemae"):
        check_output(tmp_path / "x.parquet", overwrite=True)
