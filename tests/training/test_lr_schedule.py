"""Learning rates by hand."""

from __future__ import annotations

import math

import pytest

from facemae_cli.training.lr_schedule import LrSchedule


def test_cosine_after_warm_up() -> None:
    schedule = LrSchedule(epochs=2, steps_per_epoch=5, lr=1.0, warmup_epochs=0.4, clip=1.0)
    rates = [schedule.rate(step) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[6] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_steps_divide_by_ten_at_each_milestone() -> None:
    schedule = LrSchedule(34, 3, lr=0.1, warmup_epochs=1, clip=5.0, shape="steps", milestones=(20, 28, 32))
    rates = [schedule.rate(step) for step in range(schedule.steps)]
    assert rates[:4] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1])
    assert [rates[3 * epoch] for epoch in (19, 20, 27, 28, 31, 32, 33)] == pytest.approx(
        [0.1, 0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    )
    assert rates[59] == pytest.approx(0.1)


def test_poly_by_hand() -> None:
    schedule = LrSchedule(2, 5, lr=2.0, warmup_epochs=0.4, clip=1.0, shape="poly", power=2.0)
    assert [schedule.rate(step) for step in range(10)] == pytest.approx(
        [1.0, 2.0, 2.0] + [2.0 * (1 - done / 8) ** 2 for done in range(1, 8)]
    )


def test_wsd_stays_level_and_falls_at_the_end_by_hand() -> None:
    schedule = LrSchedule(4, 5, lr=2.0, warmup_epochs=0.4, clip=1.0, shape="wsd", cooldown_epochs=0.8)
    rates = [schedule.rate(step) for step in range(20)]
    assert (schedule.level_steps, rates[0], rates[1:17]) == (16, 1.0, [2.0] * 16)
    assert rates[17:] == pytest.approx([2 * (1 - math.sqrt(done / 4)) for done in (1, 2, 3)])


def test_runs_of_wsd_that_differ_in_length_begin_alike() -> None:
    short, long = (LrSchedule(e, 5, 1.0, 0.4, 1.0, shape="wsd", cooldown_epochs=1) for e in (3, 6))
    assert short.begins_as(long, short.level_steps + 1)  # the first step of the fall has the level rate still
    assert not short.begins_as(long, short.level_steps + 2)
    assert not long.begins_as(short, 16)
    cosines = [LrSchedule(epochs, 5, 1.0, 0.4, 1.0) for epochs in (3, 6)]
    assert cosines[0].begins_as(cosines[0], 15)
    assert not cosines[0].begins_as(cosines[1], 4)


def test_a_run_of_one_step_has_a_rate() -> None:
    for shape in ("cosine", "steps", "poly", "wsd"):
        assert LrSchedule(1, 1, 0.5, warmup_epochs=3, clip=1.0, shape=shape).rate(0) == 0.5
