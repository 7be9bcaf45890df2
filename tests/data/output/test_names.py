from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.names import check_face_name, check_file_name, with_suffix_of
from facemae_cli.data.output.output import open_output
from facemae_cli.errors import FaceError

PNG = encode_png(np.zeros((14, 14, 3), np.uint8))
JPEG = encode_jpeg(np.zeros((14, 14, 3), np.uint8))
GOOD = [
    Name("Ann Smith", "1.jpg"),
    Name(None, "1.jpg"),
    Name("a/b/c", "…"),
    Name("a", "line\nbreak 🙂.jpg"),
    Name("a", "tab\t.jpg"),
    Name("-rf", "--out.jpg"),
    Name("a", "x" * 255),
    Name("/".join("a" * 32), "1"),
]
NOWHERE = [
    Name("..", "1"),
    Name("a/../b", "1"),
    Name("a/.", "1"),
    Name("/etc", "1"),
    Name("a//b", "1"),
    Name("a/", "1"),
    Name("", "1"),
    Name("a", ""),
    Name("a", ".."),
    Name("a", "b/c"),
    Name("a", "/etc/passwd"),
    Name("a\0", "1"),
    Name("a", "1\0"),
    Name("a", "\udc80"),
]
NO_FILE = [
    Name("a", "\x1b[31m"),
    Name("\x85", "1"),
    Name("\x7f", "1"),
    Name(".hidden", "1"),
    Name("a", ".hidden"),
    Name("facemae.json", "1"),
    Name("a/Pairs.txt", "1"),
    Name("train.rec", "1"),
    Name("x.jpg", "1"),
    Name("x.GIF", "1"),
    Name("a", "x" * 256),
    Name("é" * 128, "1"),
    Name("/".join("a" * 33), "1"),
]


@pytest.mark.parametrize("name", GOOD)
def test_names_that_may_be(name: Name) -> None:
    check_face_name(name)
    check_file_name(name)


@pytest.mark.parametrize("name", NOWHERE)
def test_names_that_lead_elsewhere_or_nowhere(name: Name) -> None:
    for check in (check_face_name, check_file_name):
        with pytest.raises(FaceError, match=r"^[^\n\x1b]+$") as caught:
            check(name)
        assert caught.value.reason == "bad-name"


@pytest.mark.parametrize("name", NO_FILE)
def test_names_that_only_a_rec_can_hold(name: Name) -> None:
    check_face_name(name)
    with pytest.raises(FaceError, match=r"^[^\n\x1b]+$") as caught:
        check_file_name(name)
    assert caught.value.reason == "bad-name"


@pytest.mark.parametrize(
    ("photo", "image", "expected"),
    [
        ("1", PNG, "1.png"),
        ("1.jpg", PNG, "1.png"),
        ("1.JPEG", PNG, "1.png"),
        ("1.PNG", PNG, "1.png"),
        ("1.jpeg", JPEG, "1.jpeg"),
        ("1.JPG", JPEG, "1.JPG"),
        ("1.png", JPEG, "1.jpg"),
        ("a.b.webp", JPEG, "a.b.jpg"),
        ("2020.01", JPEG, "2020.01.jpg"),
        (".jpg", JPEG, ".jpg.jpg"),
    ],
)
def test_the_suffix_follows_the_bytes(photo: str, image: bytes, expected: str) -> None:
    assert with_suffix_of(photo, image) == expected


PART = st.text(st.characters(exclude_categories=()), min_size=1, max_size=6) | st.sampled_from(
    [".", "..", "%0A", "a\\b"]
)


@pytest.mark.parametrize("kind", ["o", "o.rec"])
@given(identity=st.none() | st.lists(PART, max_size=3).map("/".join), photo=PART)
@example(identity="%25%0A\n\t", photo="%")
@example(identity=None, photo="a\r\u2028\x85\x1c")
@example(identity="0", photo="1")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_under_its_name(
    tmp_path: Path, kind: str, identity: str | None, photo: str
) -> None:
    with open_output(tmp_path / kind, plan={}, overwrite=True) as output:
        try:
            output.write(Name(identity, photo), PNG)
        except FaceError as error:
            wanted = []
            assert error.reason == "bad-name"  # noqa: PT017
        else:
            wanted = [Name(identity, with_suffix_of(photo, PNG))]
        output.finish(Manifest("mask", counts={"in": 1, "out": len(wanted), "refused": {}}))
    if wanted:
        source = open_source(tmp_path / kind)
        assert [source.name(i) for i in range(len(source))] == wanted
        assert source.read(0) == PNG
