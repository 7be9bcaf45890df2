"""Faces that are there twice are found: equal bytes anywhere, nearly equal pictures among pairs that are looked at."""

from __future__ import annotations

import cv2
import numpy as np
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.evaluation.leakage.duplicates import LISTED, Copy, Duplicates, Pairs, digests, find_duplicates
from facemae_cli.runtime.progress import SILENT

FACES = [smooth_face(number) for number in range(6)]
PNGS = [encode_png(face) for face in FACES]


def source(*images: bytes) -> MemorySource:
    return MemorySource([(f"p{at}", f"{at}.png", image) for at, image in enumerate(images)])


def found(original: MemorySource, released: MemorySource, across=(), within=()) -> Duplicates:
    both = [digests(side, 2, SILENT, "digest") for side in (original, released)]
    labels = [f"q{at}" for at in range(len(released))]
    return find_duplicates(original, released, *both, labels, Pairs(across, within), 2)


def test_a_planted_copy_is_found_whoever_it_is_said_to_be() -> None:
    result = found(source(*PNGS[:4]), source(PNGS[4], PNGS[2], PNGS[5]))
    assert (result.released, result.released_near, result.original, result.whole) == (1, 0, 0, False)
    assert result.copies == [Copy("q1", "1.png", "bytes")]
    assert result.lines() == ["released faces that are real: 1 byte for byte, 0 nearly"]


def test_nearly_equal_pictures_are_found_among_the_pairs_that_are_looked_at() -> None:
    small = cv2.resize(FACES[0], (80, 80), interpolation=cv2.INTER_AREA)
    again = [encode_jpeg(FACES[0], 60), encode_jpeg(small, 85), PNGS[4], encode_png(FACES[1] // 2)]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 3)]
    result = found(source(*PNGS[:2]), source(*again), across=pairs)
    assert (result.released, result.released_near) == (0, 2)
    assert [(copy.identity, copy.kind) for copy in result.copies] == [("q0", "near"), ("q1", "near")]
    assert found(source(*PNGS[:2]), source(*again)).released_near == 0


def test_one_photo_held_twice_counts_once() -> None:
    twice = source(PNGS[0], PNGS[1], PNGS[0], PNGS[0], encode_jpeg(FACES[1], 80))
    result = found(twice, source(PNGS[5]), within=[(4, 1), (1, 4), (0, 2), (0, 1)])
    assert (result.original, result.original_near) == (2, 1)
    assert result.lines() == ["originals that are there twice: 2 byte for byte, 1 nearly"]


def test_a_release_that_is_the_originals_is_told() -> None:
    result = found(source(*PNGS), source(*PNGS[::-1]))
    assert (result.whole, result.released) == (True, 6)
    assert "nothing was hidden" in result.lines()[0]
    assert not Duplicates().lines()


def test_the_list_of_copies_is_short_and_the_count_is_not() -> None:
    images = [encode_png(smooth_face(number, 14)) for number in range(LISTED + 5)]
    result = found(source(*images), source(*images))
    assert (len(result.copies), result.released) == (LISTED, LISTED + 5)
    assert result.as_json()["copies"][0] == {"identity": "q0", "released_photo": "0.png", "kind": "bytes"}


def test_faces_that_cannot_be_read_are_no_copies() -> None:
    broken = source(b"", b"text", PNGS[0])
    result = found(broken, source(b"text", PNGS[1]), across=[(0, 0), (1, 1)])
    assert (result.released, result.released_near) == (1, 0)  # its bytes are there all the same
    whole = digests(broken, 1, SILENT, "digest")
    assert whole.whole != digests(source(*PNGS[:3]), 1, SILENT, "digest").whole
    assert np.array([face is None for face in whole.faces]).tolist() == [False, False, False]
