"""Who is mixed with whom: fair, by the key, everybody with others, and photos of like poses together."""

from collections import Counter

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.masking import mixing
from facemae_cli.masking.key import Key
from facemae_cli.masking.mixing import Mixing, plan_mixtures, warp_of

KEY = Key(bytes(range(32)))
NAMES = [Name(f"p{person}", f"{photo}.jpg") for person in range(7) for photo in range(1 + person % 3)]


def poses(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 11, 10)).astype(np.float32)


@pytest.mark.parametrize("people", [2, 3, 4])
def test_every_photo_comes_first_once_a_copy_with_as_many_others(people):
    planned = plan_mixtures(NAMES, poses(len(NAMES)), KEY, Mixing(people, 5))
    assert len(planned) == 5 * len(NAMES)
    assert Counter(mixture.parts[0].number for mixture in planned) == dict.fromkeys(range(len(NAMES)), 5)
    for mixture in planned:
        who = [NAMES[part.number].identity for part in mixture.parts]
        assert len(set(who)) == people
        assert not mixture.parts[0].mirrored


def test_everybody_stands_in_each_place_of_as_many_labels():
    planned = plan_mixtures(NAMES, poses(len(NAMES)), KEY, Mixing(3, 4))
    labels = {mixture.label: tuple(NAMES[part.number].identity for part in mixture.parts) for mixture in planned}
    assert len(labels) == 4 * 7
    for place in range(3):
        assert Counter(who[place] for who in labels.values()) == {f"p{person}": 4 for person in range(7)}


def test_all_faces_of_a_label_are_of_the_same_people_under_one_name():
    planned = plan_mixtures(NAMES, poses(len(NAMES)), KEY, Mixing(3, 2))
    for label in {mixture.label for mixture in planned}:
        mine = [mixture for mixture in planned if mixture.label == label]
        assert len({mixture.name.identity for mixture in mine}) == 1
        assert len({tuple(NAMES[part.number].identity for part in mixture.parts) for mixture in mine}) == 1
    assert len({mixture.name for mixture in planned}) == len(planned)
    assert [mixture.name for mixture in planned] == sorted(mixture.name for mixture in planned)


def test_the_key_decides_and_names_are_no_pseudonyms_of_people():
    planned = plan_mixtures(NAMES, poses(len(NAMES)), KEY, Mixing(2, 1))
    assert planned == plan_mixtures(NAMES, poses(len(NAMES)), KEY, Mixing(2, 1))
    other = plan_mixtures(NAMES, poses(len(NAMES)), Key(bytes(32)), Mixing(2, 1))
    assert {mixture.name for mixture in planned}.isdisjoint(mixture.name for mixture in other)
    people = {KEY.identity(name.identity) for name in NAMES}
    assert people.isdisjoint(mixture.name.identity for mixture in planned)


def test_photos_of_like_poses_meet_as_they_are_or_mirrored():
    pictures = poses(6)
    pictures[3:] = pictures[[2, 0, 1]]
    pictures[4] = pictures[4][:, ::-1]
    names = [*(Name("a", f"{photo}") for photo in range(3)), *(Name("b", f"{photo}") for photo in range(3))]
    names.append(Name("c", "0"))
    pictures = np.concatenate([pictures, poses(1, 1)])
    planned = plan_mixtures(names, pictures, KEY, Mixing(2, 12))
    met = {mixture.parts for mixture in planned if {names[p.number].identity for p in mixture.parts} == {"a", "b"}}
    pairs = {tuple(sorted(part.number for part in parts)): parts[1].mirrored for parts in met}
    assert pairs == {(2, 3): False, (0, 4): True, (1, 5): False}


def test_photos_of_the_other_are_used_evenly(monkeypatch):
    for block in (256, 4):
        monkeypatch.setattr(mixing, "BLOCK", block)
        names = [*(Name("a", f"{photo}") for photo in range(10)), *(Name("b", f"{photo}") for photo in range(3))]
        names.append(Name("c", "0"))
        planned = plan_mixtures(names, poses(14), KEY, Mixing(2, 12))
        of_a = [m for m in planned if m.parts[0].number < 10 and 10 <= m.parts[1].number < 13]
        labels = {mixture.label for mixture in of_a}
        assert labels
        for label in labels:
            used = Counter(mixture.parts[1].number for mixture in of_a if mixture.label == label)
            assert sorted(used.values()) == [3, 3, 4]


def test_what_cannot_be_mixed():
    with pytest.raises(UsageError, match="faces without a person cannot be mixed"):
        plan_mixtures([*NAMES, Name(None, "1.jpg")], poses(len(NAMES) + 1), KEY, Mixing(2, 1))
    with pytest.raises(UsageError, match="3 people are too few to mix 3 of them"):
        plan_mixtures(NAMES[:6], poses(6), KEY, Mixing(3, 1))
    for people, copies in ((1, 1), (2, 0)):
        with pytest.raises(UsageError, match="is not a mixture"):
            Mixing(people, copies)


def test_a_dataset_says_of_itself_how_it_is_mixed():
    said = [Manifest("mask"), None, Manifest("mask", extra={"mixing": {"people": 3, "copies": 2, "warp": 2}})]
    assert [Mixing.of(each) for each in said] == [None, None, Mixing(3, 2, 2.0)]
    assert [warp_of(Mixing.of(each)) for each in said] == [0, 0, 2]
    for odd in ({"people": 3}, {"people": True, "copies": 2}, {"people": 1, "copies": 2}):
        with pytest.raises(UsageError, match="is not a mixture: it takes 2 people or more, and 1 copy or more"):
            Mixing.of(Manifest("mask", extra={"mixing": odd}))
    for warp in (-0.1, 4.1, "2", None):
        with pytest.raises(UsageError, match="is not a mixture: its warp is a number from 0 to 4"):
            Mixing.of(Manifest("mask", extra={"mixing": {"people": 3, "copies": 2, "warp": warp}}))
