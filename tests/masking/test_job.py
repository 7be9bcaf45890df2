"""One face's masking, apart from any dataset: what its mask follows, and options that cannot be."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from facemae_cli.data.faces import Name
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches
from facemae_cli.masking.job import Masker
from facemae_cli.masking.key import Key, seed_mask_key

KEY = Key(bytes(range(32)))
ANNA, BERT = Name("anna", "1.png"), Name("bert", "1.png")


def png(height: int = 28, width: int = 28, seed: int = 0) -> bytes:
    image = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def mask_of(masker: Masker, data: bytes, name: Name = ANNA) -> list[bool]:
    with Image.open(io.BytesIO(masker.face(data, name).image)) as image:
        return patches.read_mask(np.array(image)).tolist()


def test_a_mask_follows_key_and_pixels_but_no_name():
    data = png()
    with Image.open(io.BytesIO(data)) as image:
        stored = np.array(image)
    order = patches.permutation(KEY.secret, (28, 28), stored.tobytes())
    expected = patches.hidden("random", order, 0.75).tolist()
    assert mask_of(Masker(key=KEY), data) == mask_of(Masker(key=KEY), data, BERT) == expected
    assert mask_of(Masker(key=Key(bytes(32))), data) != expected
    assert mask_of(Masker(key=KEY), png(seed=1)) != expected


def test_a_seeded_mask_follows_seed_and_name_but_no_pixels_and_no_key():
    order = patches.permutation(seed_mask_key(5), (28, 28), b"anna\x001.png")
    expected = patches.hidden("random", order, 0.75).tolist()
    assert mask_of(Masker(seed=5), png()) == mask_of(Masker(seed=5, key=KEY), png(seed=1)) == expected
    assert mask_of(Masker(seed=5), png(), BERT) != expected
    assert mask_of(Masker(seed=6), png()) != expected


def test_parts_needs_neither_key_nor_seed():
    masked = Masker("parts").face(png(), ANNA)
    assert (masked.hidden, masked.resized) == (160, False)
    assert mask_of(Masker("parts"), png()) == mask_of(Masker("parts", key=KEY), png(seed=1), BERT)


def test_another_size_hides_the_same_patches():
    data = png(42, 42)
    for size in (14, 28, 56):
        assert Masker(key=KEY, size=size).face(data, ANNA).resized
        assert mask_of(Masker(key=KEY, size=size), data) == mask_of(Masker(key=KEY), data)
    assert not Masker(key=KEY, size=42).face(data, ANNA).resized


def test_options_that_can_not_be():
    with pytest.raises(UsageError, match="needs a key or a seed"):
        Masker()
    with pytest.raises(UsageError, match="--size 30: 14 must divide it"):
        Masker(key=KEY, size=30)
    with pytest.raises(UsageError, match="needs at least 40"):
        Masker(key=KEY, ratio=0.1)


def test_what_can_not_be_masked():
    for data, reason in ((png(30, 28), "bad-size"), (b"", "empty"), (png()[:-20], "truncated")):
        with pytest.raises(FaceError) as caught:
            Masker(key=KEY).face(data, ANNA)
        assert caught.value.reason == reason
    assert Masker(key=KEY, size=28).face(png(30, 28), ANNA).resized
