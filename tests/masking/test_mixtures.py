"""The mixtures of a dataset as a dataset: what `mask --protect` writes of it, face by face."""

import csv

import pytest
from helpers.maskcases import key_file, make_folder, put

from facemae_cli.data.open import open_source
from facemae_cli.errors import FaceError
from facemae_cli.masking.job import Masker
from facemae_cli.masking.key import Key
from facemae_cli.masking.levels import Level
from facemae_cli.masking.mixing import Mixing
from facemae_cli.masking.mixtures import Mixtures
from facemae_cli.tasks.mask import mask

PEOPLE = {"anna": 2, "bert": 3, "cleo": 1, "dora": 2}
MIXING = Mixing(people=3, copies=2)


@pytest.fixture
def raw(tmp_path):
    raw = make_folder(tmp_path / "raw", PEOPLE)
    put(raw / "anna" / "broken.jpg", b"\xff\xd8 no photo")
    return raw


def test_they_are_what_the_command_writes_and_know_their_photos(raw, tmp_path):
    file = key_file(tmp_path / "the.key")
    mask(raw, tmp_path / "masked", key=file, protect=Level(MIXING, 0.75), sources=tmp_path / "whom.csv", workers=1)
    key, source = Key.load(file), open_source(raw)
    found, written = Mixtures.of(source, Masker("random", 0.75, key), key, MIXING, 1), open_source(tmp_path / "masked")
    assert [item.reason for item in found.refused] == ["not-an-image"]
    names = [found.name(index) for index in range(len(found))]
    written_as = [written.name(index) for index in range(len(written))]
    assert [(name.identity, f"{name.photo}.png") for name in names] == written_as
    assert [found.read(index) for index in range(16)] == [written.read(index) for index in range(16)]
    with open(tmp_path / "whom.csv", newline="", encoding="utf-8") as file:
        rows = [tuple(row) for row in csv.reader(file)][2:]  # less the headings and the code
    assert [
        (f"{name.identity}/{name.photo}", *source.name(photo))
        for name, photos in zip(names, found.photos, strict=True)
        for photo in photos
    ] == rows
    assert found.where(3) == source.where(found.photos[3, 0])


def test_a_photo_that_is_gone_since_is_told_of_where_it_is_read(raw):
    key = Key(bytes(range(32)))
    found = Mixtures.of(open_source(raw), Masker("random", 0.75, key), key, MIXING, 1)
    put(raw / "cleo" / "snap 0.jpg", b"\xff\xd8 no photo")
    lost = next(at for at in range(16) if "cleo" in found.where(at))
    with pytest.raises(FaceError):
        found.read(lost)
