"""The template and the warp onto it, against values by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facemae_cli.data.alignment.template import SIZE, TEMPLATE, apply, inverse, outside, scale_of, similarity, warp


def test_a_similarity_is_recovered_exactly() -> None:
    turn = 0.5 * np.array([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    points = (TEMPLATE - [3, 8]) @ turn
    found = similarity(points, TEMPLATE)
    assert apply(found, points) == pytest.approx(TEMPLATE)
    assert scale_of(found) == pytest.approx(2)
    assert apply(inverse(found), TEMPLATE) == pytest.approx(points)


def test_a_similarity_never_mirrors_and_is_the_best_there_is() -> None:
    points = TEMPLATE + np.random.default_rng(0).normal(0, 3, TEMPLATE.shape)
    found = similarity(points, TEMPLATE)
    assert np.linalg.det(found[:, :2]) > 0
    error = ((apply(found, points) - TEMPLATE) ** 2).sum()
    for change in np.eye(4) * 1e-3:
        a, b = found[0, 0] + change[0], found[1, 0] + change[1]
        other = np.array([[a, -b, found[0, 2] + change[2]], [b, a, found[1, 2] + change[3]]])
        assert ((apply(other, points) - TEMPLATE) ** 2).sum() > error


def test_one_point_five_times_is_an_error() -> None:
    with pytest.raises(ValueError, match="all points are one"):
        similarity(np.ones((5, 2)), TEMPLATE)


def test_a_warp_to_a_fourth_averages_blocks_and_does_not_pick_pixels() -> None:
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[:, 1::2] = 200  # stripes finer than the crop's pixels
    seen = warp(photo, np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 80)
    assert np.abs(seen.astype(int) - 100).max() <= 1


@pytest.mark.parametrize("scale", [3.0, 1.0, 0.6, 0.3, 0.1])
def test_what_stands_at_a_point_of_the_photo_stands_where_the_matrix_says(scale: float) -> None:
    rows, columns = np.mgrid[:300, :300].astype(np.float64)
    photo = np.stack([columns / 2, rows / 2, np.zeros_like(rows)], 2).astype(np.uint8)  # each pixel says where it is
    matrix = similarity(
        np.array([(150.0, 140), (170, 150)]), np.array([(56.0, 56), (56 + 20 * scale, 56 + 10 * scale)])
    )
    seen = warp(photo, matrix, SIZE)
    assert seen[56, 56, :2].astype(float) * 2 == pytest.approx([150, 140], abs=2)


def test_the_share_beyond_the_border() -> None:
    exactly = np.array([[1.0, 0, 0], [0, 1, 0]])
    assert outside(exactly, (112, 112)) == pytest.approx(0, abs=1e-6)
    assert outside(exactly, (112, 56)) == pytest.approx(0.5)
    assert outside(np.array([[1.0, 0, 28], [0, 1, 0]]), (112, 200)) == pytest.approx(0.25)
    assert outside(np.array([[1.0, 0, 500], [0, 1, 0]]), (112, 112)) == 1
