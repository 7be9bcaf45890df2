"""Regions of mixed faces: fair shares of the face and of what is around it, and one label gives one map."""

import numpy as np
import pytest

from facemae_cli.masking.regions import CENTRE, owners


@pytest.mark.parametrize("people", [2, 3, 4])
def test_everybody_gets_an_equal_share_of_the_centre_and_of_the_rest(people):
    for label in range(20):
        owner = owners(bytes([label]) * 32, people)
        for place in (CENTRE, ~CENTRE):
            shares = np.bincount(owner[place], minlength=people)
            assert shares.max() - shares.min() <= 1
            assert shares.sum() == place.sum()


def test_one_label_gives_one_map_and_another_label_another():
    assert np.array_equal(owners(b"a" * 32, 3), owners(b"a" * 32, 3))
    assert not np.array_equal(owners(b"a" * 32, 3), owners(b"b" * 32, 3))


def test_regions_hang_together():
    """Of neighbouring patches most have one owner; by chance a third would, of three people."""
    alike = []
    for label in range(20):
        grid = owners(bytes([label]) * 32, 3).reshape(14, 14)
        alike += [(grid[:, 1:] == grid[:, :-1]).mean(), (grid[1:] == grid[:-1]).mean()]
    assert np.mean(alike) > 0.6


def test_nobody_has_a_place_of_their_own_over_many_labels():
    shares = np.mean([owners(bytes([label, 1]) * 16, 2) == 0 for label in range(256)], axis=0)
    assert np.abs(shares - 0.5).max() < 0.2
