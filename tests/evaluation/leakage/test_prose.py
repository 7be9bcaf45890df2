from __future__ import annotations

from facemae_cli.evaluation.leakage.prose import count


def test_people_are_counted_in_whole_but_for_few_that_are_expected() -> None:
    assert [count(people) for people in (0, 40.01, 17.34, 2691.5, 99.96)] == ["0", "40", "17.3", "2692", "100"]
