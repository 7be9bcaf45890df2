"""What holds features among the outputs of a network, and networks that take one image at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from facemae_cli.networks.onnx.runtime import BatchedNetwork, feature_output


def test_features_are_the_one_output_with_a_row_of_numbers_an_image() -> None:
    names = ["loss", "flags", "map", "gone"]
    assert feature_output(names, [(), (1, 1), (1, 4, 7, 7), (0, 512)]) == 2
    for shapes in ([(), (1, 1), (1, 2), (1, 3)], [(), (1, 1), (2, 5), (9,)]):
        with pytest.raises(ValueError, match=r"of its outputs loss, flags, map, gone [02] are features, not one"):
            feature_output(names, shapes)


class Sums(BatchedNetwork):
    """Sums of each image; `baked`: how it goes wrong with several."""

    def __init__(self, baked: str | None) -> None:
        super().__init__()
        self.baked = baked

    def features(self, images: Tensor) -> Tensor:
        if len(images) > 1 and self.baked == "raises":
            raise MemoryError
        sums = images.sum((2, 3))
        return sums[:1].expand_as(sums) if self.baked == "mixes" else sums[:1] if self.baked == "drops" else sums


@pytest.mark.parametrize("baked", [None, "raises", "mixes", "drops"])
def test_images_are_given_one_by_one_where_a_batch_is_baked_in(baked: str | None) -> None:
    network, images = Sums(baked), torch.rand(5, 3, 4, 4)
    network.find_batching(images[:2], 1e-4)
    assert network.one_by_one == (baked is not None)
    torch.testing.assert_close(network(images), images.sum((2, 3)))
