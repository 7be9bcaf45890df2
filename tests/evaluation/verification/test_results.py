"""A pack's figures, gates, and warnings about a figure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from helpers.packcases import images_of, write_bin, write_lfw

from facemae_cli.data.packs.source import open_pack
from facemae_cli.evaluation.metrics import verify_pairs
from facemae_cli.evaluation.verification.gates import AccuracyGate
from facemae_cli.evaluation.verification.page import pack_report
from facemae_cli.evaluation.verification.results import VerifiedPack, judge, warning_lines
from facemae_cli.inference.embed import Embeddings
from facemae_cli.networks.card import Card, InputSpec

GIVEN = Card(kind="embedder", input=InputSpec(112))


def embeddings(count: int, lost: tuple[int, ...] = (), resized: int = 0) -> Embeddings:
    features = np.random.default_rng(0).normal(size=(count, 4))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    valid = np.isin(np.arange(count), lost, invert=True)
    return Embeddings((features * valid[:, None]).astype(np.float32), valid, [], resized)


def test_pairs_without_a_face_are_left_out_and_the_others_keep_their_order(tmp_path: Path) -> None:
    pack = open_pack(write_bin(tmp_path / "x.bin", *images_of(24)))
    made = embeddings(len(pack), lost=(2, 9))
    found = VerifiedPack.of(pack, made)
    rest = [n for n, pair in enumerate(pack.pairs.tolist()) if not {2, 9} & set(pair)]
    assert found.kept.tolist() == rest
    assert 0 < found.left_out == 24 - len(rest)
    assert found.faces == len(pack) - 2
    assert found.verification == verify_pairs(made.features, pack.pairs[rest], pack.same[rest])
    assert found.as_json() | {"left_out": 24 - len(rest), "people_in_training": None} == found.as_json()


def test_pairs_whose_photo_is_missing_count_as_left_out(tmp_path: Path) -> None:
    folder = write_lfw(tmp_path / "lfw")
    (folder / "Person_00" / "Person_00_0002.jpg").unlink()
    pack = open_pack(folder / "pairs.txt")
    assert VerifiedPack.of(pack, embeddings(len(pack))).left_out == pack.missing == 2


def test_nothing_left_is_no_accuracy(tmp_path: Path) -> None:
    pack = open_pack(write_bin(tmp_path / "x.bin", *images_of(2)))
    found = VerifiedPack.of(pack, embeddings(len(pack), lost=tuple(range(len(pack)))))
    assert (found.verification.accuracy, found.left_out, found.faces) == (None, 2, 0)
    assert found.verification.notes
    [gate] = judge([AccuracyGate("x", 0.0)], {"x": found})
    assert not gate.passed
    assert str(gate) == "x: no accuracy could be measured, minimum 0 %: failed"


def test_doubts_about_a_figure(tmp_path: Path) -> None:
    pack = open_pack(write_bin(tmp_path / "x.bin", *images_of(100)))
    found = VerifiedPack.of(pack, embeddings(len(pack)))  # random features: about half of the pairs
    [low] = warning_lines("lfw", found, GIVEN)
    assert "is little for a published embedder" in low
    assert warning_lines("lfw", found, replace(GIVEN, recipe={"epochs": 1})) == []
    few = replace(found, verification=replace(found.verification, pairs=99))
    assert warning_lines("lfw", few, GIVEN) == []
    good = replace(found, verification=replace(found.verification, accuracy=0.95))
    assert warning_lines("lfw", good, GIVEN) == []
    size, overlap = warning_lines("lfw", replace(good, resized=3, shared_people=2), GIVEN)
    assert size.startswith(f"lfw: 3 of {len(pack)} faces are not 112 x 112 pixels")
    assert overlap.startswith("lfw: 2 of its people are, by name, among the training faces")
    assert warning_lines("lfw", replace(good, shared_people=0), GIVEN) == []


def test_a_report_shows_the_worst_pairs_of_those_that_were_measured(tmp_path: Path) -> None:
    folder = write_lfw(tmp_path / "lfw", people=6)
    (folder / "Person_00" / "Person_00_0001.jpg").unlink()
    pack = open_pack(folder / "pairs.txt")
    found = VerifiedPack.of(pack, embeddings(len(pack), lost=(4,)))
    shown = pack_report("lfw", pack, found)
    assert shown.worst
    for pair in shown.worst:
        number = int(pair.caption.split(":")[0].removeprefix("pair ")) - 1
        first, second = pack.pairs[number].tolist()
        assert (pair.first, pair.second, pair.same) == (pack.read(first), pack.read(second), pack.same[number])
        assert pair.distance == found.distances[found.kept.tolist().index(number)]
        assert pair.caption == f"pair {number + 1}: {pack.name(first).photo}, {pack.name(second).photo}"
    numbered = open_pack(write_bin(tmp_path / "x.bin", *images_of(24)))
    bare = pack_report("x", numbered, VerifiedPack.of(numbered, embeddings(len(numbered))))
    assert all(pair.caption.removeprefix("pair ").isdecimal() for pair in bare.worst)
