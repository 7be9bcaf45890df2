"""Levels, and what is said of a dataset that was made at one."""

from __future__ import annotations

import pytest

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import UsageError
from facemae_cli.masking.levels import LEVELS, level_called, measured_elsewhere


def manifest(**extra: object) -> Manifest:
    return Manifest("mask", None, 14, 0.8, extra=extra)


def test_each_level_protects_more_than_the_one_before_and_says_what_was_measured() -> None:
    light, strong = level_called("light"), level_called("strong")
    assert light.mixing.people < strong.mixing.people
    assert light.ratio < strong.ratio
    assert light.measured is not None
    assert strong.measured is not None
    assert light.measured.other[0] > strong.measured.other[0]
    assert light.measured.same[0] > strong.measured.same[0]
    for level in (light, strong):
        assert level.measured is not None
        for rate, low, high in (level.measured.other, level.measured.same):
            assert 0 < low < rate < high < 100


def test_a_level_that_is_not_one_is_refused_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="'none' is not a level; the levels are light, strong"):
        level_called("none")


@pytest.mark.parametrize("name", LEVELS)
def test_what_was_measured_is_said_of_a_dataset_of_a_level_alone(name: str) -> None:
    mixing = LEVELS[name].mixing.as_json()
    said = measured_elsewhere(manifest(level=name, mixing=mixing))
    assert said is not None
    assert (
        f"of a release of level {name} (1,529 people, reconstructed by mae-v1): the strongest attacker finds " in said
    )
    for other in (
        None,
        manifest(),
        manifest(mixing=mixing),
        manifest(level=name),
        manifest(level=name, mixing=mixing | {"warp": 0.0}),
        manifest(level="full", mixing=mixing),
        manifest(level=[name], mixing=mixing),
    ):
        assert measured_elsewhere(other) is None
