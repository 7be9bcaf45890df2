"""Writing `.bin` packs: what is in them, what is left out, and where they may stand."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.packs.writer import WrittenPack, check_free, write_bin
from facemae_cli.errors import InputError, OutputError, UsageError
from facemae_cli.runtime.progress import SILENT

FACES = [encode_png(smooth_face(0)), encode_jpeg(smooth_face(1)), encode_png(smooth_face(2, 28))]


def source(*images: bytes) -> MemorySource:
    return MemorySource([("p", f"{number}.png", image) for number, image in enumerate(images)])


def write(out: Path, faces: MemorySource, pairs: list[list[int]], same: list[bool]) -> WrittenPack:
    return write_bin(out, faces, np.array(pairs), np.array(same), command="verify", threads=2, progress=SILENT)


def test_a_pack_as_insightface_loads_it(tmp_path: Path) -> None:
    made = write(tmp_path / "x.bin", source(*FACES), [[0, 1], [2, 1]], [True, False])
    assert (made.faces, made.pairs, made.left_out, made.other_size, made.refused) == (3, 2, 0, 1, [])
    with open(tmp_path / "x.bin", "rb") as file:
        bins, issame_list = pickle.load(file, encoding="bytes")  # as `load_bin` of its verification.py does
    assert bins == [FACES[0], FACES[1], FACES[2], FACES[1]]
    assert issame_list == [True, False]
    manifest = json.loads((tmp_path / "x.bin.facemae.json").read_text())
    assert (manifest["command"], manifest["names"]) == ("verify", "copied")
    assert manifest["counts"] == {"in": 3, "out": 3, "refused": {}}


def test_pairs_of_broken_faces_are_left_out_and_unused_faces_not_read(tmp_path: Path) -> None:
    made = write(tmp_path / "x.bin", source(*FACES, FACES[0][:-9], b"unused"), [[0, 1], [1, 3], [2, 3]], [True] * 3)
    assert (made.faces, made.pairs, made.left_out, made.other_size) == (2, 1, 2, 0)
    assert [(item.where, item.reason) for item in made.refused] == [("memory/p/3.png", "truncated")]
    counts = json.loads((tmp_path / "x.bin.facemae.json").read_text())["counts"]
    assert counts == {"in": 5, "out": 2, "refused": {"truncated": 1}}
    with pytest.raises(InputError, match="not one of its 1 pairs"):
        write(tmp_path / "y.bin", source(b"", FACES[0]), [[0, 1]], [True])
    assert not (tmp_path / "y.bin").exists()


def test_where_a_pack_may_stand(tmp_path: Path) -> None:
    (tmp_path / "lfw").mkdir()
    (tmp_path / "old.bin").touch()
    pairs = tmp_path / "lfw" / "pairs.txt"
    check_free(tmp_path / "new.bin", pairs, overwrite=False)
    with pytest.raises(UsageError, match=r"old\.bin was not made by facemae"):
        check_free(tmp_path / "old.bin", pairs, overwrite=True)
    (tmp_path / "old.bin.facemae.json").write_text(Manifest("convert").as_json())
    with pytest.raises(UsageError, match=r"old\.bin was not made by facemae \(no old\.bin\.facemae\.json of ours that"):
        check_free(tmp_path / "old.bin", pairs, overwrite=True)
    write(tmp_path / "old.bin", source(*FACES, FACES[0]), [[0, 1], [2, 3]], [True, True])  # the last is the first again
    check_free(tmp_path / "old.bin", pairs, overwrite=True)
    held = (tmp_path / "old.bin").read_bytes()
    write(tmp_path / "old.bin", source(*FACES), [[0, 1]], [True])
    few = (tmp_path / "old.bin").read_bytes()
    write(tmp_path / "old.bin", source(*FACES), [[0, 1], [2, 1]], [True, True])
    (tmp_path / "old.bin").write_bytes(few)
    with pytest.raises(UsageError, match=r"old\.bin was not made by facemae"):
        check_free(tmp_path / "old.bin", pairs, overwrite=True)
    (tmp_path / "old.bin").write_bytes(held)
    (tmp_path / "link.bin").symlink_to("old.bin")
    with pytest.raises(UsageError, match=r"link\.bin is a link"):
        check_free(tmp_path / "link.bin", pairs, overwrite=True)
    with pytest.raises(UsageError, match="there is no folder"):
        check_free(tmp_path / "none" / "x.bin", pairs, overwrite=True)
    with pytest.raises(UsageError, match=r"old\.bin exists: choose another --write-pack, or --overwrite"):
        check_free(tmp_path / "old.bin", pairs, overwrite=False, option="--write-pack")
    for given in (pairs, tmp_path / "lfw", tmp_path / "lfw" / "train.rec"):
        with pytest.raises(UsageError, match=r"--out .* is inside the input"):
            check_free(tmp_path / "lfw" / "x.bin", given, overwrite=True)
    with pytest.raises(OutputError):
        write(tmp_path / "none" / "x.bin", source(*FACES), [[0, 1]], [True])
