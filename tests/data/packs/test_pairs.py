"""pairs.txt, and pairs sampled by LFW's protocol."""

from __future__ import annotations

import numpy as np
import pytest

from facemae_cli.data.packs.pairs import Photo, format_pairs, parse_pairs, sample_pairs
from facemae_cli.errors import InputError

ANN, BOB = Photo("Ann_A", 1), Photo("Bob", 12)


def test_photo_stem():
    assert BOB.stem == "Bob/Bob_0012"
    assert Photo("x/Bob", 12345).stem == "x/Bob/Bob_12345"


@pytest.mark.parametrize("head", ["10\t300\n", "1100\n", ""])
def test_lines_of_lfw(head):
    pairs = parse_pairs(head + "Ann_A\t1\t3\nAnn_A\t1\tBob\t12\n\nBob 12 2\n")
    assert [pair[:3] for pair in pairs] == [
        (ANN, Photo("Ann_A", 3), True),
        (ANN, BOB, False),
        (BOB, Photo("Bob", 2), True),
    ]
    first = 2 if head else 1
    assert [pair.line for pair in pairs] == [first, first + 1, first + 3]


def test_names_with_spaces_between_tabs():
    assert parse_pairs("Ann A\t1\t2\n")[0].first == Photo("Ann A", 1)


@pytest.mark.parametrize(
    ("text", "line"),
    [("1 2\nAnn 1\n", 2), ("Ann one 2\n", 1), ("Ann 1 Bob 2 3\n", 1), ("../x 1 2\n", 1), ("/etc 1 2\n", 1)],
)
def test_a_line_that_is_no_pair(text, line):
    with pytest.raises(InputError, match=f"line {line} "):
        parse_pairs(text)


def test_format_comes_back():
    pairs = [(ANN, BOB, False), (BOB, Photo("Bob", 1), True), (ANN, Photo("Ann_A", 2), False)]
    text = format_pairs(pairs)
    assert text == "3\nAnn_A\t1\tBob\t12\nBob\t12\t1\nAnn_A\t1\tAnn_A\t2\n"
    assert [pair[:3] for pair in parse_pairs(text)] == pairs


def test_head_as_lfw_has_it():
    fold = [(ANN, ANN, True)] * 3 + [(ANN, BOB, False)] * 3
    assert format_pairs(fold * 10).startswith("10\t3\n")
    assert format_pairs(fold * 9).startswith("54\n")
    assert format_pairs([]) == "0\n"


def people(many: int, photos: int) -> list[str | None]:
    return [f"p{person}" for person in range(many) for _ in range(photos)]


def test_sampled_pairs_keep_the_protocol():
    identities = [*people(60, 4), None, None, "alone"]
    pairs, same = sample_pairs(identities, 200, seed=1)
    assert pairs.shape == (200, 2)
    assert same.tolist() == ([True] * 10 + [False] * 10) * 10
    assert len({tuple(pair) for pair in pairs.tolist()}) == 200
    for (first, second), one in zip(pairs.tolist(), same, strict=True):
        assert first != second
        assert identities[first] is not None
        assert (identities[first] == identities[second]) == one
    folds = [{identities[face] for face in pairs[20 * n : 20 * n + 20].ravel()} for n in range(10)]
    assert sum(map(len, folds)) == len(set.union(*folds))


def test_sampling_depends_on_the_seed_alone():
    identities = people(60, 4)
    first, again, other = (sample_pairs(identities, 200, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fewer_pairs_where_people_are_few():
    pairs, same = sample_pairs(people(20, 2), 6000, seed=0)
    assert len(pairs) == 40  # two people a fold, one pair of each: two of one person, and as many of two
    assert same.sum() == 20


def test_too_few_people():
    with pytest.raises(InputError, match="9 people with two photos and 40 with one"):
        sample_pairs([*people(9, 2), *(f"alone{n}" for n in range(40))], 100, seed=0)
