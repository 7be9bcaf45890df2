"""From masked bytes to released bytes: what is read, what is refused, what the device is given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.sources import MemorySource, smooth_face
from torch import Tensor

from facemae_cli.data.images.codec import decode, encode_jpeg, encode_png
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.inference.pipeline import Runner
from facemae_cli.inference.reconstruct import (
    MaskedReader,
    Reconstructor,
    ReleasedFace,
    ReleasedWriter,
    release,
)
from facemae_cli.masking import patches
from facemae_cli.masking.mask_color import MaskColor
from facemae_cli.networks.architectures.mae import MaskedAutoencoder, patchify

SMALL = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}


def random_mask(count: int, seed: int = 0) -> np.ndarray:
    mask = np.zeros(196, dtype=np.bool_)
    mask[np.random.default_rng(seed).permutation(196)[:count]] = True
    return mask


def masked_png(number: int = 0, hidden: int = 147, size: int = 112) -> bytes:
    return encode_png(patches.apply(smooth_face(number, size), random_mask(hidden, number)))


def reader(*images: bytes, patch: int = 8, color: MaskColor | None = None) -> MaskedReader:
    return MaskedReader(MemorySource([(None, str(i), data) for i, data in enumerate(images)]), patch, color)


def reconstructor() -> Reconstructor:
    torch.manual_seed(0)
    return Reconstructor(MaskedAutoencoder(**SMALL))  # type: ignore[arg-type]


def runner(network: Reconstructor, batch_size: int = 4) -> Runner:
    return Runner(network, torch.device("cpu"), "fp32", batch_size)


def test_visible_patches_are_those_of_the_source_in_token_order() -> None:
    face = reader(masked_png(3)).read(0)
    assert face.tokens is not None
    assert face.tokens.tolist() == np.flatnonzero(~random_mask(147, 3)).tolist()
    whole = patchify(torch.from_numpy(smooth_face(3)).permute(2, 0, 1)[None], 8)[0].numpy()
    assert np.array_equal(face.visible, whole[face.tokens])


def test_a_patch_of_another_size_is_resized_alone() -> None:
    mask = random_mask(147)
    image = np.zeros((224, 224, 3), dtype=np.uint8)
    shown = np.flatnonzero(~mask)
    for number, token in enumerate(shown):
        row, column = divmod(int(token), 14)
        image[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = number + 1
    face = reader(encode_png(patches.apply(image, mask))).read(0)
    assert face.visible is not None
    # each patch is flat: a resize across patch edges would mix the numbers
    assert [set(patch.tolist()) for patch in face.visible] == [{number + 1} for number in range(len(shown))]


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (encode_jpeg(smooth_face(0)), "no-mask"),
        (encode_png(np.dstack([smooth_face(0), np.full((112, 112), 255, np.uint8)])), "no-mask"),
        (masked_png(hidden=30), "too-little-hidden"),
        (encode_png(patches.apply(smooth_face(0), random_mask(196))), "nothing-visible"),
        (encode_png(np.dstack([smooth_face(0), np.full((112, 112), 128, np.uint8)])), "half-transparent"),
        (encode_png(np.dstack([smooth_face(0), 255 - patches.apply(smooth_face(0), random_mask(98))[..., 3]])),
         "colour-under-mask"),
        (masked_png()[:-30], "truncated"),
        (b"no image", "not-an-image"),
    ],
)  # fmt: skip
def test_what_is_not_a_masked_face_is_refused(image: bytes, reason: str) -> None:
    face = reader(image).read(0)
    assert face.error is not None
    assert face.error.reason == reason
    assert release([face], runner(reconstructor()), paste=False)[0].error is face.error


def test_faces_masked_elsewhere_by_a_colour() -> None:
    mask = random_mask(147)
    image = np.maximum(smooth_face(0), 40)
    image[patches.per_pixel(mask, 112, 112)] = (0, 2, 1)
    face = reader(encode_png(image), color=MaskColor.parse("#000000", 4)).read(0)
    assert face.tokens is not None
    assert face.tokens.tolist() == np.flatnonzero(~mask).tolist()
    assert reader(encode_png(image), color=MaskColor.parse("000000", 1)).read(0).error is not None


@pytest.mark.parametrize(("text", "tolerance"), [("black", 0), ("12345", 0), ("1234567", 0), ("000000", 256)])
def test_a_colour_that_is_none_is_refused(text: str, tolerance: int) -> None:
    with pytest.raises(UsageError):
        MaskColor.parse(text, tolerance)


def test_release_keeps_order_across_mask_ratios_and_equals_one_at_a_time() -> None:
    images = [masked_png(i, hidden) for i, hidden in enumerate((147, 98, 147, 60, 98, 147, 147, 147))]
    read = reader(*images)
    faces = [read.read(i) for i in range(len(images))]
    network = reconstructor()
    released = release(faces, runner(network), paste=False)
    assert [face.index for face in released] == list(range(8))
    assert [face.hidden for face in released] == [147, 98, 147, 60, 98, 147, 147, 147]
    for face, alone in zip(released, faces, strict=True):
        single = release([alone], runner(network), paste=False)[0]
        assert np.abs(face.image.astype(int) - single.image).max() <= 1  # type: ignore[union-attr]


def test_every_pixel_is_predicted_unless_the_card_pastes() -> None:
    face = reader(masked_png(1)).read(0)
    predicted = release([face], runner(reconstructor()), paste=False)[0].image
    pasted = release([face], runner(reconstructor()), paste=True)[0].image
    shown = ~patches.per_pixel(random_mask(147, 1), 112, 112)
    assert np.array_equal(pasted[shown], smooth_face(1)[shown])  # type: ignore[index]
    assert np.array_equal(pasted[~shown], predicted[~shown])  # type: ignore[index]
    assert not np.array_equal(predicted[shown], smooth_face(1)[shown])  # type: ignore[index]


def test_the_release_has_the_size_of_the_masked_face() -> None:
    network = reconstructor()
    face = reader(masked_png(size=56)).read(0)
    assert release([face], runner(network), paste=False)[0].image.shape == (56, 56, 3)  # type: ignore[union-attr]


def test_only_visible_patches_reach_the_network() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Reconstructor):
        def forward(self, visible: Tensor, tokens: Tensor) -> Tensor:
            seen.append(tuple(visible.shape))
            assert visible.dtype == torch.uint8
            return super().forward(visible, tokens)

    network = Watching(MaskedAutoencoder(**SMALL))  # type: ignore[arg-type]
    release([reader(masked_png()).read(0)], runner(network), paste=False)
    assert seen == [(1, 49, 192)]


def test_writer_encodes_what_it_is_asked_for() -> None:
    face = ReleasedFace(0, image=smooth_face(0))
    assert np.array_equal(decode(ReleasedWriter("png", 95).encode(face).encoded), smooth_face(0))
    jpeg = ReleasedWriter("jpg", 95).encode(face).encoded
    assert jpeg == encode_jpeg(smooth_face(0), 95)
    assert len(ReleasedWriter("jpg", 10).encode(face).encoded) < len(jpeg)
    error = ReleasedFace(0, FaceError("no-mask", "x"))
    assert ReleasedWriter("jpg", 95).encode(error) is error


@pytest.mark.parametrize(("format", "quality"), [("gif", 95), ("jpg", 0), ("jpg", 101)])
def test_writer_refuses_what_it_cannot_write(format: str, quality: int) -> None:
    with pytest.raises(UsageError):
        ReleasedWriter(format, quality)
