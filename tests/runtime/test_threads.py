"""Ordered, bounded work over threads."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facemae_cli.runtime.threads import AHEAD, cores, ordered_map, ordered_units


def test_results_come_ordered_map_though_work_ends_out_of_order():
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number * number

    assert list(ordered_map(work, range(50), 4)) == [number * number for number in range(50)]


def test_no_more_is_begun_than_may_wait():
    begun = []
    results = ordered_map(lambda number: begun.append(number) or number, range(1000), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    time.sleep(0.05)
    assert max(begun) <= 3 + AHEAD * 2
    results.close()
    assert len(begun) < 20


def test_work_is_shared_by_threads():
    together = threading.Barrier(3, timeout=10)
    assert len(list(ordered_map(lambda _: together.wait(), range(3), 3))) == 3


def test_an_error_comes_at_its_turn():
    def work(number: int) -> float:
        return 1 / (number - 2)

    results = ordered_map(work, range(5), 2)
    assert [next(results), next(results)] == [-0.5, -1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing_to_do_and_at_least_one_core():
    assert list(ordered_map(str, [], 2)) == []
    assert cores() >= 1


def test_units_come_whole_and_in_order():
    with ThreadPoolExecutor(3) as pool:
        made = list(ordered_units(pool, lambda number: -number, [range(3), [], range(3, 7)], ahead=1))
    assert made == [[0, -1, -2], [], [-3, -4, -5, -6]]


def test_closing_drops_the_units_that_have_not_begun():
    begun, hold = [], threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            hold.wait(10)
        return number

    with ThreadPoolExecutor(1) as pool:
        units = ordered_units(pool, work, ([number] for number in range(100)), ahead=5)
        assert next(units) == [0]
        units.close()
        hold.set()
    assert max(begun) <= 1
