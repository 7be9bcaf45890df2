"""Which people two datasets share, as far as their names tell."""

from __future__ import annotations

import pickle
import unicodedata
from pathlib import Path

import pytest
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.manifest import Manifest, manifest_path, write_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.packs.people import names_in, shared_people
from facemae_cli.data.packs.source import PackSource, open_pack
from facemae_cli.tasks.convert import convert


def pack_of(folder: Path, *people: str) -> PackSource:
    """A folder with a `pairs.txt` in which each of `people` has one photo."""
    for name in people:
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name.rpartition('/')[2]}_0001.jpg").write_bytes(name.encode())
    pairs = [f"{first}\t1\t{second}\t1\n" for first, second in zip(people, people[1:] + people[:1], strict=True)]
    (folder / "pairs.txt").write_text("".join(pairs))
    return open_pack(folder / "pairs.txt")


def training(*people: str | None) -> MemorySource:
    return MemorySource([(name, "1.jpg", b"") for name in people])


def shared(pack: PackSource, source: FaceSource) -> int | None:
    return shared_people(pack, names_in(source))


def test_names_are_compared_however_they_are_spelt(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, "Zoë_Ball", "Ann_van_der_Lee", "Bob", "Cy")
    spelt = (unicodedata.normalize("NFD", "ZOË ball"), "ann van_der  lee", "ann_van_der_lee", "bobby", None)
    assert shared(pack, training(*spelt)) == 2
    assert shared(pack, training("Dee")) == 0


def test_each_part_of_a_nested_name_counts(tmp_path: Path) -> None:
    pack = pack_of(tmp_path, "set/Ann", "set/Bob", "set/Cy")
    assert shared(pack, training("train/bob", "cy/session one", "set/Dee")) == 2


@pytest.mark.parametrize("numbers", [("17", "18"), ("0001", "1.5"), ("b" * 26, "a2b3c4d5e6f7ghijklmnopqrst"), (None,)])
def test_numbers_and_pseudonyms_are_no_names(tmp_path: Path, numbers: tuple[str | None, ...]) -> None:
    pack = pack_of(tmp_path, "Ann", "0001")
    assert shared(pack, training(*numbers)) is None
    assert shared(pack, training(*numbers, "ANN")) == 1


def test_a_bin_and_a_rec_without_lst_have_no_names(tmp_path: Path) -> None:
    pack = pack_of(tmp_path / "lfw", "Ann", "Bob")
    (tmp_path / "x.bin").write_bytes(pickle.dumps(([b"a", b"b"], [False])))
    assert shared(open_pack(tmp_path / "x.bin"), training("00001", "Ann")) is None
    for name in ("Ann", "Cy"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.png").write_bytes(encode_png(smooth_face(1, 8)))
    assert shared(pack, open_source(tmp_path / "train")) == 1
    convert(tmp_path / "train", tmp_path / "a.rec")
    assert shared(pack, open_source(tmp_path / "a.rec")) == 1
    (tmp_path / "a.lst").unlink()
    assert shared(pack, open_source(tmp_path / "a.rec")) is None


KEYED = [letter * 26 for letter in "abcdefghijklmnopqrst"]


def keyed(folder: Path, people: list[str], key_id: str | None, names: str = "copied") -> Path:
    """A folder of these people, that says whose pseudonyms they are."""
    for at, name in enumerate(people):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(encode_png(smooth_face(at, 8)))
    write_manifest(manifest_path(folder), Manifest("reconstruct", key_id=key_id, names=names))
    return folder


@pytest.mark.parametrize(
    ("ours", "theirs", "names", "count"),
    [("k1", "k1", "keyed", 2), ("k1", "k2", "keyed", None), (None, None, "copied", None), ("k1", "k1", "kept", None)],
)
def test_pseudonyms_of_one_key_are_names(
    tmp_path: Path, ours: str | None, theirs: str | None, names: str, count: int | None
) -> None:
    pack = pack_of(tmp_path / "pack", *KEYED[:3])
    write_manifest(manifest_path(tmp_path / "pack"), Manifest("convert", key_id=ours, names="copied"))
    released = keyed(tmp_path / "released", KEYED[1:4], theirs, names)
    assert shared(pack, open_source(released)) == count
    assert shared(pack, training("Ann")) is None
    (released / "facemae.json").write_text("{")
    assert shared(pack, open_source(released)) is None


def test_a_pack_converted_from_what_was_trained_on_shares_all_of_its_people(tmp_path: Path) -> None:
    released = keyed(tmp_path / "released", KEYED, "k1", "keyed")
    for at, name in enumerate(KEYED):
        (released / name / "2.png").write_bytes(encode_png(smooth_face(100 + at, 8)))
    convert(released, tmp_path / "pp" / "pairs.txt", pairs=20)
    pack = open_pack(tmp_path / "pp" / "pairs.txt")
    assert shared(pack, open_source(released)) == len({pack.name(index).identity for index in range(len(pack))})
    convert(released, tmp_path / "r.rec")
    assert shared(pack, open_source(tmp_path / "r.rec")) == shared(pack, open_source(released))
