"""Parquet as Hugging Face's datasets writes it, in and out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.maskcases import PEOPLE, Listener, encoded, key_file, make_folder, pixels

import facemae_cli
from facemae_cli.data.open import open_source
from facemae_cli.data.parquet import source as module
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.tasks import convert as convert_module

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, rows: list[dict[str, Any]], label: Any = None, names: list[str] | None = None) -> Path:
    """A file as `Dataset.to_parquet` makes it, with the features beside the schema."""
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if names is not None:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    schema = pa.schema([("image", IMAGE)] + ([("label", label)] if label else []))
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=2)
    return path


def row(number: int, label: Any = None, path: str | None = None) -> dict[str, Any]:
    image = {"bytes": encoded(pixels(number)), "path": path}
    return {"image": image} | ({} if label is None else {"label": label})


def called(path: Path) -> list[tuple[str | None, str]]:
    source = open_source(path)
    return [tuple(source.name(index)) for index in range(len(source))]


@pytest.mark.parametrize(
    "where", ["faces.parquet", "set/train-0.parquet", "set/data/train-00000-of-00001.parquet", "SET/A.PARQUET"]
)
def test_class_labels_give_people_their_names(tmp_path: Path, where: str) -> None:
    rows = [row(0, 1, "a.jpg"), row(1, 0, "dir/b.jpg"), row(2, 1)]
    write(tmp_path / where, rows, pa.int64(), ["Ann", "Bob"])
    path = tmp_path / where.partition("/")[0]
    assert called(path) == [("Bob", "a.jpg"), ("Ann", "b.jpg"), ("Bob", "2")]
    source = open_source(path)
    assert [source.read(index) for index in (2, 0, 1)] == [rows[index]["image"]["bytes"] for index in (2, 0, 1)]
    assert source.where(2).endswith(f"{Path(where).name} row 2")


def test_hidden_shards_are_passed_over_and_counted(tmp_path: Path) -> None:
    """As macOS leaves them beside what was copied to another disk, here of a shard that stands in `data`."""
    write(tmp_path / "set/data/train-0.parquet", [row(0, 1)], pa.int64())
    for hidden in ("set/._train-0.parquet", "set/data/._train-0.parquet", "set/data/.old.parquet"):
        (tmp_path / hidden).write_bytes(b"hidden")
    source = open_source(tmp_path / "set")
    assert (source.kind, len(source)) == ("parquet", 1)
    assert source.passed_over == {"Parquet files that begin with a dot": 2}
    assert open_source(tmp_path / "set/data/train-0.parquet").passed_over == {}


def test_labels_may_be_numbers_text_or_missing(tmp_path: Path) -> None:
    assert called(write(tmp_path / "a.parquet", [row(0, 7), row(1, -1)], pa.int64())) == [("7", "0"), (None, "1")]
    assert called(write(tmp_path / "b.parquet", [row(0, "x/y"), row(1, "..")], pa.string())) == [
        ("x/y", "0"),
        (None, "1"),
    ]
    assert called(write(tmp_path / "c.parquet", [row(0)])) == [(None, "0")]


def test_what_stands_beside_shards_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "set/data/train-0.parquet", [row(0, 1)], pa.int64())
    for extra in ("set/README.md", "set/a.jpg", "set/data/b.PNG", "set/more/c.jpg", "set/.git/d.jpg"):
        (tmp_path / extra).parent.mkdir(exist_ok=True)
        (tmp_path / extra).write_bytes(b"")
    counts = {"images beside the Parquet files": 2, "folders beside the Parquet files": 1}
    assert open_source(tmp_path / "set").passed_over == counts
    assert open_source(tmp_path / "set/data/train-0.parquet").passed_over == {}


def test_shards_are_read_in_order_and_few_groups_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    for shard in range(3):
        write(tmp_path / f"set/data/train-{shard:05}.parquet", [row(3 * shard + n, n) for n in range(3)], pa.int64())
    source = module.ParquetSource(tmp_path / "set")
    assert [source.read(index) for index in range(9)] == [encoded(pixels(index)) for index in range(9)]
    assert len(source._read) == 2


def test_a_face_without_bytes_is_refused(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.parquet", [{"image": {"bytes": None, "path": "a.jpg"}}]))
    with pytest.raises(FaceError) as raised:
        source.read(0)
    assert raised.value.reason == "empty"


def test_what_is_no_parquet_of_images(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"text")
    with pytest.raises(InputError, match="is not a Parquet file"):
        open_source(tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="has no column image, but text"):
        open_source(tmp_path / "b.parquet")


def test_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_folder(tmp_path / "raw")
    facemae_cli.convert(raw, tmp_path / "raw.parquet")
    facemae_cli.convert(tmp_path / "raw.parquet", tmp_path / "back")
    first, back = open_source(raw), open_source(tmp_path / "back")
    assert [(first.name(at), first.read(at)) for at in range(len(first))] == [
        (back.name(at), back.read(at)) for at in range(len(back))
    ]
    schema = pq.read_schema(tmp_path / "raw.parquet")
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert told == {"image": {"_type": "Image"}, "label": {"names": sorted(PEOPLE), "_type": "ClassLabel"}}
    assert schema.field("image").type == IMAGE


def test_a_stopped_run_goes_on_and_an_output_is_replaced_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = make_folder(tmp_path / "raw"), tmp_path / "x.parquet"
    facemae_cli.convert(raw, tmp_path / "whole.parquet")
    monkeypatch.setattr(convert_module, "UNIT", 2)

    class Stop(Listener):
        def advance(self, count: int = 1, note: str = "") -> None:
            super().advance(count, note)
            if self.done == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facemae_cli.convert(raw, out, progress=Stop())
    assert not out.exists()
    facemae_cli.convert(raw, out, resume=True)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    with pytest.raises(UsageError, match="--overwrite"):
        facemae_cli.convert(raw, out)
    facemae_cli.convert(raw, out, overwrite=True)
    assert not list(tmp_path.glob("*.facemae-part"))
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "theirs.parquet")
    with pytest.raises(UsageError, match="was not made by facemae"):
        facemae_cli.convert(raw, tmp_path / "theirs.parquet", overwrite=True)


def test_masked_faces_in_parquet_are_published_and_withdrawn(tmp_path: Path) -> None:
    raw, key = make_folder(tmp_path / "raw"), key_file(tmp_path / "key")
    facemae_cli.mask(raw, tmp_path / "masked.parquet", key=key)
    facemae_cli.convert(tmp_path / "masked.parquet", tmp_path / "copy.parquet")
    assert (
        json.loads((tmp_path / "copy.croissant.json").read_text())["recordSet"][0]["field"][1]["name"] == "faces/label"
    )
    people = tmp_path / "gone.txt"
    people.write_text("Ottoline-Vavasour\n")
    before = {face[1] for face in called(tmp_path / "copy.parquet")}
    facemae_cli.withdraw([tmp_path / "masked.parquet", tmp_path / "copy.parquet"], people=people, key=key)
    for name in ("masked.parquet", "copy.parquet"):
        left = {face[1] for face in called(tmp_path / name)}
        data = (tmp_path / name).read_bytes()
        assert len(left) == 7
        assert not [photo for photo in before - left if photo.encode() in data]
