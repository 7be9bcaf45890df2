"""Faces that are there twice are found among all faces: equal bytes, and nearly equal pictures in every symmetry."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest
from helpers.audits import scan
from helpers.sources import MemorySource, smooth_face

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.evaluation.leakage.duplicates import (
    CONTRAST,
    LISTED,
    NEAR,
    NEAR_EVENED,
    Copy,
    Duplicates,
    find_duplicates,
)
from facemae_cli.evaluation.leakage.transforms import TRANSFORMS, symmetries

FACES = [smooth_face(number) for number in range(6)]
PNGS = [encode_png(face) for face in FACES]


def source(*images: bytes) -> MemorySource:
    return MemorySource([(f"p{at}", f"{at}.png", image) for at, image in enumerate(images)])


def found(original: MemorySource, released: MemorySource) -> Duplicates:
    both = [scan(side) for side in (original, released)]
    return find_duplicates(*both, released, [f"q{at}" for at in range(len(released))])


def test_a_planted_copy_is_found_whoever_it_is_said_to_be() -> None:
    result = found(source(*PNGS[:4]), source(PNGS[4], PNGS[2], PNGS[5]))
    assert (result.released, result.released_near, result.original, result.whole) == (1, 0, 0, False)
    assert result.copies == [Copy("q1", "1.png", "bytes")]
    assert result.lines()[0].startswith("released faces that are real: 1 byte for byte, 0 nearly")


def test_nearly_equal_pictures_are_found_among_all_labels() -> None:
    small = cv2.resize(FACES[0], (80, 80), interpolation=cv2.INTER_AREA)
    again = [encode_png(FACES[2]), encode_jpeg(FACES[0], 60), PNGS[4], encode_jpeg(small, 85)]
    result = found(source(*PNGS[:2]), source(*again))
    assert (result.released, result.released_near, result.all_released) == (0, 2, 2)
    assert [(copy.identity, copy.kind) for copy in result.copies] == [("q1", "near"), ("q3", "near")]


def test_near_copies_are_those_of_plain_loops_over_all_pairs_and_symmetries() -> None:
    random = np.random.default_rng(0)
    noisy = [
        np.clip(face + random.normal(0, 30 * at, face.shape), 0, 255).astype(np.uint8) for at, face in enumerate(FACES)
    ]
    shifted = [
        np.clip(face.astype(int) + shift, 0, 255).astype(np.uint8)
        for face, shift in zip(FACES, range(0, 6), strict=True)
    ]
    released = [np.ascontiguousarray(face[::-1].transpose(1, 0, 2)) for face in (*noisy, *shifted)]
    sides = [scan(source(*map(encode_png, faces))).thumbnails for faces in (FACES, released)]
    centred = [side.astype(np.float32) - 127.5 for side in sides]
    greys = [[evened(face) for face in side] for side in sides]
    ways, grey_ways = list(symmetries(centred[1])), list(symmetries(np.stack(greys[1])))
    close = [
        any(float(np.abs(way[at] - face).mean()) <= NEAR for way, face in product(ways, centred[0]))
        or any(float(np.abs(way[at] - face).mean()) <= NEAR_EVENED for way, face in product(grey_ways, greys[0]))
        for at in range(len(released))
    ]
    expected = sum(close)
    assert 3 < expected < 12
    assert close[len(noisy) :] == [True] * len(shifted)
    assert found(source(*PNGS), source(*map(encode_png, released))).released_near == expected


def evened(thumbnail: np.ndarray) -> np.ndarray:
    """(14, 14, 3), each value the grey one less the mean, in standard deviations, times the contrast."""
    grey = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in thumbnail.tolist()]
    mean = sum(map(sum, grey)) / 196
    deviation = (sum((value - mean) ** 2 for row in grey for value in row) / 196) ** 0.5
    return np.repeat(CONTRAST * (np.array(grey)[..., None] - mean) / deviation, 3, axis=2)


def lit(face: np.ndarray, gain: float, lift: float) -> np.ndarray:
    return np.clip(face * gain + lift, 0, 255).astype(np.uint8)


def grey(face: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


CHANGED = TRANSFORMS | {
    "darker": lambda face: lit(face, 0.5, 0),
    "flatter": lambda face: lit(face, 0.6, 50),
    "brighter": lambda face: lit(face // 2, 1.5, 30),
    "tinted": lambda face: lit(face, np.array([1.0, 0.93, 0.96]), 0),
    "grey": grey,
    "grey, inverted and darker": lambda face: lit(255 - grey(face), 0.7, 0),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_face_transformed_or_under_another_light_is_a_near_copy(name: str) -> None:
    made = [encode_jpeg(np.ascontiguousarray(CHANGED[name](face)), 85) for face in FACES]
    assert found(source(*PNGS), source(*made)).released_near == len(FACES)
    assert found(source(*PNGS[:3]), source(*made[3:])).released_near == 0


def test_what_hardly_shows_anything_is_not_taken_for_what_shows_more() -> None:
    faint = [encode_png(lit(face, 0.02, 120)) for face in FACES]
    assert found(source(*PNGS), source(*faint)).released_near == 0


def test_one_photo_held_twice_counts_once() -> None:
    twice = source(PNGS[0], PNGS[1], PNGS[0], PNGS[0], encode_jpeg(FACES[1], 80))
    result = found(twice, source(PNGS[5]))
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
    result = found(broken, source(b"text", PNGS[1]))
    assert (result.released, result.released_near) == (1, 0)  # its bytes are there all the same
    whole = scan(broken)
    assert whole.whole != scan(source(*PNGS[:3])).whole
    assert whole.valid.tolist() == [False, False, True]
    assert np.array([face is None for face in whole.digests]).tolist() == [False, False, False]


def test_pictures_of_one_colour_are_like_no_other() -> None:
    flat = [np.full((112, 112, 3), value, np.uint8) for value in ((0, 0, 0), (1, 1, 1), (200, 10, 10))]
    noisy = np.clip(flat[2] + np.random.default_rng(0).normal(0, 20, (112, 112, 3)), 0, 255).astype(np.uint8)
    result = found(source(*map(encode_png, flat), PNGS[0]), source(*map(encode_png, (flat[1] + 1, noisy)), PNGS[0]))
    assert (result.released, result.released_near, result.original_near) == (1, 0, 0)
    assert found(source(encode_png(flat[0])), source(encode_png(flat[0]))).released == 1
