from __future__ import annotations

from facemae_cli.evaluation.leakage.prose import count, share, span


def test_shares_keep_what_would_seem_nothing_or_all() -> None:
    shares = (0.0, 0.074, 0.0022, 0.0000221, 0.994, 0.9997, 1.0, -0.05, -1e-12, 0.0095)
    said = ["0.0 %", "7.4 %", "0.22 %", "0.0022 %", "99.4 %", "99.97 %", "100.0 %", "−5.0 %", "0.0 %", "0.95 %"]
    assert [share(value) for value in shares] == said
    assert share(None) == span(None) == "–"
    assert span((0.066, 0.082)) == "6.6 to 8.2 %"


def test_people_are_counted_in_whole_but_for_few_that_are_expected() -> None:
    assert [count(people) for people in (0, 40.01, 17.34, 2691.5, 99.96)] == ["0", "40", "17.3", "2692", "100"]
