"""Real and released faces are joined by their names, or by pseudonyms under a key, and by nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.audits import named, people_and_photos

from facemae_cli.data.faces import Name
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.matching import find_key, match_names, people_of, unmeasured
from facemae_cli.masking.key import Key

KEY = Key(bytes(range(32)))


def pseudonyms(faces: list[str], key: Key = KEY) -> list[str]:
    """What a release calls these faces."""
    names = [key.name(Name(*face.split("/"))) for face in faces]
    return [f"{name.identity}/{name.photo}.jpg" for name in names]


def same_photos(matching) -> list[int]:
    return matching.same_photo.tolist()


def test_names_join_in_any_order_and_without_suffixes() -> None:
    matching = match_names(
        named("b/2.jpg", "a/1.jpg", "a/2.png"), named("a/2.jpg", "a/1.jpg", "b/1.jpg", "b/2.png"), None
    )
    assert same_photos(matching) == [3, 1, 0]
    assert matching.released[matching.same_photo].tolist() == matching.real.tolist()
    assert [matching.labels[person] for person in matching.real] == ["b", "a", "a"]
    assert (matching.names.by, matching.names.people, matching.names.joinable, matching.names.joined) == (
        "names",
        2,
        3,
        3,
    )
    assert matching.names.photos_join


def test_of_two_photos_alike_but_for_their_suffix_each_finds_its_own() -> None:
    matching = match_names(named("a/1.jpg", "a/1.png"), named("a/1.png", "a/1.jpg"), None)
    assert same_photos(matching) == [1, 0]


def test_pseudonyms_are_recomputed_by_the_key() -> None:
    faces = people_and_photos(3, 2)
    mixed = [5, 0, 3, 1, 4, 2]
    released = named(*(pseudonyms(faces)[at] for at in mixed))
    matching = match_names(named(*faces), released, KEY)
    assert matching.names.by == "key"
    assert [mixed[at] for at in same_photos(matching)] == list(range(6))
    assert matching.labels[matching.real[0]] == KEY.identity("p0")
    assert "p0" not in str(matching.labels)
    without = match_names(named(*faces), released, None)
    assert (without.names.by, without.names.people, without.names.photos_join) == (None, 0, False)
    assert "--key FILE" in unmeasured(without.names, None)[0]
    assert "does not lead to" in unmeasured(match_names(named(*faces), released, Key(bytes(32))).names, KEY)[0]


def test_names_that_are_kept_join_although_there_is_a_key() -> None:
    faces = people_and_photos(3, 2)
    assert match_names(named(*faces), named(*faces), KEY).names.by == "names"


def test_names_alike_mean_nothing_where_the_release_has_pseudonyms() -> None:
    matching = match_names(named("0/1", "1/2"), named("0/1", "1/2"), None, keyed_only=True)
    assert (matching.names.people, same_photos(matching)) == (0, [-1, -1])
    assert len(np.unique(np.concatenate([matching.real, matching.released]))) == 4


def test_people_on_one_side_are_counted() -> None:
    matching = match_names(named("a/1.jpg", "b/1.jpg", "c/1.jpg"), named("a/1.jpg", "d/1.jpg", "d/2.jpg"), None)
    names = matching.names
    assert (names.people, names.only_original, names.only_released) == (1, 2, 1)
    assert matching.both.tolist() == [matching.real[0]]
    assert [matching.labels[person] for person in matching.real] == ["a", "", ""]
    assert "2 only among the originals" in names.lines()
    assert "1 only in the release" in names.lines()


def test_under_99_percent_other_photos_cannot_be_told() -> None:
    faces = people_and_photos(50, 4)
    for renamed, join_enough in ((2, True), (3, False)):
        released = [f"{face}x.jpg" if at < renamed else face for at, face in enumerate(faces)]
        matching = match_names(named(*faces), named(*released), None)
        assert (matching.names.joinable, matching.names.joined) == (200, 200 - renamed)
        assert matching.names.photos_join is join_enough
        assert np.flatnonzero(matching.doubtful).tolist() == list(range(renamed))
        assert bool(unmeasured(matching.names, None)) is not join_enough


def test_photos_that_were_not_released_take_nothing_from_the_share() -> None:
    faces = people_and_photos(5, 4)
    matching = match_names(named(*faces), named(*faces[::2]), None)
    assert (matching.names.joinable, matching.names.joined, matching.names.photos_join) == (10, 10, True)
    assert not matching.doubtful.any()


def test_faces_without_identity_are_people_of_their_own() -> None:
    matching = match_names(named("x.jpg", "y.jpg", "a/x.jpg"), named("y.png", "a/x.png", "z.png"), None)
    assert same_photos(matching) == [-1, 0, 1]
    assert (
        matching.names.people,
        matching.names.only_original,
        matching.names.only_released,
        matching.names.loose,
    ) == (2, 1, 1, 4)


def test_numbers_are_joined_on_trust() -> None:
    names = match_names(named("0/1", "1/2"), named("0/1", "1/2"), None).names
    assert names.numbered
    assert "on trust" in names.lines()[-1]
    assert not match_names(named("0/1", "b/2"), named("0/1", "b/2"), None).names.numbered


def test_names_typed_on_another_system_join() -> None:
    matching = match_names(named("Zo\u00eb/1.jpg"), named("Zoe\u0308/1.jpg"), None)
    assert same_photos(matching) == [0]


def test_empty_folders_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d", "e", ".hidden"):
        (tmp_path / "raw" / name).mkdir(parents=True)
    for name in ("a/1.jpg", "b/c/1.jpg", "e/notes.txt"):
        (tmp_path / "raw" / name).write_bytes(b"x")
    shutil.copytree(tmp_path / "raw" / "a", tmp_path / "released" / "a")
    names = match_names(open_source(tmp_path / "raw"), open_source(tmp_path / "released"), None).names
    assert (names.empty, names.people, names.only_original) == (2, 1, 1)


def test_people_of_one_dataset() -> None:
    assert people_of(named("a/1.jpg", "x.jpg", "a/2.jpg", "b/1.jpg")).tolist() == [0, 1, 0, 2]


def write_key(path: Path, key: Key) -> Path:
    path.write_text(key.secret.hex())
    path.chmod(0o600)
    return path


def manifest(key: Key | None) -> Manifest:
    return Manifest(command="reconstruct", names="copied", key_id=key.key_id if key else None)


def test_the_key_is_found_where_it_is_told_or_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_key(None, manifest(KEY), [], lambda: False) is None
    write_key(tmp_path / "facemae.key", KEY)
    assert find_key(None, manifest(KEY), [], lambda: False) == KEY
    assert find_key(None, None, [], lambda: False) == KEY
    other = write_key(tmp_path / "other.key", Key(bytes(32)))
    assert find_key(other, manifest(None), [], lambda: False) == Key(bytes(32))


def test_a_key_of_another_release_is_refused_unless_none_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = write_key(tmp_path / "facemae.key", Key(bytes(32)))
    for path, joins in ((wrong, True), (wrong, False), (None, False)):
        with pytest.raises(UsageError, match=rf"key_id {Key(bytes(32)).key_id}, the release has {KEY.key_id}"):
            find_key(path, manifest(KEY), [], lambda joins=joins: joins)
    assert find_key(None, manifest(KEY), [], lambda: True) is None
