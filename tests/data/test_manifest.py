from __future__ import annotations

import json
import os
import tarfile
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemae_cli import __version__
from facemae_cli.data.manifest import MAX_BYTES, Manifest, manifest_path, own_manifest, read_manifest, write_manifest
from facemae_cli.errors import InputError

FULL = Manifest(
    "reconstruct",
    model={"kind": "mae", "sha256": "0" * 64},
    grid=14,
    mask_ratio=0.75,
    counts={"in": 3, "out": 1, "refused": {"truncated": 2}},
    key_id="0123456789abcdef",
    strategy="random",
    names="copied",
    seed=True,
    extra={"precision": "bf16", "batch_size": 64, "halved": False},
)


def test_the_bytes_are_these(tmp_path: Path) -> None:
    write_manifest(tmp_path / "facemae.json", replace(FULL, extra={}, model=None, version="1.0"))
    assert (tmp_path / "facemae.json").read_text() == (
        '{\n "command": "reconstruct",\n "counts": {\n  "in": 3,\n  "out": 1,\n  "refused": {\n   "truncated": 2\n  }\n'
        ' },\n "extra": {},\n "grid": 14,\n "key_id": "0123456789abcdef",\n "mask_ratio": 0.75,\n "model": null,\n'
        ' "names": "copied",\n "schema": 1,\n "seed": true,\n "strategy": "random",\n "tool": "facemae",\n'
        ' "version": "1.0"\n}\n'
    )


@pytest.mark.parametrize("manifest", [FULL, Manifest("mask")])
def test_what_is_written_is_read(tmp_path: Path, manifest: Manifest) -> None:
    write_manifest(tmp_path / "facemae.json", manifest)
    assert read_manifest(tmp_path) == manifest
    assert manifest.version == __version__


@pytest.mark.parametrize(
    "change",
    [
        {"command": "mask /home/ann"},
        {"model": {"path": "/home/ann"}},
        {"model": {"Ann Smith": 1}},
        {"extra": {"note": "Ann Smith"}},
        {"extra": {"a": [{"b": "x/y"}]}},
        {"extra": {"a": float("nan")}},
        {"extra": {"a": "x" * 81}},
        {"extra": {"a": b"x"}},
        {"counts": {"in": 1, "out": 1}},
        {"counts": {"in": -1, "out": 1, "refused": {}}},
        {"counts": {"in": True, "out": 1, "refused": {}}},
        {"counts": {"in": 1, "out": 1, "refused": {"Ann's photo": 1}}},
        {"counts": {"in": 1, "out": 1, "refused": {"empty": 1.5}}},
        {"mask_ratio": 75},
        {"mask_ratio": True},
        {"grid": "14"},
        {"seed": 3},
        {"names": "real"},
        {"key_id": "a b"},
        {"strategy": ""},
        {"schema": 2},
        {"tool": "other"},
    ],
)
def test_what_might_name_somebody_or_is_of_another_type_does_not_fit_in(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(change))} is "):
        replace(FULL, **change)


def test_keys_of_a_newer_version_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "facemae.json").write_text(json.dumps({**asdict(FULL), "later": [{"any": "thing at all"}]}))
    assert read_manifest(tmp_path) == FULL


def test_no_manifest_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read_manifest(tmp_path / "x.rec") is None
    (tmp_path / "file").write_text("")
    assert read_manifest(tmp_path / "file") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"schema": 1' + b"1" * 5000 + b"}", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "'command' is missing"),
        (json.dumps({**asdict(FULL), "schema": 2}).encode(), "schema 2, .* install a newer facemae"),
        (json.dumps({**asdict(FULL), "schema": "1"}).encode(), "schema is '1'"),
        (json.dumps({**asdict(FULL), "tool": "other"}).encode(), "tool is 'other'"),
        (json.dumps({**asdict(FULL), "counts": None}).encode(), "counts is 'None'"),
        (json.dumps({**asdict(FULL), "mask_ratio": float("nan")}).encode(), "mask_ratio is 'nan'"),
        (b" " * (MAX_BYTES + 1), "over 1048576 bytes"),
    ],
)
def test_a_broken_one_is_one_line(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "facemae.json").write_bytes(text)
    with pytest.raises(InputError, match=rf"^[^\n]*facemae\.json: [^\n]*{said}[^\n]*$"):
        read_manifest(tmp_path)


def test_what_is_no_file_is_told_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "facemae.json")
    with pytest.raises(InputError, match=r"facemae\.json: a pipe or a device, so not ours"):
        read_manifest(tmp_path)
    (tmp_path / "x.facemae.json").mkdir()
    with pytest.raises(InputError, match=r"x\.facemae\.json cannot be read: "):
        read_manifest(tmp_path / "x.rec")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(sorted(asdict(FULL))),
)
def test_any_value_in_any_place_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: Any, key: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "facemae.json").write_text(json.dumps({**asdict(FULL), key: value}))
    try:
        found = read_manifest(folder)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert found == replace(FULL, **{key: value})


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("released", "released/facemae.json"),
        ("x.rec", "x.facemae.json"),
        ("a.b.rec", "a.b.facemae.json"),
        ("d/train.rec", "d/facemae.json"),
    ],
)
def test_where_it_stands(dataset: str, expected: str) -> None:
    assert manifest_path(Path(dataset)) == Path(expected)


def test_a_rec_in_a_folder_is_found_by_either_path_and_either_sidecar(tmp_path: Path) -> None:
    (tmp_path / "train.rec").write_bytes(b"")
    write_manifest(tmp_path / "train.facemae.json", Manifest("mask"))
    assert read_manifest(tmp_path) == read_manifest(tmp_path / "train.rec") == Manifest("mask")
    write_manifest(tmp_path / "facemae.json", FULL)
    assert read_manifest(tmp_path) == read_manifest(tmp_path / "train.rec") == FULL
    assert read_manifest(tmp_path / "other.rec") is None


@pytest.mark.parametrize(
    ("mixing", "people"),
    [({"people": 3, "copies": 2}, 3), (None, 0), ("three", 0), ({"copies": 2}, 0), ({"people": "x"}, 0)],
)
def test_of_how_many_people_faces_are_whatever_the_file_says(mixing, people):
    assert Manifest("mask", extra={"mixing": mixing}).mixed_people == people
    assert Manifest("mask").mixed_people == 0


def archive_of(path: Path, members: dict[str, str]) -> Path:
    """A zip or tar of texts by name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as made:
            for name, text in members.items():
                made.writestr(name, text)
    else:
        with tarfile.open(path, "w") as tar:
            for name, text in members.items():
                (path.parent / "text").write_text(text)
                tar.add(path.parent / "text", name)
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_that_of_an_archive_stands_in_it(tmp_path: Path, suffix: str) -> None:
    """At its root, in the folder around the people's, or deeper, as whole paths are packed."""
    path, text = tmp_path / f"a{suffix}", FULL.as_json()
    for root in ("", "./", "masked/", "home/ann/masked/"):
        assert read_manifest(archive_of(path, {f"{root}x/1.png": "", f"{root}facemae.json": text})) == FULL
    theirs = {
        "facemae.json/1.png": "",
        "x/facemae.json.png": "",
        "#recycle/facemae.json": "{",
        "__MACOSX/facemae.json": "{",
    }
    assert read_manifest(archive_of(path, theirs)) is None
    assert read_manifest(archive_of(path, {"a/facemae.json": text, "b/facemae.json": text})) == FULL
    archive_of(path, {"a/facemae.json": text, "b/facemae.json": Manifest("mask").as_json()})
    with pytest.raises(InputError, match=rf"{suffix}:b/facemae.json differs from .*{suffix}:a/facemae.json"):
        read_manifest(path)
    with pytest.raises(InputError, match=rf"a{suffix}:facemae.json: not valid JSON"):
        read_manifest(archive_of(path, {"facemae.json": "{"}))
    with pytest.raises(InputError, match="over 1048576 bytes"):
        read_manifest(archive_of(path, {"facemae.json": " " * (MAX_BYTES + 1)}))


def test_a_folder_around_a_dataset_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "masked/ann").mkdir(parents=True)
    (tmp_path / ".DS_Store").touch()
    assert read_manifest(tmp_path) is None, "a person may be all there is"
    write_manifest(tmp_path / "masked/facemae.json", FULL)
    with pytest.raises(InputError, match=rf"is a folder around the dataset masked: give {tmp_path}/masked$"):
        read_manifest(tmp_path)
    (tmp_path / "bob").mkdir()
    assert read_manifest(tmp_path) is None, "several datasets are people's own affair"


@pytest.mark.parametrize("where", ["facemae.json", "data/facemae.json", "data/a.facemae.json", "data/b.facemae.json"])
def test_that_of_a_folder_of_shards_stands_in_it_or_beside_them(tmp_path: Path, where: str) -> None:
    (tmp_path / "data").mkdir()
    for shard in "ab":
        (tmp_path / f"data/{shard}.parquet").write_bytes(b"")
    assert read_manifest(tmp_path) is None
    write_manifest(tmp_path / where, FULL)
    assert read_manifest(tmp_path) == FULL
    for shard in "ab":
        write_manifest(tmp_path / f"data/{shard}.facemae.json", FULL)
    assert read_manifest(tmp_path) == FULL
    write_manifest(tmp_path / "data/b.facemae.json", replace(FULL, extra={}))
    with pytest.raises(InputError, match=r"several kinds \(.*b\.facemae\.json differs from .*: give each by itself"):
        read_manifest(tmp_path)
    (tmp_path / "data/b.facemae.json").write_text("{")
    with pytest.raises(InputError, match=r"b\.facemae\.json: not valid JSON"):
        read_manifest(tmp_path)
    assert own_manifest(tmp_path) == (FULL if where == "facemae.json" else None), "that alone is the folder's own"
