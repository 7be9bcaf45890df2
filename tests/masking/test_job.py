"""One face's masking, apart from any dataset: what its mask follows, and options that cannot be."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from facemae_cli.data.faces import Name
from facemae_cli.data.images.headers.header import MAX_PIXELS
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches
from facemae_cli.masking.job import MAX_SIDE, Masker
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


def test_the_largest_size_is_the_one_that_is_told():
    assert MAX_SIDE**2 <= MAX_PIXELS < (MAX_SIDE + patches.GRID) ** 2
    assert Masker(key=KEY, size=MAX_SIDE).size == MAX_SIDE
    for size in (MAX_SIDE + patches.GRID, MAX_SIDE - 1, 0, -14):
        with pytest.raises(UsageError, match=f"--size {size}: 14 must divide it and it is at most {MAX_SIDE};"):
            Masker(key=KEY, size=size)


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


def jpeg_420(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=85, subsampling=2)
    return buffer.getvalue()


def test_where_a_patch_has_blocks_of_its_own_no_hidden_colour_reaches_a_visible_one():
    """224 pixels: 16 a patch, as many as a block of a 4:2:0 JPEG covers. Blended, hidden colours would cross over."""
    random = np.random.default_rng(3)
    order = patches.permutation(seed_mask_key(5), (224, 224), b"anna\x001.png")
    hidden = patches.per_pixel(patches.hidden("random", order, 0.75), 224, 224)
    image = cv2.resize(random.integers(0, 256, (28, 28, 3), dtype=np.uint8), (224, 224))
    other = np.where(hidden[..., None], 255 - image, image)
    first, second = (Masker(seed=5).face(jpeg_420(each), ANNA) for each in (image, other))
    assert first.subsampled
    assert first.image == second.image


def test_a_subsampled_source_is_marked_and_its_mask_is_that_of_the_usual_pixels():
    image = cv2.resize(np.random.default_rng(4).integers(0, 256, (7, 7, 3), dtype=np.uint8), (112, 112))
    data = jpeg_420(image)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    order = patches.permutation(KEY.secret, (112, 112), stored.tobytes())
    assert mask_of(Masker(key=KEY), data) == patches.hidden("random", order, 0.75).tolist()
    assert (Masker(key=KEY).face(data, ANNA).subsampled, Masker(key=KEY).face(png(), ANNA).subsampled) == (True, False)
