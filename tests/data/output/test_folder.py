from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.output import folder as folderwriter
from facemae_cli.data.output.output import Output, open_output
from facemae_cli.errors import FaceError

PNG = encode_png(np.zeros((14, 14, 3), np.uint8))
JPEG = encode_jpeg(np.zeros((14, 14, 3), np.uint8))


def reason(output: Output, name: Name, image: bytes = PNG) -> str:
    with pytest.raises(FaceError, match=r"^[^\n]+$") as caught:
        output.write(name, image)
    return caught.value.reason


def test_two_faces_of_one_file_are_refused_again_after_a_resume(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        output.write(Name("a", "1.bmp"), PNG)
        assert reason(output, Name("a", "1.png")) == "same-name"
        output.write(Name("a", "1.png"), JPEG)
        output.commit()
        output.write(Name("a", "2"), PNG)
        assert reason(output, Name("a", "2")) == "same-name"
    with open_output(tmp_path / "o", plan={}, resume=True) as output:
        assert reason(output, Name("a", "1.png")) == "same-name"
        output.write(Name("a", "2"), PNG)
        assert reason(output, Name("a", "2")) == "same-name"
        output.finish(Manifest("mask"))
    assert sorted(p.name for p in (tmp_path / "o" / "a").iterdir()) == ["1.jpg", "1.png", "2.png"]


def test_the_first_of_two_faces_of_one_file_is_kept(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        output.write(Name(None, "1"), PNG)
        other = encode_png(np.ones((14, 14, 3), np.uint8))
        assert reason(output, Name(None, "1"), other) == "same-name"
        output.finish(Manifest("mask"))
    assert (tmp_path / "o" / "1.png").read_bytes() == PNG


def test_a_refused_face_leaves_no_folder(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        assert reason(output, Name("a/b", "x" * 300)) == "bad-name"
        assert reason(output, Name("/".join(["d" * 250] * 20), "1")) == "bad-name"  # longer than any path may be
        output.finish(Manifest("mask"))
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["facemae.json"]


def test_people_who_differ_by_case_alone_are_two_unless_the_file_system_merges_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        output.write(Name("Bob", "1"), PNG)
        output.write(Name("bob", "1"), PNG)
    monkeypatch.setattr(folderwriter, "_folds_case", lambda folder: True)
    with open_output(tmp_path / "p", plan={}) as output:
        output.write(Name("Bob", "1"), PNG)
        output.write(Name("Bob", "2"), PNG)
        output.commit()
    with open_output(tmp_path / "p", plan={}, resume=True) as output:
        assert reason(output, Name("bob", "3")) == "same-name"
        output.write(Name("Bob", "3"), PNG)


def test_more_faces_than_may_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folderwriter, "MAX_OPEN", 2)
    with open_output(tmp_path / "o", plan={}) as output:
        for i in range(20):
            output.write(Name("a", str(i)), PNG)
        output.finish(Manifest("mask"))
    assert len(list((tmp_path / "o" / "a").iterdir())) == 20
