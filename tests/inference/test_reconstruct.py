"""From visible patches to predicted faces: what the device is given, and which face each result is."""

from __future__ import annotations

import numpy as np
import torch
from helpers.maskedfaces import chunk_of, masked_png
from torch import Tensor

from facemae_cli.data.images.codec import decode
from facemae_cli.inference.masked_reader import MaskedReader, VisibleFaces
from facemae_cli.inference.pipeline import Runner
from facemae_cli.inference.reconstruct import Reconstructor, release
from facemae_cli.inference.released_writer import ReleasedWriter
from facemae_cli.networks.architectures.mae import MaskedAutoencoder

SMALL = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}


def read(*images: bytes) -> VisibleFaces:
    return MaskedReader(8)(chunk_of(*images))


def reconstructor() -> Reconstructor:
    torch.manual_seed(0)
    return Reconstructor(MaskedAutoencoder(**SMALL))  # type: ignore[arg-type]


def runner(network: Reconstructor, batch_size: int = 4) -> Runner:
    return Runner(network, torch.device("cpu"), "fp32", batch_size)


def test_release_keeps_order_across_mask_ratios_and_equals_one_at_a_time() -> None:
    hidden = (147, 98, 147, 60, 98, 147, 147, 147)
    images = [masked_png(number, count) for number, count in enumerate(hidden)]
    images.insert(2, b"no image")
    network = reconstructor()
    released = release([read(*images[:4]), read(*images[4:])], runner(network))
    assert [count for chunk in released for count in chunk.hidden] == [147, 98, 196, 147, 60, 98, 147, 147, 147]
    assert [error is not None for chunk in released for error in chunk.errors] == [at == 2 for at in range(9)]
    made = np.concatenate([chunk.images for chunk in released])
    for image, data in zip(made, [data for data in images if data != b"no image"], strict=True):
        [single] = release([read(data)], runner(network))
        assert np.abs(image.astype(int) - single.images[0]).max() <= 1


def test_a_chunk_without_a_usable_face_has_no_images() -> None:
    faces = read(b"no image", b"none either")
    [made] = release([faces], runner(reconstructor()))
    assert made.errors == faces.errors
    assert len(made.images) == 0


def test_the_release_has_the_size_of_the_masked_face() -> None:
    made = release([read(masked_png(size=56))], runner(reconstructor()))
    [(_, _, _, encoded)] = ReleasedWriter("jpg", 95)(made[0])
    assert decode(encoded).shape == (56, 56, 3)


def test_only_visible_patches_reach_the_network() -> None:
    seen: list[tuple[int, ...]] = []

    class Watching(Reconstructor):
        def forward(self, visible: Tensor, tokens: Tensor) -> Tensor:
            seen.append(tuple(visible.shape))
            assert visible.dtype == torch.uint8
            return super().forward(visible, tokens)

    network = Watching(MaskedAutoencoder(**SMALL))  # type: ignore[arg-type]
    release([read(masked_png())], runner(network))
    assert seen == [(1, 49, 192)]
