"""Lists of people: whom each line means, whatever their names hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemae_cli.data.faces import Name
from facemae_cli.masking.key import Key
from facemae_cli.masking.people_list import PeopleList

STRANGE = {" Ann": " Ann", "Bob ": "Bob ", "Cle\u2028o": "Cle\u2028o", "Do\nra": "Do%0Ara", "Eve": "  Eve  "}
KEY = Key(bytes(32))


def found(path: Path, names: list[Name], lines: str, key: Key | None, raw: list[Name] | None = None) -> list[set[int]]:
    """The numbers of `names`, under `key` where there is one, that each line means."""
    path.write_bytes(lines.encode())
    shown = [key.name(name) if key else name for name in names]
    return [*PeopleList.read(path, "--people").find(shown, key, raw or []).values()]


@pytest.mark.parametrize("key", [None, KEY])
def test_people_whose_names_hold_spaces_and_newlines_are_found(tmp_path: Path, key: Key | None) -> None:
    names = [Name(person, "1.jpg") for person in (*STRANGE, "Ann", "Kim ")]
    lines = "\r\n".join([*STRANGE.values(), " ", "/"])
    assert found(tmp_path / "a.txt", names, lines, key) == [{0}, {1}, {2}, {3}, {4}]
    assert found(tmp_path / "a.txt", names, "Ann\n Ann/1.jpg\nAnn \nKim", key) == [{5}, {0}, {5}, set()]


def test_under_a_key_who_is_below_a_folder_is_known_by_the_raw_names(tmp_path: Path) -> None:
    raw = [Name(person, "1.jpg") for person in ("Ann", "Ann/2023", "Ann/2023/may", "Anna", "c/Ann")]
    assert found(tmp_path / "a.txt", raw, "Ann\nc\n", KEY) == [{0}, set()]
    assert found(tmp_path / "a.txt", raw, "Ann\nc\n", KEY, raw) == found(tmp_path / "a.txt", raw, "Ann\nc\n", None)
    assert found(tmp_path / "a.txt", raw, "Ann\nc\n", KEY, raw) == [{0, 1, 2}, {4}]
