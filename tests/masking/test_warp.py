"""Warps: small, alike for one secret, another for another, of the same reach at any size; and what is their secret."""

import hashlib

import cv2
import numpy as np

from facemae_cli.masking.warp import digest, warp


def coordinates(size: int) -> np.ndarray:
    """A picture whose colours say where a pixel was: x and y, in steps of `size` / 224."""
    steps = np.linspace(16, 240, size)
    return np.rint(np.stack([*np.meshgrid(steps, steps), np.zeros((size, size))], axis=-1)).astype(np.uint8)


def moved(size: int, secret: bytes) -> np.ndarray:
    """How far each inner pixel came, in patches."""
    picture = coordinates(size)
    inner = slice(size // 7, -size // 7)
    return (warp(picture, secret).astype(float) - picture)[inner, inner, :2] / 16


def test_one_secret_gives_one_picture():
    picture = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    assert np.array_equal(warp(picture, b"a" * 32), warp(picture, b"a" * 32))
    assert not np.array_equal(warp(picture, b"a" * 32), warp(picture, b"b" * 32))


def test_pixels_move_by_about_a_fifth_of_a_patch():
    far = np.array([np.linalg.norm(moved(112, bytes([number]) * 32), axis=-1) for number in range(40)])
    assert far.max() < 1.0
    assert 0.15 < np.sqrt((far**2).mean()) < 0.35


def test_a_larger_picture_of_a_face_moves_alike():
    small, large = moved(112, b"s" * 32), moved(224, b"s" * 32)
    assert np.abs(cv2.resize(large, small.shape[1::-1], interpolation=cv2.INTER_AREA) - small).mean() < 0.06


def test_the_secret_is_all_that_is_visible_and_where():
    seen, places = np.arange(2 * 12, dtype=np.uint8).reshape(2, 12), np.array([3, 90], np.uint8)
    secret = digest(seen, places)
    assert secret == hashlib.sha256(b"visible" + bytes([2, 3, 90, *range(24)])).digest()
    assert digest(seen, places + np.uint8(1)) != secret
    assert digest(seen ^ np.uint8(1), places) != secret


def test_strength_multiplies_and_none_leaves_a_picture_as_it_is():
    picture = coordinates(112)
    assert np.array_equal(warp(picture, b"s" * 32, 0), picture)
    inner = np.s_[30:-30, 30:-30, :2]
    once, twice = (warp(picture, b"s" * 32, by)[inner].astype(float) - picture[inner] for by in (1, 2))
    assert np.abs(twice - 2 * once).mean() < 0.25 * np.abs(twice).mean()
