"""Steps of a long task, numbered."""

from __future__ import annotations

from facemae_cli.runtime.progress import Steps


class Kept:
    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def start(self, label: str, total: int, unit: str = "faces", done: int = 0) -> None:
        self.told.append((label, total, unit, done))

    def advance(self, count: int = 1, note: str = "") -> None:
        self.told.append((count, note))

    def notice(self, line: str) -> None:
        self.told.append((line,))


def test_stages_of_a_step_bear_its_number_and_all_else_passes() -> None:
    kept = Kept()
    steps = Steps(kept, 3)
    first = steps.next()
    first.start("mask", 10)
    first.advance(4, "half")
    second = steps.next()
    second.start("training", 5, "steps", 2)
    second.start("embed", 6)
    second.notice("a line")
    assert kept.told == [
        ("1/3 mask", 10, "faces", 0),
        (4, "half"),
        ("2/3 training", 5, "steps", 2),
        ("2/3 embed", 6, "faces", 0),
        ("a line",),
    ]
