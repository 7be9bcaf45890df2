"""Predicted faces finished and encoded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.maskedfaces import random_mask
from helpers.sources import smooth_face

from facemae_cli.data.images.codec import decode, encode_jpeg
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.inference.released_writer import PredictedFaces, ReleasedWriter
from facemae_cli.masking import patches
from facemae_cli.masking.warp import warp

ERROR = FaceError("no-mask", "x")


def predicted(*numbers: int, masked: bool = False) -> PredictedFaces:
    """Smooth faces 0, 1, ... after one that could not be read."""
    kept = [None, *(patches.apply(smooth_face(9), random_mask(147, number)) for number in numbers)]
    images = np.stack([smooth_face(number) for number in numbers])
    count = len(numbers)
    return PredictedFaces(
        range(count + 1),
        [ERROR, *[None] * count],
        [196, *[147] * count],
        [(0, 0), *[(112, 112)] * count],
        kept if masked else [],
        images,
    )


def test_writer_encodes_what_it_is_asked_for() -> None:
    first, png, _ = ReleasedWriter("png", 95)(predicted(0, 1))
    assert first == (0, ERROR, 196, b"")
    assert png[:3] == (1, None, 147)
    assert np.array_equal(decode(png[3]), smooth_face(0))
    jpegs = [face[3] for face in ReleasedWriter("jpg", 95)(predicted(0, 1))]
    assert jpegs == [b"", encode_jpeg(smooth_face(0), 95), encode_jpeg(smooth_face(1), 95)]
    assert len([*ReleasedWriter("jpg", 10)(predicted(0))][1][3]) < len(jpegs[1])


def test_every_pixel_is_predicted_unless_the_card_pastes() -> None:
    shown = ~patches.per_pixel(random_mask(147, 1), 112, 112)
    faces = predicted(1, masked=True)
    predictions, pasted = (decode([*ReleasedWriter("png", 95, paste=paste)(faces)][1][3]) for paste in (False, True))
    assert np.array_equal(predictions, smooth_face(1))
    assert np.array_equal(pasted[shown], smooth_face(9)[shown])
    assert np.array_equal(pasted[~shown], smooth_face(1)[~shown])


def test_the_first_faces_are_kept_for_a_preview() -> None:
    faces = predicted(1, 2, masked=True)
    assert ReleasedWriter("jpg", 95)(faces).shown == []
    shown = ReleasedWriter("jpg", 95, shown=1)(faces).shown
    assert [image.tolist() for _, image in shown] == [smooth_face(1).tolist(), smooth_face(2).tolist()]


@pytest.mark.parametrize(("format", "quality"), [("gif", 95), ("jpg", 0), ("jpg", 101)])
def test_writer_refuses_what_it_cannot_write(format: str, quality: int) -> None:
    with pytest.raises(UsageError):
        ReleasedWriter(format, quality)


def test_warped_faces_are_pasted_first_and_warped_each_by_its_own_digest() -> None:
    faces = replace(predicted(1, 2, masked=True), digests=[b"", b"a" * 32, b"b" * 32])
    _, *plain = ReleasedWriter("png", 95, paste=True).finished(faces)
    none, *warped = ReleasedWriter("png", 95, paste=True, warp=2.0).finished(faces)
    assert none is None
    for image, before, secret in zip(warped, plain, faces.digests[1:], strict=True):
        assert before is not None
        assert np.array_equal(image, warp(before, secret, 2.0))
        assert not np.array_equal(image, before)
