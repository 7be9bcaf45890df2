"""What an audit reads, and what it says of files in these places that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.maskcases import key_file, make_folder, put

from facemae_cli.data.faces import PROBED, NotRead
from facemae_cli.data.images.codec import decode_masked
from facemae_cli.evaluation.leakage import datasets
from facemae_cli.evaluation.leakage.datasets import open_datasets
from facemae_cli.tasks.mask import mask


def test_what_is_not_read_of_each_dataset_is_known(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("raw", "released", "others", "own")]
    for at, place in enumerate(places):
        put(place / "ann" / "1.png", b"a face")
        for number in range(at):
            put(place / "ann" / f".{number}.png", b"hidden")
    put(places[3] / "notes.txt", b"not an image")
    hidden = "images that begin with a dot"
    assert open_datasets(*places).not_read == {
        "--original": NotRead(0, {}),
        "--released": NotRead(0, {hidden: 1}),
        "--non-members": NotRead(0, {hidden: 2}),
        "--adapt": NotRead(1, {hidden: 3}),
    }
    assert open_datasets(places[0], places[1], None, None).not_read.keys() == {"--original", "--released"}


def test_a_release_is_looked_at_once_to_tell_whether_it_is_masked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What facemae did not write has no manifest that says so."""
    mask(make_folder(tmp_path / "raw"), tmp_path / "masked", key=key_file(tmp_path / "key"))
    (tmp_path / "masked" / "facemae.json").unlink()
    looked = []
    monkeypatch.setattr(datasets, "decode_masked", lambda data: looked.append(data) or decode_masked(data))
    found = datasets.open_datasets(tmp_path / "raw", tmp_path / "masked", None, None)
    assert (found.masked, found.masked, len(looked)) == (True, True, PROBED)
    assert not datasets.open_datasets(tmp_path / "raw", tmp_path / "raw", None, None).masked
