"""Names in one order everywhere, and fit for one line of a terminal."""

from __future__ import annotations

import os
import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemae_cli.data.names import check_name, in_order, one_line
from facemae_cli.errors import FaceError


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6)))
def test_order_is_that_of_the_utf8_bytes_of_the_composed_form(names: list[str]) -> None:
    slow = sorted(names, key=lambda name: (unicodedata.normalize("NFC", name).encode(), name.encode()))
    assert in_order(names) == slow
    random.Random(1).shuffle(names)
    assert in_order(names) == slow


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain name.jpg", "plain name.jpg"),
        ("Zoë 張 \U0001f468\u200d\U0001f469.jpg", "Zoë 張 \U0001f468\u200d\U0001f469.jpg"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[31m\x7f\x9b", "\\x1b[31m\\x7f\\x9b"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("back\\slash", "back\\\\slash"),
        (os.fsdecode(b"M\xfcller"), "M\\xfcller"),
    ],
)
def test_one_line(name: str, shown: str) -> None:
    assert one_line(name) == shown


@given(st.text(), st.text())
def test_one_line_is_one_line_and_tells_names_apart(name: str, other: str) -> None:
    assert len(one_line(name).splitlines()) <= 1
    assert (one_line(name) == one_line(other)) == (name == other)


def test_names_that_are_not_utf8() -> None:
    check_name("Zoë \U0001f600\n")
    with pytest.raises(FaceError) as caught:
        check_name(os.fsdecode(b"\xff.jpg"))
    assert caught.value.reason == "bad-name"
