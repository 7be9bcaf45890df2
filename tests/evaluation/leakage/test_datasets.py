"""What an audit reads, and what it says of files in these places that it does not."""

from __future__ import annotations

from pathlib import Path

from helpers.maskcases import put

from facemae_cli.data.faces import NotRead
from facemae_cli.evaluation.leakage.datasets import open_datasets


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
