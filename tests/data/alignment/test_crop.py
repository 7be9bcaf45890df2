"""Which faces of a photo are kept, and the reasons against the others."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from helpers.dots import DotDetector, dotted_face
from helpers.scenes import one_face, several

from facemae_cli.data.alignment.crop import Crop, Rules, find_crops, sharpness
from facemae_cli.errors import FaceError, UsageError

FACES = [dotted_face(n) for n in range(3)]


def made(photo: np.ndarray, **rules: Any) -> list[Crop]:
    found = find_crops(photo, DotDetector(), Rules(**rules)).wanted
    assert all(isinstance(face, Crop) for face in found), found
    return [face for face in found if isinstance(face, Crop)]


def refused(photo: np.ndarray, **rules: Any) -> str:
    try:
        [error] = find_crops(photo, DotDetector(), Rules(**rules)).wanted
    except FaceError as raised:
        return raised.reason
    assert isinstance(error, FaceError)
    return error.reason


@pytest.mark.parametrize(("scale", "angle"), [(1, 0), (1, 30), (3, -20), (0.6, 10)])
def test_a_crop_is_the_face_that_was_put_into_the_photo(scale: float, angle: float) -> None:
    [crop] = made(one_face(FACES[0], (600, 700), None, scale, angle).photo)
    assert crop.image.shape == (112, 112, 3)
    inner = np.s_[20:-20, 20:-20]
    difference = np.abs(crop.image[inner].astype(int) - cv2.GaussianBlur(FACES[0], (0, 0), 1)[inner])
    assert difference.mean() < 12


def test_of_several_faces_those_asked_for_are_taken() -> None:
    scene = several(FACES, [2, 1, 1], [0, 0, 0])  # around 168, 420 and 588 of 672 pixels
    largest, centre = made(scene.photo), made(scene.photo, choice="centre")
    assert len(largest) == len(centre) == 1
    assert len(made(scene.photo, choice="all")) == 3
    assert refused(scene.photo, choice="refuse") == "several-faces"
    first, second, _ = (face.image.astype(int) for face in made(scene.photo, choice="all"))
    assert np.abs(first - largest[0].image).mean() < 3 < np.abs(second - largest[0].image).mean()
    alone = made(np.ascontiguousarray(scene.photo[:, 336:504]))[0]
    assert np.abs(centre[0].image.astype(int) - alone.image).mean() < 3
    assert find_crops(scene.photo, DotDetector(), Rules("centre")).seen == 3


def test_a_bystander_too_small_to_be_used_does_not_count() -> None:
    scene = several(FACES[:2], [2, 0.6], [0, 0])
    assert len(made(scene.photo, choice="refuse", min_side=100)) == 1
    assert len(made(scene.photo, choice="all", min_side=100)) == 1


def test_each_reason() -> None:
    assert refused(np.full((200, 200, 3), 128, np.uint8)) == "no-face"
    assert refused(one_face(FACES[0], scale=0.6).photo, min_side=90) == "too-small"
    assert refused(one_face(FACES[0], middle=(30, 200)).photo) == "cut-off"
    photo = cv2.GaussianBlur(one_face(FACES[0], scale=2).photo, (0, 0), 8)
    assert refused(photo, min_sharpness=0.2) == "blurred"
    assert made(photo, min_sharpness=0)


def test_a_crop_near_the_border_is_doubtful() -> None:
    [crop] = made(one_face(FACES[0], middle=(52, 200)).photo)
    assert crop.doubts == ("near-border",)
    assert crop.doubt > 0
    [sure] = made(one_face(FACES[0]).photo)
    assert (sure.doubts, sure.doubt) == ((), 0)


def test_sharpness_falls_with_blur_and_not_with_contrast() -> None:
    face = dotted_face()
    assert sharpness(face) > 2 * sharpness(np.asarray(cv2.GaussianBlur(face, (0, 0), 2), np.uint8))
    pale = (face // 2 + 60).astype(np.uint8)
    assert sharpness(pale) == pytest.approx(sharpness(face), rel=0.05)
    assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == 0


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"choice": "both"}, "--faces 'both' is not known: give one of largest, centre, all, refuse"),
        ({"min_side": 0}, "--min-side 0"),
        ({"min_sharpness": 2}, "--min-sharpness 2"),
    ],
)
def test_rules_that_cannot_be(rules: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Rules(**rules)
