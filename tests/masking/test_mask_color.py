"""Faces masked elsewhere by squares of a colour: what is hidden, through codecs, and what only looks like it."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from facemae_cli.data.images.codec import decode, decode_luma
from facemae_cli.data.synthetic import people
from facemae_cli.errors import FaceError
from facemae_cli.masking import patches
from facemae_cli.masking.mask_color import MaskColor

BLACK = (0, 0, 0)


def scattered(seed: int, count: int = 147) -> np.ndarray:
    mask = np.zeros(196, bool)
    mask[np.random.default_rng(seed).permutation(196)[:count]] = True
    return mask


def filled(image: np.ndarray, mask: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    image = image.copy()
    image[patches.per_pixel(mask, *image.shape[:2])] = color
    return image


def as_jpeg(image: np.ndarray, quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer.getvalue()


def reason(image: np.ndarray, **options: float) -> tuple[str, str]:
    with pytest.raises(FaceError) as caught:
        MaskColor(BLACK, 8).mask(image, **options)
    return caught.value.reason, caught.value.detail


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    ((_, image),) = people(1, 1, seed=2)
    return np.maximum(image, 30)


@pytest.mark.parametrize("color", [BLACK, (255, 255, 255), (10, 250, 3)])
@pytest.mark.parametrize(("side", "quality", "subsampling"), [(112, 95, 2), (112, 75, 2), (112, 60, 1), (224, 75, 2)])
def test_squares_saved_as_jpeg_are_found_to_the_patch(
    face: np.ndarray, color: tuple[int, int, int], side: int, quality: int, subsampling: int
) -> None:
    """Colour bleeds into black squares, over 30 levels of red or blue; their luma stays."""
    mask = scattered(quality)
    data = as_jpeg(filled(cv2.resize(face, (side, side)), mask, color), quality, subsampling)
    found = MaskColor(color, 8).mask(decode(data), decode_luma(data))
    assert found.tolist() == mask.tolist()


def test_patches_that_straddle_blocks_ring_and_are_found(face: np.ndarray) -> None:
    mask = scattered(4)
    data = as_jpeg(filled(cv2.resize(face, (126, 126)), mask, BLACK), 85, 2)
    assert MaskColor(BLACK, 8).mask(decode(data), decode_luma(data)).tolist() == mask.tolist()


def test_without_loss_the_tolerance_holds_for_each_channel() -> None:
    image = np.full((112, 112, 3), (200, 100, 50), dtype=np.uint8)
    mask = scattered(0, 120)
    image = filled(image, mask, (10, 250, 3))
    first = int(np.flatnonzero(mask)[0])
    row, column = 8 * (first // 14), 8 * (first % 14)
    image[row + 1 : row + 7, column + 1 : column + 7] = (13, 247, 0)
    assert MaskColor((10, 250, 3), 3).mask(image).tolist() == mask.tolist()
    mask[first] = False
    assert MaskColor((10, 250, 3), 2).mask(image).tolist() == mask.tolist()


def test_a_patch_that_is_filled_in_half_is_visible(face: np.ndarray) -> None:
    mask = scattered(1)
    image = filled(face, mask, BLACK)
    half = int(np.flatnonzero(~mask)[0])
    row, column = 8 * (half // 14), 8 * (half % 14)
    image[row : row + 5, column : column + 8] = 0
    assert MaskColor(BLACK, 8).mask(image).tolist() == mask.tolist()


def test_three_black_rows_are_no_mask(face: np.ndarray) -> None:
    rows = np.arange(196) < 42
    code, detail = reason(filled(face, rows, BLACK))
    assert code == "too-little-hidden"
    for part in ("42 of 196 patches (21.4 %)", "under 50 %", "75 % is usual", "--min-hidden 0.2"):
        assert part in detail


def test_a_whole_face_on_a_black_background_is_no_masked_one(face: np.ndarray) -> None:
    """Segmented faces: over half of the picture is black, and the face is all there."""
    rows, columns = np.divmod(np.arange(196), 14)
    around = (rows < 3) | (rows > 11) | (columns < 3) | (columns > 10)
    assert around.mean() > 0.5
    code, detail = reason(filled(face, around, BLACK))
    assert code == "too-little-hidden"
    assert "in the middle" in detail


def test_who_insists_passes_with_less(face: np.ndarray) -> None:
    mask = scattered(3, 60)
    image = filled(face, mask, BLACK)
    assert reason(image)[0] == "too-little-hidden"
    assert MaskColor(BLACK, 8).mask(image, least=0.2).tolist() == mask.tolist()


def test_what_is_not_masked_or_nothing_but_mask_is_refused(face: np.ndarray) -> None:
    assert reason(face)[0] == "no-mask"
    assert reason(np.zeros((112, 112, 3), dtype=np.uint8))[0] == "nothing-visible"
    assert reason(face[:100])[0] == "bad-size"


def test_the_facecrowd_mask_passes(face: np.ndarray) -> None:
    """`parts` shows the middle of the face, and little else."""
    mask = patches.hidden("parts", np.arange(196))
    assert MaskColor(BLACK, 8).mask(filled(face, mask, BLACK)).tolist() == mask.tolist()
