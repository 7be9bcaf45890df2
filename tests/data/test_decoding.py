"""Faces decoded a chunk at a time, and the processes that do it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.maskedfaces import chunk_of

from facemae_cli.data.decoding import FaceDecoder, open_image_pool
from facemae_cli.data.faces import FaceChunk
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.images.headers.header import Limits, limits_in_use, use_limits
from facemae_cli.errors import FaceError


@pytest.fixture
def chunk() -> FaceChunk:
    """A green face of 16 pixels, one that is cut short, and a white one of 8."""
    green, white = np.full((16, 16, 3), (0, 200, 0), np.uint8), np.full((8, 8, 3), 255, np.uint8)
    return chunk_of(encode_png(green), encode_png(green)[:40], encode_png(white))


def test_each_face_is_decoded_at_one_size_or_says_why_not(chunk: FaceChunk) -> None:
    decoded = FaceDecoder((16, 16))(chunk)
    assert decoded.images.shape == (3, 16, 16, 3)
    assert [int(image[..., 1].mean()) for image in decoded.images] == [200, 0, 255]
    assert [error and error.reason for error in decoded.errors] == [None, "truncated", None]
    assert decoded.resized == [False, False, True]


def test_what_decodes_is_given(chunk: FaceChunk) -> None:
    def refuse(data: bytes) -> np.ndarray:
        raise FaceError("too-large", str(len(data)))

    decoded = FaceDecoder((4, 6), refuse)(chunk)
    assert decoded.images.shape == (3, 4, 6, 3)
    assert not decoded.images.any()
    assert all(error is not None for error in decoded.errors)
    assert decoded.resized == [False] * 3


@pytest.mark.parametrize(("workers", "faces"), [(1, 10.0), (2, 1e6)])  # threads, and processes
def test_workers_hold_to_the_limits_of_this_process(workers: int, faces: float) -> None:
    before = limits_in_use()
    use_limits(Limits(max_pixels=12345))
    try:
        with open_image_pool(workers, faces) as pool:
            assert pool.submit(limits_in_use).result() == Limits(max_pixels=12345)
    finally:
        use_limits(before)
