"""Who is who, for the owner of the key alone: a row for each face that the key can have masked."""

from __future__ import annotations

import csv
import json
import stat
import unicodedata
from pathlib import Path

import pytest
from helpers.maskcases import PEOPLE, make_rec, put

from facemae_cli.app import main
from facemae_cli.data.open import open_source
from facemae_cli.errors import UsageError
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.names import NAMES, names


def table(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def released(path: Path) -> set[tuple[str | None, str]]:
    """The person and the photo, without its suffix, of each face of a masked folder."""
    source = open_source(path)
    faces = [source.name(index) for index in range(len(source))]
    return {(face.identity, face.photo.removesuffix(".png")) for face in faces}


def test_names_tell_who_is_who_to_the_owner_of_the_key(
    raw: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask(raw, tmp_path / "masked", key=key)
    out = tmp_path / "names.csv"
    assert main(["names", "-i", str(raw), "-o", str(out), "-k", str(key), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["photos"], told["ignored_files"], told["passed_over"]) == (9, 0, {})
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    head, *rows = table(out)
    assert tuple(head) == NAMES
    assert {(row[2], row[3]) for row in rows} == released(tmp_path / "masked")
    assert {row[0] for row in rows} == set(PEOPLE)
    with pytest.raises(UsageError, match="--overwrite"):
        names(raw, out, key=key)
    assert names(str(raw), str(out), key=str(key), overwrite=True).people == 3
    with pytest.raises(UsageError, match="inside the dataset"):
        names(raw, raw / "names.csv", key=key)
    with pytest.raises(UsageError, match="no key at"):
        names(raw, tmp_path / "more.csv", key=tmp_path / "lost.key")
    key_copy = tmp_path / "copy.key"
    key_copy.write_bytes(key.read_bytes())
    with pytest.raises(UsageError, match="is a key, which is never replaced"):
        names(raw, key_copy, key=key, overwrite=True)


def test_what_was_not_read_is_said(raw: Path, key: Path, tmp_path: Path) -> None:
    put(raw / "#recycle" / "Ottoline-Vavasour" / "old.png", b"deleted")
    put(raw / "notes.txt", b"not an image")
    result = names(raw, tmp_path / "names.csv", key=key)
    assert result.photos == 9
    assert dict(result.summary())["passed over"].startswith("1 #recycle: ")
    assert (result.as_json()["passed_over"], result.as_json()["ignored_files"]) == ({"#recycle": 1}, 1)


def test_faces_of_one_name_are_one_row_as_mask_takes_the_first_of_them(key: Path, tmp_path: Path) -> None:
    """A `.lst` may repeat a name, or write it in another form of Unicode, which gives the same pseudonym."""
    rec = make_rec(tmp_path / "raw.rec", {"B\u00e9la": 3, "Ottoline": 2})
    lst = rec.with_suffix(".lst").read_text(encoding="utf-8").replace("/snap 1.png", "/snap 0.jpg", 1)
    lst = lst.replace("B\u00e9la/snap 2.jpg", unicodedata.normalize("NFD", "B\u00e9la/snap 0.jpg"))
    rec.with_suffix(".lst").write_text(lst, encoding="utf-8")
    masked = mask(rec, tmp_path / "masked", key=key)
    assert [item.reason for item in masked.refused] == ["same-name", "same-name"]
    result = names(rec, tmp_path / "names.csv", key=key)
    rows = table(tmp_path / "names.csv")[1:]
    assert [(row[0], row[1]) for row in rows] == [
        ("B\u00e9la", "snap 0.jpg"),
        ("Ottoline", "snap 0.jpg"),
        ("Ottoline", "snap 1.png"),
    ]
    assert {(row[2], row[3]) for row in rows} == released(tmp_path / "masked")
    assert (result.photos, result.people) == (3, 2)


@pytest.mark.parametrize("keep_names", [False, True])
def test_what_was_masked_has_no_names_to_key(raw: Path, key: Path, tmp_path: Path, keep_names: bool) -> None:
    mask(raw, tmp_path / "masked", key=key, keep_names=keep_names)
    with pytest.raises(UsageError, match="holds faces that were masked: give the raw dataset"):
        names(tmp_path / "masked", tmp_path / "names.csv", key=key)
    assert not (tmp_path / "names.csv").exists()
