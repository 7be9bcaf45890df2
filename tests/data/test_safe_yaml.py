"""YAML from strangers: plain values or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemae_cli.data.safe_yaml import MAX_BYTES, load_mapping
from facemae_cli.errors import InputError


def load(tmp_path: Path, text: str | bytes) -> dict[str, object]:
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_mapping(path)


def test_plain_values(tmp_path: Path) -> None:
    text = "a: 1\nb: 0.5\nc: text\nd: true\ne: null\nf: [1, two]\ng: {h: 'no'}\n"
    expected = {"a": 1, "b": 0.5, "c": "text", "d": True, "e": None, "f": [1, "two"], "g": {"h": "no"}}
    assert load(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1.5e-4", 1.5e-4), ("-2E3", -2e3), ("1.e+2", 1e2), ("1e", "1e"), ("e5", "e5")]
)
def test_numbers_with_exponents_are_numbers(tmp_path: Path, text: str, value: object) -> None:
    loaded = load(tmp_path, f"lr: {text}")["lr"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_a_number_of_many_digits(tmp_path: Path) -> None:
    assert load(tmp_path, "a: " + "9" * 80) == {"a": 10**80 - 1}


def test_a_date_stays_text(tmp_path: Path) -> None:
    assert load(tmp_path, "date: 2026-11-21") == {"date": "2026-11-21"}


def test_a_merge_key_is_a_key_like_any_other(tmp_path: Path) -> None:
    assert load(tmp_path, "<<: {a: 1}") == {"<<": {"a": 1}}


@pytest.mark.parametrize("text", ["", "# nothing here\n", "null"])
def test_an_empty_file_is_an_empty_mapping(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x\n", "aliases are not taken here, line 2"),
        ("a: &x {b: *x}\n", "aliases are not taken here, line 1"),
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice, line 3"),
        ("a: {b: 1, b: 2}\n", "the key 'b' stands twice, line 1"),
        ("1: a\n", "a key must be plain text, line 1"),
        ("yes: a\n", "a key must be plain text, line 1"),
        ("? [a]\n: b\n", "a key must be plain text, line 1"),
        ("a: [1\n", "line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", "os.system' is not taken here, line 1"),
        ("a: !!binary aGk=\n", "the tag 'tag:yaml.org,2002:binary' is not taken here, line 1"),
        ("a: !!set {b}\n", "set' is not taken here, line 1"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("- a\n", "holds a list where a mapping"),
        ("text", "holds a str where a mapping"),
        (b"a: \xff\xfe\n", "x.yaml is not YAML"),
        ("a: " + "[" * 5000, "lists and mappings over 32 deep, line 1"),
        ("a: " + "9" * 5000, "x.yaml is not YAML"),
        ("a: !!int text\n", "int' is not taken here, line 1"),
        ("a: !!int ''\n", "int' is not taken here, line 1"),
        ("a: !!bool maybe\n", "bool' is not taken here, line 1"),
        ("a: !!map [a]\n", "map' is not taken here, line 1"),
        ("a: ! b\n", "the tag '!' is not taken here, line 1"),
        ("b: 0\na: 0x" + "f" * 4000, "a number of over 80 digits, line 2"),
        ("a: " + "9" * 81, "a number of over 80 digits, line 1"),
        ("a: [" + "b," * 5000 + "]", "more than 4096 keys and values, line 1"),
    ],
)
def test_what_is_not_plain_is_one_line(tmp_path: Path, text: str | bytes, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert problem in message
    assert "\n" not in message
    assert str(tmp_path / "x.yaml") in message


def test_the_size_is_limited_before_parsing(tmp_path: Path) -> None:
    assert load(tmp_path, "a: " + "x" * (MAX_BYTES - 3))["a"] == "x" * (MAX_BYTES - 3)
    with pytest.raises(InputError, match=f"larger than {MAX_BYTES} bytes"):
        load(tmp_path, "a: " + "x" * (MAX_BYTES - 2))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_mapping(tmp_path / "none.yaml")
