"""Masks against a slow reference written from the format's definition, and what must never pass as a masked face."""

import hashlib
import hmac
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches as masking

KEY = bytes(range(32))
RATIOS = (0.21, 0.3, 0.5, 0.75, 0.85, 0.9)


def photo(seed: int = 0, height: int = 112, width: int = 112) -> np.ndarray:
    # Values from 1 up, so that a zero can only come from a mask.
    return np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)


def slow_permutation(key: bytes, height: int, width: int, payload: bytes) -> list[int]:
    size = height.to_bytes(4, "little") + width.to_bytes(4, "little")
    seed = hmac.new(key, b"mask" + size + payload, "sha256").digest()
    stream = hashlib.shake_256(seed).hexdigest(1568)
    words = [int.from_bytes(bytes.fromhex(stream[16 * i : 16 * i + 16]), "little") for i in range(196)]
    return sorted(range(196), key=lambda patch: (words[patch], patch))


def order_of(image: np.ndarray, key: bytes = KEY) -> np.ndarray:
    return masking.permutation(key, image.shape[:2], image.tobytes())


@pytest.mark.parametrize(("height", "width"), [(112, 112), (14, 28), (224, 112)])
def test_permutation_is_the_one_the_format_defines(height, width):
    image = photo(3, height, width)
    assert order_of(image).tolist() == slow_permutation(KEY, height, width, image.tobytes())


def test_permutation_of_a_known_photo_stays_what_it_was():
    order = masking.permutation(bytes(32), (14, 14), bytes(14 * 14 * 3))
    assert sorted(order.tolist()) == list(range(196))
    assert order[:8].tolist() == slow_permutation(bytes(32), 14, 14, bytes(588))[:8] == KNOWN_START


# Written down once, so that a change of the format can not pass by changing code and reference alike.
KNOWN_START = [41, 8, 84, 76, 138, 180, 102, 118]


def test_key_size_and_pixels_each_change_the_permutation():
    payload = photo(1, 14, 28).tobytes()
    base = masking.permutation(KEY, (14, 28), payload).tolist()
    assert masking.permutation(KEY[::-1], (14, 28), payload).tolist() != base
    assert masking.permutation(KEY, (28, 14), payload).tolist() != base
    assert masking.permutation(KEY, (14, 28), payload[:-1] + b"\0").tolist() != base


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("strategy", ["random", "eyes", "mouth"])
def test_hidden_are_the_first_patches_with_the_region_in_front(strategy, ratio):
    region = {
        "random": set(),
        "eyes": {14 * row + column for row in (5, 6, 7) for column in range(3, 11)},
        "mouth": {14 * row + column for row in (10, 11, 12) for column in range(4, 10)},
    }[strategy]
    order = order_of(photo(5)).tolist()
    front = [patch for patch in order if patch in region] + [patch for patch in order if patch not in region]
    expected = set(front[: round(ratio * 196)])
    assert set(np.flatnonzero(masking.hidden(strategy, np.array(order), ratio)).tolist()) == expected
    assert region <= expected


@pytest.mark.parametrize("strategy", ["random", "eyes", "mouth"])
def test_a_larger_ratio_hides_all_that_a_smaller_one_hides(strategy):
    order = order_of(photo(7))
    masks = [masking.hidden(strategy, order, ratio) for ratio in RATIOS]
    for smaller, larger in itertools.pairwise(masks):
        assert not (smaller & ~larger).any()
        assert larger.sum() > smaller.sum()


def test_the_regions_hold_the_points_of_the_arcface_template():
    def patch(x: float, y: float) -> int:
        return int(y / 8) * 14 + int(x / 8)

    eyes = {patch(38.29, 51.70), patch(73.53, 51.50)}
    corners = {patch(41.55, 92.37), patch(70.73, 92.20)}
    assert eyes <= set(masking.EYES.tolist())
    assert corners <= set(masking.MOUTH.tolist())
    assert eyes | corners <= set(masking.PARTS.tolist())
    assert (len(masking.EYES), len(masking.MOUTH), len(set(masking.PARTS.tolist()))) == (24, 18, 36)


def test_parts_keeps_three_by_three_around_eyes_and_mouth_corners():
    picture = """
        11111111111111
        11111111111111
        11111111111111
        11111111111111
        11111111111111
        11100011000111
        11100011000111
        11100011000111
        11111111111111
        11111111111111
        11110000001111
        11110000001111
        11110000001111
        11111111111111"""
    expected = [character == "1" for character in "".join(picture.split())]
    assert masking.hidden("parts", order_of(photo())).tolist() == expected
    assert masking.hidden("parts", order_of(photo()), 160 / 196).tolist() == expected


@pytest.mark.parametrize(
    ("strategy", "ratio", "count"),
    [("random", None, 147), ("eyes", None, 147), ("parts", None, 160), ("random", 0.3, 59), ("random", 0.995, 195)],
)
def test_count_to_hide(strategy, ratio, count):
    assert masking.count_to_hide(strategy, ratio) == count


@pytest.mark.parametrize(
    ("strategy", "ratio", "message"),
    [
        ("random", 0.2, "39 of 196 patches; 'random' needs at least 40: the smallest ratio is 0.205"),
        ("random", 0.0, "the smallest ratio is 0.205"),
        ("eyes", 0.1, "the smallest ratio is 0.205"),
        ("random", 1.0, "leaves no patch visible; the largest ratio is 0.995"),
        ("random", 75.0, "not a share"),
        ("random", -0.5, "not a share"),
        ("random", float("nan"), "not a share"),
        ("random", float("inf"), "not a share"),
        ("parts", 0.75, "always hides 160 of 196"),
        ("parts", float("nan"), "always hides 160 of 196"),
        ("nose", 0.75, "random, eyes, mouth, parts"),
    ],
)
def test_ratios_that_can_not_be_carried_out(strategy, ratio, message):
    with pytest.raises(UsageError, match=message) as caught:
        masking.count_to_hide(strategy, ratio)
    assert "\n" not in str(caught.value)


def test_the_smallest_and_largest_ratio_named_do_work():
    assert masking.count_to_hide("random", 0.205) == 40
    assert masking.count_to_hide("random", 0.995) == 195


@pytest.mark.parametrize(("height", "width"), [(112, 112), (14, 14), (28, 140)])
def test_apply_clears_hidden_patches_and_keeps_the_others_bit_for_bit(height, width):
    image = photo(11, height, width)
    mask = masking.hidden("random", order_of(image), 0.75)
    masked = masking.apply(image, mask)
    for row, column in itertools.product(range(height), range(width)):
        patch = (row // (height // 14)) * 14 + column // (width // 14)
        expected = [0, 0, 0, 0] if mask[patch] else [*image[row, column].tolist(), 255]
        assert masked[row, column].tolist() == expected
    assert masking.read_mask(masked).tolist() == mask.tolist()


def test_read_mask_takes_an_image_that_is_not_contiguous():
    image = photo(2)
    mask = masking.hidden("random", order_of(image), 0.5)
    mirrored = masking.apply(image, mask)[:, ::-1]
    assert masking.read_mask(mirrored).tolist() == mask.reshape(14, 14)[:, ::-1].ravel().tolist()


def _masked(count: int) -> np.ndarray:
    mask = np.arange(196) < count
    return masking.apply(photo(13), mask)


def _changed(place: tuple, value: int) -> np.ndarray:
    masked = _masked(147)
    masked[place] = value
    return masked


@pytest.mark.parametrize(
    ("rgba", "reason"),
    [
        (photo(), "no-mask"),
        (photo()[..., 0], "no-mask"),
        (_masked(0), "no-mask"),
        (_masked(39), "too-little-hidden"),
        (_masked(196), "nothing-visible"),
        (_changed((0, 0, 3), 128), "half-transparent"),
        (_changed((5, 5, 3), 255), "half-transparent"),
        (_changed((111, 111, 3), 0), "half-transparent"),
        (_changed((111, 111, 3), 254), "half-transparent"),
        (_changed((3, 3, 0), 1), "colour-under-mask"),
        (_changed((3, 3, 2), 255), "colour-under-mask"),
        (_masked(147)[:-1], "bad-size"),
        (_masked(147)[:7, :7], "bad-size"),
    ],
)
def test_read_mask_refuses_by_name(rgba, reason):
    with pytest.raises(FaceError) as caught:
        masking.read_mask(rgba)
    assert caught.value.reason == reason


def test_twenty_per_cent_is_enough():
    assert masking.read_mask(_masked(40)).sum() == 40


@given(count=st.integers(40, 195), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_read_mask_finds_any_mask(count, seed):
    mask = np.zeros(196, dtype=bool)
    mask[np.random.default_rng(seed).permutation(196)[:count]] = True
    assert (masking.read_mask(masking.apply(photo(1, 28, 14), mask)) == mask).all()


def test_what_is_hidden_can_not_be_read_from_a_masked_face():
    mask = masking.hidden("random", order_of(photo(1)))
    one, other = photo(1), photo(2)
    visible = ~masking.per_pixel(mask, 112, 112)
    other[visible] = one[visible]
    assert not np.array_equal(one, other)
    assert np.array_equal(masking.apply(one, mask), masking.apply(other, mask))


def test_masks_and_patches_of_many_faces_are_those_of_each():
    random = np.random.default_rng(0)
    masks = np.stack([masking.hidden("random", random.permutation(196), ratio) for ratio in (0.75, 0.5, 0.9)])
    images = random.integers(0, 256, (3, 56, 42, 3), dtype=np.uint8)
    faces = np.stack([masking.apply(image, mask) for image, mask in zip(images, masks, strict=True)])
    found, faults = masking.read_masks(faces)
    assert faults == [None] * 3
    assert np.array_equal(found, masks)
    assert np.array_equal(found, np.stack([masking.read_mask(face) for face in faces]))
    grid = images.reshape(3, 14, 4, 14, 3, 3).swapaxes(2, 3).reshape(3, 196, 4, 3, 3)
    assert np.array_equal(masking.take_patches(faces, masks), grid[~masks])


@pytest.mark.parametrize("spoil", ["half", "under", "little", "all", "none"])
def test_a_fault_among_many_faces_is_told_of_its_own(spoil):
    mask = masking.hidden("random", np.arange(196)[::-1], 0.75)
    faces = np.stack([masking.apply(np.full((28, 28, 3), 9, np.uint8), mask)] * 3)
    if spoil == "half":
        faces[1, 0, 0, 3] = 254
    elif spoil == "under":
        faces[1, 27, 27] = (1, 0, 0, 0)
    else:
        other = np.arange(196) < {"little": 30, "all": 196, "none": 0}[spoil]
        faces[1] = masking.apply(np.full((28, 28, 3), 9, np.uint8), other)
    _, faults = masking.read_masks(faces)
    assert [fault is not None for fault in faults] == [False, True, False]
    with pytest.raises(FaceError) as raised:
        masking.read_mask(faces[1])
    assert (raised.value.reason, raised.value.detail) == (faults[1].reason, faults[1].detail)  # type: ignore[union-attr]
