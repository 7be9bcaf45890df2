"""Symmetries of faces, and what none of them changes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.sources import smooth_face

from facemae_cli.evaluation.leakage.fingerprints import thumbnail
from facemae_cli.evaluation.leakage.transforms import MIRROR_IMAGES, PIXELWISE, TRANSFORMS, invariants, symmetries

FACES = [smooth_face(number) for number in range(4)]
CENTRED = np.stack([thumbnail(face) for face in FACES]).astype(np.float32) - 127.5


def test_there_are_32_different_symmetries() -> None:
    ways = list(symmetries(CENTRED))
    assert len(ways) == len({way.tobytes() for way in map(np.ascontiguousarray, ways)}) == 32


def test_invariants_are_the_same_in_every_symmetry_and_no_further_apart_than_faces() -> None:
    expected = invariants(CENTRED)
    for way in symmetries(CENTRED):
        np.testing.assert_allclose(invariants(way), expected, atol=1e-4)
    changed = CENTRED + np.random.default_rng(0).normal(0, 9, CENTRED.shape).astype(np.float32)
    apart = np.linalg.norm(invariants(changed) - expected, axis=1)
    assert (apart <= np.linalg.norm((changed - CENTRED).reshape(4, -1), axis=1) + 1e-4).all()
    assert np.linalg.norm(expected[0] - expected[1]) > 100


@pytest.mark.parametrize("name", PIXELWISE)
def test_transforms_commute_with_thumbnails(name: str) -> None:
    changed = TRANSFORMS[name](FACES[0])
    np.testing.assert_allclose(thumbnail(np.ascontiguousarray(changed)), TRANSFORMS[name](thumbnail(FACES[0])), atol=1)
    both = TRANSFORMS[name](np.stack([FACES[0], FACES[1]]))
    np.testing.assert_array_equal(both[0], changed)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_what_shows_the_mirror_image_of_another_is_known(name: str) -> None:
    made = {other: np.ascontiguousarray(change(FACES[0])).tobytes() for other, change in TRANSFORMS.items()}
    made[None] = FACES[0].tobytes()
    mirror_image = np.ascontiguousarray(TRANSFORMS[name](FACES[0])[:, ::-1]).tobytes()
    shown = [other for other, image in made.items() if image == mirror_image]
    assert shown == [MIRROR_IMAGES[name]] if name in MIRROR_IMAGES else set(shown) <= MIRROR_IMAGES.keys()
