"""Masked faces read a chunk at a time: what is visible, what is refused, held to one face at a time."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from helpers.maskedfaces import chunk_of, masked_png, random_mask
from helpers.sources import smooth_face

from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.errors import UsageError
from facemae_cli.inference.masked_reader import MaskedReader
from facemae_cli.masking import patches
from facemae_cli.masking.mask_color import MaskColor
from facemae_cli.networks.architectures.mae import patchify


def test_visible_patches_are_those_of_the_source_in_token_order() -> None:
    faces = MaskedReader(8)(chunk_of(masked_png(3)))
    assert faces.tokens.tolist() == np.flatnonzero(~random_mask(147, 3)).tolist()
    whole = patchify(torch.from_numpy(smooth_face(3)).permute(2, 0, 1)[None], 8)[0].numpy()
    assert np.array_equal(faces.patches, whole[faces.tokens])
    assert faces.sizes == [(112, 112)]
    assert faces.masked == []


def test_a_patch_of_another_size_is_resized_alone() -> None:
    mask = random_mask(147)
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    shown = np.flatnonzero(~mask)
    for number, token in enumerate(shown):
        row, column = divmod(int(token), 14)
        image[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = number + 1
    faces = MaskedReader(8)(chunk_of(encode_png(patches.apply(image, mask))))
    # each patch is flat: a resize across patch edges would mix the numbers
    assert [set(patch.tolist()) for patch in faces.patches] == [{number + 1} for number in range(len(shown))]


BAD = [
    (encode_jpeg(smooth_face(0)), "no-mask"),
    (encode_png(np.dstack([smooth_face(0), np.full((112, 112), 255, np.uint8)])), "no-mask"),
    (masked_png(hidden=30), "too-little-hidden"),
    (encode_png(patches.apply(smooth_face(0), random_mask(196))), "nothing-visible"),
    (encode_png(np.dstack([smooth_face(0), np.full((112, 112), 128, np.uint8)])), "half-transparent"),
    (encode_png(np.dstack([smooth_face(0), 255 - patches.apply(smooth_face(0), random_mask(98))[..., 3]])),
     "colour-under-mask"),
    (encode_png(np.zeros((100, 100, 4), np.uint8)), "bad-size"),
    (masked_png()[:-30], "truncated"),
    (b"no image", "not-an-image"),
]  # fmt: skip


@pytest.mark.parametrize(("image", "reason"), BAD)
def test_what_is_not_a_masked_face_is_refused(image: bytes, reason: str) -> None:
    faces = MaskedReader(8)(chunk_of(image))
    assert faces.errors[0] is not None
    assert faces.errors[0].reason == reason
    assert faces.counts.tolist() == [0]
    assert len(faces.patches) == 0


def test_a_chunk_is_its_faces_one_by_one_whatever_stands_between_them() -> None:
    """Sizes, ratios and faults mixed: one wrong offset would shift all that follows."""
    images = [masked_png(0), masked_png(1, 98), masked_png(2, size=56)]
    images += [image for image, _ in BAD] + [masked_png(3, 60), masked_png(4, size=56), masked_png(5)]
    reader = MaskedReader(8, kept=1)
    whole, alone = reader(chunk_of(*images)), [reader(chunk_of(image)) for image in images]
    assert whole.counts.tolist() == [int(face.counts[0]) for face in alone]
    assert np.array_equal(whole.patches, np.concatenate([face.patches for face in alone]))
    assert np.array_equal(whole.tokens, np.concatenate([face.tokens for face in alone]))
    assert whole.sizes == [face.sizes[0] for face in alone]
    said = [face.errors[0] and (face.errors[0].reason, face.errors[0].detail) for face in alone]
    assert [error and (error.reason, error.detail) for error in whole.errors] == said
    for kept, face in zip(whole.masked, alone, strict=True):
        assert np.array_equal(kept, face.masked[0]) if kept is not None else face.masked[0] is None  # type: ignore[arg-type]


def test_a_chunk_taken_to_another_process_reads_the_same() -> None:
    chunk = chunk_of(masked_png(1), b"no image", masked_png(2))
    sent = pickle.loads(pickle.dumps(chunk))
    ours, theirs = MaskedReader(8)(chunk), MaskedReader(8)(sent)
    assert np.array_equal(ours.patches, theirs.patches)
    assert ours.counts.tolist() == theirs.counts.tolist()
    assert [str(error) for error in ours.errors] == [str(error) for error in theirs.errors]


def test_faces_masked_elsewhere_by_a_colour() -> None:
    mask = random_mask(147)
    image = np.maximum(smooth_face(0), 40)
    image[patches.per_pixel(mask, 112, 112)] = (0, 2, 1)
    faces = MaskedReader(8, MaskColor.parse("#000000", 4))(chunk_of(encode_png(image)))
    assert faces.tokens.tolist() == np.flatnonzero(~mask).tolist()
    assert MaskedReader(8, MaskColor.parse("000000", 1))(chunk_of(encode_png(image))).errors[0] is not None


@pytest.mark.parametrize(("text", "tolerance"), [("black", 0), ("12345", 0), ("1234567", 0), ("000000", 256)])
def test_a_colour_that_is_none_is_refused(text: str, tolerance: int) -> None:
    with pytest.raises(UsageError):
        MaskColor.parse(text, tolerance)
