"""Which key a record has where the index, the records and the scan disagree."""

from __future__ import annotations

import numpy as np

from facemae_cli.data.recordio.keys import assign_keys
from facemae_cli.data.recordio.sidecars import Index

OFFSETS = [0, 40, 80, 120]


def assigned(own, index=None, *, images=(True,) * 4, damaged=(), offsets=OFFSETS, size=160):
    columns = np.array(offsets, np.int64), np.array(own, np.int64), np.array(images[: len(offsets)])
    table = None if index is None else Index(*(np.array(column, np.int64) for column in zip(*index, strict=True)))
    keys, complaints = assign_keys(*columns, table, set(damaged), size)
    return keys.tolist(), [(complaint.offset, complaint.reason) for complaint in complaints]


def pairs(keys, offsets=OFFSETS):
    return list(zip(keys, offsets, strict=True))


def test_without_index_records_say_their_keys():
    assert assigned([4, 1, 2, 3]) == ([4, 1, 2, 3], [])


def test_without_index_records_that_all_say_zero_are_counted():
    assert assigned([0, 0, 0, 0]) == ([0, 1, 2, 3], [])


def test_without_index_one_double_gets_a_new_key():
    assert assigned([1, 2, 2, 3]) == ([1, 2, 4, 3], [(80, "bad-index")])
    assert assigned([1, 2, -1, 3]) == ([1, 2, 4, 3], [(80, "bad-index")])


def test_the_index_gives_keys_in_any_order():
    assert assigned([1, 2, 3, 4], [(3, 80), (1, 0), (4, 120), (2, 40)]) == ([1, 2, 3, 4], [])


def test_the_index_may_number_otherwise_than_the_records():
    assert assigned([7, 7, 7, 7], pairs([5, 6, 8, 9])) == ([5, 6, 8, 9], [])
    assert assigned([9, 8, 6, 5], pairs([5, 6, 8, 9])) == ([5, 6, 8, 9], [])


def test_an_offset_that_leads_nowhere_costs_no_key():
    assert assigned([1, 2, 3, 4], [(1, 0), (2, 44), (3, 80), (4, 120)]) == ([1, 2, 3, 4], [(44, "bad-index")])


def test_an_offset_of_damage_is_not_told_twice():
    assert assigned([1, 2, 4], pairs([1, 2, 3, 4]), offsets=[0, 40, 120], damaged=[80]) == ([1, 2, 4], [])


def test_offsets_past_the_end_are_lost_records():
    found = assigned([1, 2], pairs([1, 2, 3, 4]), offsets=[0, 40], damaged=[80], size=100)
    assert found == ([1, 2], [(120, "truncated-record")])


def test_a_record_the_index_leaves_out_is_read():
    assert assigned([1, 2, 3, 4], [(1, 0), (3, 80), (4, 120)]) == ([1, 2, 3, 4], [(40, "bad-index")])


def test_what_is_read_under_its_key_is_not_lost():
    """Here 2 and 4 are there, and 9 and 10 nowhere."""
    entries = [(1, 0), (2, 44), (3, 80), (4, 400), (9, 48), (10, 500)]
    table = Index(*(np.array(column, np.int64) for column in zip(*entries, strict=True)))
    _, complaints = assign_keys(np.array(OFFSETS), np.array([1, 2, 3, 4]), np.ones(4, bool), table, (), 160)
    assert [(entry.offset, entry.lost) for entry in complaints] == [(44, -1), (400, -1), (48, 9), (500, 10)]


def test_two_entries_for_one_record():
    found = assigned([1, 2, 3, 4], [(1, 0), (2, 40), (3, 80), (4, 120), (9, 40)])
    assert found == ([1, 2, 3, 4], [(40, "bad-index")])
    assert assigned([1, 2, 3, 4], [*pairs([1, 2, 3, 4]), (2, 40)]) == ([1, 2, 3, 4], [])


def many(count=20):
    return [40 * n for n in range(count)], list(range(1, count + 1))


def test_a_flipped_key_is_mended():
    offsets, own = many()
    flipped = [1, 2, 1003, *own[3:]]
    found = assigned(own, pairs(flipped, offsets), images=[True] * 20, offsets=offsets, size=800)
    assert found == (own, [(80, "bad-index")])


def test_a_flipped_key_that_is_taken_is_mended():
    offsets, own = many()
    flipped = [1, 2, 7, *own[3:]]
    keys, complaints = assigned(own, pairs(flipped, offsets), images=[True] * 20, offsets=offsets, size=800)
    assert keys == own
    assert complaints == [(80, "bad-index")]


def test_a_flipped_number_in_a_record_gives_way_to_the_index():
    offsets, keys = many()
    own = [1, 2, 2**20 + 3, *keys[3:]]
    found = assigned(own, pairs(keys, offsets), images=[True] * 20, offsets=offsets, size=800)
    assert found == (keys, [(80, "bad-index")])


def test_only_images_need_to_say_their_key():
    offsets, keys = many()
    own = [*keys[:-1], 0]
    images = [True] * 19 + [False]
    assert assigned(own, pairs(keys, offsets), images=images, offsets=offsets, size=800) == (keys, [])
