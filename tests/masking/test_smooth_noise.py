"""Smooth noise: numbers by plain hashlib, and blending by a loop over pixels."""

import hashlib
import struct

import numpy as np

from facemae_cli.masking.smooth_noise import smooth_fields, uniform


def test_numbers_are_those_of_shake_256():
    stream = hashlib.shake_256(b"seed").digest(12)
    assert uniform(b"seed", 3).tolist() == [number / 2**32 for number in struct.unpack("<3I", stream)]


def test_a_field_blends_between_the_four_values_around_each_pixel():
    values = np.random.default_rng(0).random((2, 38))
    fields = smooth_fields(values, 14, 7)
    assert fields.shape == (2, 14, 7)
    for row, field in zip(values, fields, strict=True):
        grid = row[2:].reshape(6, 6)
        for y in range(14):
            for x in range(7):
                down, across = row[0] + (y + 0.5) * 4 / 14, row[1] + (x + 0.5) * 4 / 7
                i, j = int(down), int(across)
                v, u = (3 * (down - i) ** 2 - 2 * (down - i) ** 3), (3 * (across - j) ** 2 - 2 * (across - j) ** 3)
                above = grid[i, j] * (1 - u) + grid[i, j + 1] * u
                below = grid[i + 1, j] * (1 - u) + grid[i + 1, j + 1] * u
                assert abs(field[y, x] - (above * (1 - v) + below * v)) < 1e-12


def test_the_largest_shift_stays_on_the_grid():
    values = np.full((1, 38), np.nextafter(1.0, 0.0))
    assert np.allclose(smooth_fields(values, 112, 112), 1)
