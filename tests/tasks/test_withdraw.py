"""Whoever withdraws leaves no trace in any dataset, and everybody else's faces stay the bytes they were."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from helpers.maskcases import PEOPLE, Listener, listed, make_rec, tree
from helpers.models import write_mae

from facemae_cli.app import main
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output
from facemae_cli.errors import UsageError
from facemae_cli.masking.key import Key
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import reconstruct
from facemae_cli.tasks.withdraw import withdraw

GONE, KEPT = "family/Bartholomew Xq\u00e9zk", "Ottoline-Vavasour"
OUTPUTS = ("masked", "masked.rec", "set/train.rec")


def files(path: Path) -> dict[str, bytes]:
    """All files of an output, sidecars included."""
    return tree(path.parent if path.name == "train.rec" else path)


def images(path: Path) -> dict[tuple[str | None, str], bytes]:
    source = open_source(path)
    assert not source.refused
    return {tuple(source.name(index)): source.read(index) for index in range(len(source))}


def traces(key: Path, raw: Path, people: list[str]) -> set[bytes]:
    """What tells of a person: their names, those of their photos, and all pseudonyms."""
    secret, found = Key.load(key), set()
    source = open_source(raw)
    for name in (source.name(index) for index in range(len(source))):
        if name.identity in people:
            keyed = secret.name(name)
            found |= {text.encode() for text in (name.identity, keyed.identity, keyed.photo) if text}
    return found


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize("keep_names", [False, True])
def test_a_withdrawn_person_leaves_no_byte_and_the_rest_stays(
    raw: Path, key: Path, tmp_path: Path, out: str, keep_names: bool
) -> None:
    masked, without = tmp_path / out, tmp_path / "w" / out
    mask(raw, masked, key=key, keep_names=keep_names)
    before, marks = images(masked), traces(key, raw, [GONE])
    lost = [data for (identity, _), data in before.items() if identity and identity.encode() in marks]
    assert len(lost) == PEOPLE[GONE]
    result = withdraw([masked], people=listed(tmp_path, GONE), key=key)
    assert [(one.withdrawn, one.left) for one in result.datasets] == [(3, 6)]
    after = images(masked)
    assert after == {name: data for name, data in before.items() if data not in lost}
    for name, data in files(masked).items():
        held = name.encode() + b"\n" + data
        assert not [mark for mark in marks if mark in held], name
        assert not [body for body in lost if body[60:] in held], name
    manifest = read_manifest(masked)
    assert manifest is not None
    assert (manifest.extra["withdrawn"], manifest.counts["out"], manifest.counts["in"]) == (3, 6, 9)
    # As if they had never been in it.
    assert mask(raw, without, key=key, keep_names=keep_names, exclude=listed(tmp_path, GONE)).excluded == 3
    ours, anew = files(masked), files(without)
    for held in (ours, anew):
        held.pop(next(name for name in held if name.endswith("facemae.json")))
    assert ours == anew
    assert not list(tmp_path.rglob("*.facemae-part"))


def test_out_of_all_that_was_made_of_them_at_once(raw: Path, key: Path, tmp_path: Path) -> None:
    write_mae(tmp_path / "mae")
    mask(raw, tmp_path / "masked", key=key)
    reconstruct(tmp_path / "masked", tmp_path / "released", model=str(tmp_path / "mae"), device="cpu")
    convert(tmp_path / "released", tmp_path / "released.rec")
    places = [tmp_path / name for name in ("masked", "released", "released.rec")]
    before = [images(place) for place in places]
    people = listed(tmp_path, GONE, f"{KEPT}/snap 1")  # a photo, named without its suffix
    assert main(["withdraw", *map(str, places), "--people", str(people), "-k", str(key)]) == 0
    gone = traces(key, raw, [GONE]) | {Key.load(key).photo(KEPT, "snap 1.png").encode()}
    for place, old in zip(places, before, strict=True):
        left = images(place)
        assert len(left) == len(old) - 4
        assert left.items() <= old.items()
        assert not [mark for mark in gone for name, data in files(place).items() if mark in name.encode() + data]
    manifest = read_manifest(places[2])
    assert manifest is not None
    assert manifest.extra["withdrawn"] == 4


def test_people_in_subfolders_go_too_where_the_raw_dataset_tells_of_them(
    raw: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / KEPT / "2023").mkdir()
    (raw / KEPT / "snap 1.png").rename(raw / KEPT / "2023" / "snap 1.png")
    people, left = listed(tmp_path, KEPT), 9 - PEOPLE[KEPT]
    for out in ("masked", "again"):
        mask(raw, tmp_path / out, key=key)
    mask(raw, tmp_path / "without", key=key, exclude=people)
    alone = withdraw([tmp_path / "again"], people=people, key=key)
    assert (alone.datasets[0].withdrawn, len(alone.notes)) == (1, 1)
    assert "subfolders of the 1 folder listed" in alone.notes[0]
    assert alone.as_json()["notes"] == alone.notes
    whole = withdraw([tmp_path / "masked"], people=people, key=key, raw=raw)
    assert (whole.datasets[0].withdrawn, whole.datasets[0].left, [*whole.notes]) == (2, left, [])
    assert images(tmp_path / "masked") == images(tmp_path / "without")
    # A folder of people that holds no photo itself; and somebody whose raw photos are gone already.
    with pytest.raises(UsageError, match="by --raw alone"):
        withdraw([tmp_path / "masked"], people=listed(tmp_path, "family"), key=key)
    words = ["withdraw", str(tmp_path / "again"), "-k", str(key), "--raw", str(raw), "--people"]
    assert main([*words, str(listed(tmp_path, "family", f"{KEPT}/2023"))]) == 0
    (raw / "Wilhelmina Featherstonehaugh" / "snap 0.jpg").unlink()
    mask(raw, tmp_path / "new", key=key)
    gone = withdraw(
        [tmp_path / "without"], people=listed(tmp_path, "Wilhelmina Featherstonehaugh/snap 0"), key=key, raw=raw
    )
    assert "nobody in --raw matches 1 of 1 line, so" in gone.notes[0]
    with pytest.raises(UsageError, match="holds faces that were masked"):
        withdraw([tmp_path / "new"], people=people, key=key, raw=tmp_path / "new")


def test_of_each_dataset_it_is_said_how_many_lines_are_nobody_in_it(raw: Path, key: Path, tmp_path: Path) -> None:
    places = [tmp_path / "masked", tmp_path / "others"]
    mask(raw, places[0], key=key)
    mask(raw, places[1], key=key, exclude=listed(tmp_path, GONE))
    result = withdraw(places, people=listed(tmp_path, GONE, KEPT), key=key, raw=raw)
    assert [(row["withdrawn"], row["unknown"]) for row in result.as_json()["datasets"]] == [(5, 0), (2, 1)]
    notes = [value for label, value in result.summary() if label == "note"]
    assert notes[0].startswith(f"nobody in {places[1]} matches 1 line of the list: ")
    assert len(notes) == 2


def test_no_key_is_needed_where_names_were_kept(raw: Path, key: Path, tmp_path: Path) -> None:
    mask(raw, tmp_path / "masked", key=key, keep_names=True)
    key.unlink()
    assert withdraw([tmp_path / "masked"], people=listed(tmp_path, GONE), key=key).datasets[0].withdrawn == 3


def test_twice_is_counted_together(raw: Path, key: Path, tmp_path: Path) -> None:
    mask(raw, tmp_path / "masked", key=key)
    for line in (GONE, KEPT):
        withdraw([tmp_path / "masked"], people=listed(tmp_path, line), key=key)
    manifest = read_manifest(tmp_path / "masked")
    assert manifest is not None
    assert (manifest.extra["withdrawn"], manifest.counts["out"]) == (5, 4)


@pytest.mark.parametrize("stop", [1, 4])
def test_stopped_it_leaves_the_old_dataset_and_done_again_it_is_whole(
    raw: Path, key: Path, tmp_path: Path, stop: int
) -> None:
    mask(raw, tmp_path / "masked", key=key)
    before = tree(tmp_path / "masked")

    class Stop(Listener):
        def advance(self, count: int = 1, note: str = "") -> None:
            super().advance(count, note)
            if self.done == stop:
                raise KeyboardInterrupt

    people = listed(tmp_path, GONE)
    with pytest.raises(KeyboardInterrupt):
        withdraw([tmp_path / "masked"], people=people, key=key, progress=Stop())
    assert tree(tmp_path / "masked") == before
    withdraw([tmp_path / "masked"], people=people, key=key)
    assert len(images(tmp_path / "masked")) == 6
    assert not list(tmp_path.glob("*.facemae-part"))


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize(("name", "call"), [("rename", 1), ("rename", 2), ("remove_tree", 1)])
def test_stopped_while_it_puts_a_dataset_in_place_the_same_line_ends_it(
    raw: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, name: str, call: int
) -> None:
    places = [tmp_path / out, tmp_path / "second"]
    for place in places:
        mask(raw, place, key=key)
    people, calls, real = listed(tmp_path, GONE), count(1), getattr(output, name, None) or os.rename

    def stopped(*arguments: Path) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(output if name == "remove_tree" else os, name, stopped)
        with pytest.raises(KeyboardInterrupt):
            withdraw(places, people=people, key=key)
    assert list(tmp_path.rglob("*.facemae-part"))
    assert len(images(places[1])) == 9
    given = places[0].parent if out == "set/train.rec" else places[0]  # either names the dataset
    result = withdraw([given, places[1]], people=people, key=key)
    assert [(one.withdrawn, one.left) for one in result.datasets] == [(3, 6), (3, 6)]
    assert [len(images(place)) for place in places] == [6, 6]
    assert not list(tmp_path.rglob("*.facemae-part"))
    with pytest.raises(UsageError, match="matches nobody in"):
        withdraw(places, people=people, key=key)


def test_what_was_not_read_is_said_of_each_dataset(raw: Path, key: Path, tmp_path: Path) -> None:
    places = [tmp_path / "masked", tmp_path / "others"]
    mask(raw, places[0], key=key)
    mask(raw, places[1], key=key, exclude=listed(tmp_path, GONE))
    for place in places:
        deleted = next(place.rglob("*.png"))
        deleted.rename(place / f".{deleted.name}")
    result = withdraw(places, people=listed(tmp_path, GONE), key=key)
    hidden = {"ignored_files": 0, "passed_over": {"images that begin with a dot": 1}}
    rows = result.as_json()["datasets"]
    assert [row["changed"] for row in rows] == [True, False]
    assert [{key: row[key] for key in hidden} for row in rows] == [hidden, hidden]
    told = [value for label, value in result.summary() if label == "note"]
    assert [line.partition(", ")[0] for line in told[:3]] == [
        f"passed over in {places[0]}: 1 images that begin with a dot: what is deleted",
        f"what was passed over in {places[0]} is gone with its old folder",
        f"passed over in {places[1]}: 1 images that begin with a dot: what is deleted",
    ]
    assert [len([*place.glob(".*.png")]) for place in places] == [0, 1]


@pytest.mark.parametrize("same", [False, True])
def test_what_was_complete_and_not_in_place_serves_the_same_list_alone(
    raw: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    place = tmp_path / "masked"
    mask(raw, place, key=key)
    before = tree(place)

    def stopped(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output, "_put_in_place", stopped)
        with pytest.raises(KeyboardInterrupt):
            withdraw([place], people=listed(tmp_path, GONE), key=key)
    assert tree(place) == before
    result = withdraw([place], people=listed(tmp_path, GONE if same else KEPT), key=key)
    assert result.datasets[0].withdrawn == PEOPLE[GONE if same else KEPT]
    assert len(images(place)) == 9 - PEOPLE[GONE if same else KEPT]
    assert not list(tmp_path.glob("*.facemae-part"))


def test_mask_excludes_a_folder_of_people_and_refuses_who_is_misspelt(
    raw: Path, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = mask(raw, tmp_path / "a", key=key, exclude=listed(tmp_path, "family"))
    assert (result.excluded, result.faces, result.faces_in) == (3, 6, 6)
    manifest = read_manifest(tmp_path / "a")
    assert manifest is not None
    assert manifest.extra["excluded"] == 3
    words = ["mask", "-i", str(raw), "-o", str(tmp_path / "b"), "-k", str(key), "--exclude"]
    assert main([*words, str(listed(tmp_path, "famly"))]) == 2
    assert "'famly' matches nobody in" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_rec_of_numbers_is_excluded_by_label_and_key(key: Path, tmp_path: Path) -> None:
    rec = make_rec(tmp_path / "raw.rec")
    rec.with_suffix(".lst").unlink()
    assert mask(rec, tmp_path / "masked", key=key, exclude=listed(tmp_path, "1", "2/9")).excluded == 4


def test_whoever_withdrew_does_not_come_back_unseen_where_a_dataset_is_made_anew(
    raw: Path, key: Path, tmp_path: Path
) -> None:
    write_mae(tmp_path / "mae")
    masked, released, copy, told = tmp_path / "masked", tmp_path / "released", tmp_path / "copy.rec", Listener()
    model: dict[str, Any] = {"model": str(tmp_path / "mae"), "device": "cpu"}
    again: dict[str, Any] = {"overwrite": True, "progress": told}
    mask(raw, masked, key=key)
    convert(masked, copy)
    reconstruct(masked, released, **model)
    people = listed(tmp_path, GONE)
    withdraw([released, copy], people=people, key=key)
    convert(masked, tmp_path / "new.rec", **again)
    assert told.lines == []
    convert(masked, copy, **again)
    reconstruct(masked, released, **model, **again)
    assert [line.partition(" or left out")[0] for line in told.lines] == [
        f"3 images were withdrawn from {copy}",
        f"3 images were withdrawn from {released}",
    ]
    told.lines.clear()
    withdraw([masked, released], people=people, key=key)
    reconstruct(masked, released, **model, **again)
    before = files(masked)
    for options in ({}, {"overwrite": True}, {"resume": True}, {"resume": True, "overwrite": True}):
        with pytest.raises(UsageError, match=r"3 images were withdrawn from .*masked and would be in it again: --excl"):
            mask(raw, masked, key=key, **options)
    assert files(masked) == before
    mask(raw, masked, key=key, exclude=people, **again)
    assert told.lines == []
    mask(raw, masked, key=key, exclude=listed(tmp_path, f"{GONE}/snap 1"), **again)
    assert "and only 1 is left out" in told.lines.pop()
    mask(raw, masked, key=key, **again)  # of a list, not of a withdrawal: it is said, and done
    assert "1 image was withdrawn" in told.lines.pop()


def test_a_raw_dataset_that_is_without_them_too_needs_no_list(raw: Path, key: Path, tmp_path: Path) -> None:
    told = Listener()
    convert(raw, tmp_path / "crops")
    mask(tmp_path / "crops", tmp_path / "masked", key=key)
    withdraw([tmp_path / "crops"], people=listed(tmp_path, GONE))
    withdraw([tmp_path / "masked"], people=listed(tmp_path, GONE), key=key)
    assert mask(tmp_path / "crops", tmp_path / "masked", key=key, overwrite=True, progress=told).faces == 6
    assert told.lines == []
