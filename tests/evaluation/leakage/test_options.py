"""The options of an audit: what is read from them, and what no data could make right."""

from __future__ import annotations

from typing import Any

import pytest

from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.options import check_options, parse_identities, parse_known_members, parse_ks

RIGHT: dict[str, Any] = {
    "k": "2", "identities": "all", "known_members": None, "photo": "other", "show_faces": False, "report": None,
    "trials": 5, "workers": None, "imitations": 1, "seed": 0, "max_copies": 0, "max_leakage": 0.2,
    "batch_size": "auto",
}  # fmt: skip


def test_ks_and_numbers_of_people_as_they_are_written() -> None:
    assert parse_ks("2") == (2,)
    assert parse_ks("4, 1,2,2") == (1, 2, 4)
    assert parse_identities("all", 0) == (None,)
    assert parse_identities("300,100,all", 300) == (100, 300, None)
    assert parse_identities("5", 9) == (5,)


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1,,2", "1001", "1.5", "all"])
def test_what_is_no_k(text: str) -> None:
    with pytest.raises(UsageError, match="--k"):
        parse_ks(text)


@pytest.mark.parametrize("text", ["", "0", "301,all", "everyone"])
def test_what_is_no_number_of_people(text: str) -> None:
    with pytest.raises(UsageError, match=r"--identities .* to 300"):
        parse_identities(text, 300)


def test_numbers_of_known_people() -> None:
    assert parse_known_members("50, 10,10", 60) == (10, 50)
    for text in ("4", "56", "ten", "", "-5", "10,"):
        with pytest.raises(UsageError, match=r"give numbers from 5 to 55, as 10,50,200: of 60 people on both sides"):
            parse_known_members(text, 60)


def test_where_nobody_joins_or_few_do_that_is_the_reason() -> None:
    for parse in (parse_identities, parse_known_members):
        with pytest.raises(UsageError, match=r"^--\S+ 7: nobody is on both sides by name"):
            parse("7", 0)
    for text in ("5", "100"):
        with pytest.raises(
            UsageError, match=f"--known-members {text}: 6 people on both sides are too few: it takes 10"
        ):
            parse_known_members(text, 6)
    assert parse_known_members("5", 10) == (5,)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"k": 0}, "--k '0': give a number from 1 to 1000"),
        ({"k": [1, 2000]}, "--k '2000'"),
        ({"identities": "none"}, "--identities 'none': give a number from 1 on"),
        ({"known_members": "4"}, "--known-members '4': give numbers from 5 on"),
        ({"trials": 0}, "--trials 0: must be at least 1"),
        ({"workers": 0}, "--workers 0: must be at least 1"),
        ({"imitations": -1}, "--imitations -1: must be at least 0"),
        ({"max_leakage": 20}, "--max-leakage 20 is over 1: it is a share, so write 0.2 for 20 %"),
        ({"min_attacker": -0.1}, "--min-attacker -0.1 is not a share"),
        ({"photo": "both"}, "--photo 'both'"),
        ({"trials": "2"}, "--trials '2' is not a whole number"),
        ({"seed": 1.5}, "--seed 1.5 is not a whole number"),
        ({"max_leakage": "0.3"}, "--max-leakage '0.3' is not a number"),
        ({"known_members": [5, 4]}, "--known-members '4'"),
        *(
            ({name: True}, f"--{name.replace('_', '-')} True is not a")
            for name in (
                "max_leakage",
                "max_leakage_same",
                "max_tpr",
                "min_attacker",
                "max_copies",
                "trials",
                "imitations",
                "seed",
            )
        ),
        ({"batch_size": 0}, "--batch-size '0'"),
        ({"show_faces": True}, "--show-faces is about the page"),
    ],
)
def test_what_no_data_could_make_right(wrong: dict[str, Any], told: str) -> None:
    check_options(RIGHT)
    with pytest.raises(UsageError) as caught:
        check_options(RIGHT | wrong)
    assert str(caught.value).startswith(told)
