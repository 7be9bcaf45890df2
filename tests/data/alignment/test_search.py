"""Faces are found wherever they are, however turned and large, and placed better by a second look."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.dots import DotDetector, dotted_face
from helpers.scenes import Scene, one_face, several

from facemae_cli.data.alignment import search
from facemae_cli.data.alignment.detector import Detection
from facemae_cli.data.alignment.search import Found, find_faces
from facemae_cli.data.alignment.template import TEMPLATE, apply


def errors(found: list[Found], scene: Scene) -> list[float]:
    """For each placed face, how far the points of the nearest found one are off, in pixels of a crop."""
    return [
        min(float(np.abs(face.points - apply(matrix, TEMPLATE)).max()) * 112 / face.side for face in found)
        for matrix in scene.placed
    ]


@pytest.mark.parametrize("angle", [0, 30, -45, 90, 180, -90, 135])
def test_a_face_is_found_however_it_is_turned(angle: float) -> None:
    scene = one_face(dotted_face(), angle=angle)
    [face] = find_faces(scene.photo, DotDetector())
    assert errors([face], scene)[0] < 1
    assert face.side == pytest.approx(112, rel=0.02)


@pytest.mark.parametrize("scale", [0.5, 1, 2, 4])
def test_a_face_is_found_at_any_size(scale: float) -> None:
    scene = one_face(dotted_face(), (700, 900), (420, 340), scale, 12)
    [face] = find_faces(scene.photo, DotDetector())
    assert errors([face], scene)[0] < 1.5
    assert face.side == pytest.approx(112 * scale, rel=0.03)


def test_several_faces_come_largest_first_and_once_each() -> None:
    scene = several([dotted_face(n) for n in range(4)], [0.6, 2.5, 1, 1.5], [10, -20, 30, 0])
    found = find_faces(scene.photo, DotDetector())
    assert [round(face.side / 112, 1) for face in found] == pytest.approx([2.5, 1.5, 1.0, 0.6], abs=0.1)
    assert max(errors(found, scene)) < 1.5


def test_the_second_look_mends_what_the_first_misplaces() -> None:
    class Careless(DotDetector):
        """Off by a twentieth of the face for each 10 degrees that it is turned."""

        def detect(self, picture: np.ndarray) -> list[Detection]:
            return [
                Detection(points + np.array([np.ptp(points[:, 1]) * 0.05 * (0.95 - score) / 0.04, 0]), score)
                for points, score in super().detect(picture)
            ]

    scene = one_face(dotted_face(), angle=40)
    first, *_ = search._search(scene.photo, Careless(), False)
    [second] = find_faces(scene.photo, Careless())
    assert errors([first], scene)[0] > 5
    assert errors([second], scene)[0] < 1.5


def test_what_the_second_look_does_not_see_is_no_face() -> None:
    class Hasty(DotDetector):
        """Takes any picture as large as a photo for one face."""

        def detect(self, picture: np.ndarray) -> list[Detection]:
            return [Detection(TEMPLATE + 100, 0.9)] if len(picture) != search.WINDOW else []

    assert find_faces(np.zeros((480, 640, 3), np.uint8), Hasty()) == []


def test_small_faces_of_a_large_photo_are_found_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FINE", 400)
    monkeypatch.setattr(search, "TILE", 500)
    monkeypatch.setattr(search, "OVERLAP", 150)
    scene = one_face(dotted_face(), (1400, 1300), (488, 501), 0.5)  # at 400 pixels, dots of half a pixel
    detector = DotDetector()
    [face] = find_faces(scene.photo, detector)
    assert errors([face], scene)[0] < 1.5
    assert max(max(shape) for shape in detector.pictures) == 500  # the whole photo is never looked at in one piece


def test_for_the_largest_face_finer_sizes_are_not_searched() -> None:
    scene = one_face(dotted_face(), (900, 1200), scale=4)
    detector = DotDetector()
    assert len(find_faces(scene.photo, detector, largest=True)) == 1
    assert max(max(shape) for shape in detector.pictures) == search.COARSE


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (2000, 2)])
def test_photos_of_any_shape_are_searched(shape: tuple[int, int]) -> None:
    assert find_faces(np.zeros((*shape, 3), np.uint8), DotDetector()) == []
