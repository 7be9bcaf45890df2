from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemae_cli.data.faces import Name, Refusal
from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.data.manifest import Manifest, read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import Made, Output, check_output, open_output
from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.errors import AllRefused, FaceError, OutputError, UsageError
from facemae_cli.runtime import mounts

KINDS = ["released", "released.rec", "d/train.rec"]
PNG = encode_png(np.arange(28 * 14 * 3, dtype=np.uint8).reshape(28, 14, 3))
DONE = Manifest("mask")
Face = tuple[Name, bytes]


def write(out: Path, faces: Sequence[Face], plan: dict[str, Any] | None = None, **options: Any) -> Output:
    with open_output(out, plan=plan or {}, **options) as output:
        for name, image in faces:
            output.write(name, image)
        output.commit(counts={"out": len(faces)})
        output.finish(done(len(faces)))
    return output


def done(count: int) -> Manifest:
    return Manifest("mask", counts={"in": count, "out": count, "refused": {}})


def write_in_part(out: Path, faces: Sequence[Face], plan: dict[str, Any] | None = None, **options: Any) -> None:
    """A run that stops after its first unit."""
    with open_output(out, plan=plan or {}, **options) as output:
        for name, image in faces:
            output.write(name, image)
        output.commit([Refusal("raw/x", "truncated", "ends at byte 3")], {"out": len(faces)})


def read(out: Path) -> dict[Name, bytes]:
    source = open_source(out)
    assert not source.refused
    return {source.name(i): source.read(i) for i in range(len(source))}


def faces(count: int) -> list[Face]:
    return [(Name(f"id{i // 2}", f"{i}.png"), encode_png(np.full((14, 14, 3), i, np.uint8))) for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path: Path, kind: str) -> None:
    given = faces(5)
    write(tmp_path / kind, given)
    assert read(tmp_path / kind) == dict(given)
    assert read_manifest(tmp_path / kind) == done(5)
    assert not list(tmp_path.rglob("*.facemae-part"))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stands_in_place_before_finish(tmp_path: Path, kind: str) -> None:
    with open_output(tmp_path / kind, plan={}) as output:
        output.write(Name("a", "1"), PNG)
        output.commit()
        assert not (tmp_path / kind).exists()
    assert not (tmp_path / kind).exists()


def test_writes_after_the_last_commit_are_in_the_output(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        output.write(Name("a", "1"), PNG)
        output.finish(DONE)
    assert read(tmp_path / "o") == {Name("a", "1.png"): PNG}


def test_the_suffix_is_that_of_the_bytes(tmp_path: Path) -> None:
    jpeg = encode_jpeg(np.zeros((14, 14, 3), np.uint8))
    given = [(Name("a", "1.PNG"), jpeg), (Name("a", "2"), jpeg), (Name("a", "3.v2"), PNG), (Name(None, "4.jpeg"), PNG)]
    write(tmp_path / "o", given)
    assert set(read(tmp_path / "o")) == {
        Name("a", "1.jpg"),
        Name("a", "2.jpg"),
        Name("a", "3.v2.png"),
        Name(None, "4.png"),
    }


def test_what_is_no_image_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    for kind in KINDS:
        with open_output(tmp_path / kind, plan={}) as output:
            for data in (b"", b"text"):
                with pytest.raises(FaceError):
                    output.write(Name("a", "1"), data)
            output.write(Name("b", "1"), PNG)
            output.finish(DONE)
        assert set(read(tmp_path / kind)) == {Name("b", "1.png")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_knows_what_was_journaled(tmp_path: Path, kind: str) -> None:
    given = faces(6)
    write_in_part(tmp_path / kind, given[:4])
    with open_output(tmp_path / kind, plan={}, resume=True) as output:
        assert output.units_done == 1
        assert output.refused == [Refusal("raw/x", "truncated", "ends at byte 3")]
        assert output.tally == {"out": 4}
        for name, image in given[4:]:
            output.write(name, image)
        output.commit(counts={"out": 2})
        assert output.tally == {"out": 6}
        assert output.units_done == 2
        output.finish(DONE)
    assert read(tmp_path / kind) == dict(given)


def test_faces_of_a_unit_that_was_not_committed_are_removed(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        output.write(Name("a", "1"), PNG)
        output.commit()
        output.write(Name("b/c", "2"), PNG)
    with open_output(tmp_path / "o", plan={}, resume=True) as output:
        output.finish(DONE)
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["a", "facemae.json"]


def test_another_plan_is_named_and_only_overwrite_goes_on(tmp_path: Path) -> None:
    write_in_part(tmp_path / "o", faces(2), {"batch": 32, "precision": "fp32"})
    with pytest.raises(UsageError, match=r"^--resume: the stopped run had batch = 32, and now it is 64: [^\n]+$"):
        open_output(tmp_path / "o", plan={"batch": 64, "precision": "fp32"}, resume=True)
    with pytest.raises(UsageError, match='seed = nothing, and now it is "x"'):
        open_output(tmp_path / "o", plan={"batch": 32, "precision": "fp32", "seed": "x"}, resume=True)
    with open_output(tmp_path / "o", plan={"batch": 64}, resume=True, overwrite=True) as output:
        assert output.units_done == 0
        output.finish(DONE)
    assert read(tmp_path / "o") == {}


@pytest.mark.parametrize("kind", KINDS)
def test_each_state_asks_for_the_option_that_fits(tmp_path: Path, kind: str) -> None:
    out = tmp_path / kind
    write(out, faces(2))
    with pytest.raises(UsageError, match=r"exists: .*--overwrite"):
        open_output(out, plan={})
    with pytest.raises(UsageError, match="complete already"):
        open_output(out, plan={}, resume=True)
    write_in_part(out, faces(2), overwrite=True)
    with pytest.raises(UsageError, match=r"left from a stopped run: --resume .*--overwrite"):
        open_output(out, plan={})
    assert set(read(out)) == {Name("id0", "0.png"), Name("id0", "1.png")}
    write(out, faces(1), overwrite=True)
    assert set(read(out)) == {Name("id0", "0.png")}


@pytest.mark.parametrize("kind", KINDS)
def test_resume_of_nothing_starts(tmp_path: Path, kind: str) -> None:
    write(tmp_path / kind, faces(2), resume=True)
    assert len(read(tmp_path / kind)) == 2


def test_resume_without_overwrite_still_replaces_what_the_run_was_to_replace(tmp_path: Path) -> None:
    write(tmp_path / "o", faces(4))
    write_in_part(tmp_path / "o", faces(1), overwrite=True)
    with open_output(tmp_path / "o", plan={}, resume=True) as output:
        output.finish(DONE)
    assert len(read(tmp_path / "o")) == 1


def test_what_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    write_in_part(tmp_path / "o", faces(1))
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="appeared meanwhile"):
        open_output(tmp_path / "o", plan={}, resume=True)
    with pytest.raises(UsageError, match=r"not made by facemae"):
        open_output(tmp_path / "o", plan={}, resume=True, overwrite=True)
    assert (tmp_path / "o" / "mine.txt").read_text() == "mine"


def test_overwrite_removes_no_folder_that_is_not_an_output(tmp_path: Path) -> None:
    (tmp_path / "home" / "letters").mkdir(parents=True)
    (tmp_path / "home" / "letters" / "a.png").write_bytes(PNG)
    with pytest.raises(UsageError, match=r"no facemae\.json"):
        open_output(tmp_path / "home", plan={}, overwrite=True)
    (tmp_path / "home" / "facemae.json").write_text("{}")
    with pytest.raises(UsageError, match=r"no facemae\.json of ours"):
        open_output(tmp_path / "home", plan={}, overwrite=True)
    write(tmp_path / "o", faces(1))
    (tmp_path / "o" / "id0" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt is not a face"):
        open_output(tmp_path / "o", plan={}, overwrite=True)
    (tmp_path / "o" / "id0" / "notes.txt").unlink()
    (tmp_path / "o" / "id0" / "holiday.png").write_bytes(PNG)
    with pytest.raises(UsageError, match=r"o holds 2 faces, and its facemae\.json speaks of 1"):
        open_output(tmp_path / "o", plan={}, overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        open_output(tmp_path / "file", plan={}, overwrite=True)
    write(tmp_path / "d" / "train.rec", faces(1))
    with pytest.raises(UsageError, match=r"--out \S+/d/train\.rec"):
        open_output(tmp_path / "d", plan={}, overwrite=True)


@pytest.mark.parametrize("left", ["notes.rec", "notes.lst", "notes.property", "notes.facemae.json"])
def test_overwrite_replaces_no_rec_that_facemae_did_not_make(tmp_path: Path, left: str) -> None:
    (tmp_path / left).write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.\S+ was not made by facemae \(no notes\.facemae\.json"):
        open_output(tmp_path / "notes.rec", plan={}, overwrite=True)
    (tmp_path / "notes.facemae.json").write_text(done(1).as_json())  # of another dataset
    with pytest.raises(UsageError, match="was not made by facemae"):
        open_output(tmp_path / "notes.rec", plan={}, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == sorted({left, "notes.facemae.json"})


def test_a_foreign_rec_in_a_folder_of_ours_is_not_replaced(tmp_path: Path) -> None:
    """InsightFace's own train.rec, put where a dataset of ours has its facemae.json."""
    write(tmp_path / "d", faces(2))
    (tmp_path / "foreign.rec").write_bytes(frame(pack_header(0, 1.0, 1) + PNG))
    (tmp_path / "foreign.rec").rename(tmp_path / "d" / "train.rec")
    with pytest.raises(UsageError, match=r"train\.rec was not made by facemae"):
        open_output(tmp_path / "d" / "train.rec", plan={}, overwrite=True)


def test_a_link_in_the_place_of_a_rec_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "x.rec", faces(1))
    (tmp_path / "x.rec").rename(tmp_path / "elsewhere.rec")
    (tmp_path / "x.rec").symlink_to("elsewhere.rec")
    with pytest.raises(UsageError, match=r"x\.rec is a link"):
        open_output(tmp_path / "x.rec", plan={}, overwrite=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_of_which_every_input_is_refused_is_not_written(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "old" / kind, faces(2))
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.rglob("*")), files(tmp_path)
    for place, overwrite in (("new/deep", False), ("empty/deep", False), ("old", True)):
        out = tmp_path / place / kind
        with open_output(out, plan={}, overwrite=overwrite) as output:
            output.write_unit([Made("raw/x", error=FaceError("truncated", "ends at byte 3"))])
            with pytest.raises(AllRefused, match=r"every input is refused \(1 truncated\)") as caught:
                output.finish(Manifest("mask"))
        assert caught.value.refused == [Refusal("raw/x", "truncated", "ends at byte 3")]
    assert (sorted(tmp_path.rglob("*")), files(tmp_path)) == before, "also without the folders that were made for it"


def test_of_the_folders_made_for_an_output_none_goes_that_holds_something(tmp_path: Path) -> None:
    with open_output(tmp_path / "p" / "q" / "o", plan={}) as output:
        (tmp_path / "p" / "theirs").touch()
        output.write_unit([Made("x", error=FaceError("truncated", "ends at byte 3"))])
        with pytest.raises(AllRefused):
            output.finish(Manifest("mask"))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "p", tmp_path / "p" / "theirs"]
    with open_output(tmp_path / "r" / "s" / "o", plan={}) as output:
        output.commit()  # and is stopped here
    open_output(tmp_path / "r" / "s" / "o", plan={}, resume=True).finish(Manifest("mask"))
    assert (tmp_path / "r" / "s" / "o" / "facemae.json").is_file()


def test_a_unit_is_written_and_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with open_output(tmp_path / "o", plan={}) as output:
        made = [
            Made("raw/a", Name("a", "1"), PNG, {"hidden": 147}),
            Made("raw/b", Name("a", "1"), PNG, {"hidden": 147}),
            Made("raw/c", error=FaceError("truncated", "ends at byte 3")),
        ]
        output.write_unit(made, {"halvings": 2})
        assert [(item.where, item.reason) for item in output.refused] == [
            ("raw/b", "same-name"),
            ("raw/c", "truncated"),
        ]
        assert (output.faces, output.tally) == (1, {"out": 1, "hidden": 147, "halvings": 2})


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_overwriting_a_rec_leaves_other_files_alone(tmp_path: Path) -> None:
    write(tmp_path / "d" / "train.rec", faces(4))
    (tmp_path / "d" / "lfw.bin").write_bytes(b"pack")
    write(tmp_path / "d" / "train.rec", faces(1), overwrite=True)
    assert len(read(tmp_path / "d")) == 1
    assert sorted(os.listdir(tmp_path / "d")) == [
        "facemae.json",
        "lfw.bin",
        "property",
        "train.idx",
        "train.lst",
        "train.rec",
    ]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    write(tmp_path / "o", faces(2))
    assert len(read(tmp_path / "o")) == 2


def test_a_link_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "o").symlink_to(tmp_path / "big" / "o", target_is_directory=True)
    write(tmp_path / "o", faces(2))
    assert (tmp_path / "o").is_symlink()
    assert (tmp_path / "big" / "o" / "facemae.json").is_file()


@pytest.mark.parametrize(
    ("given", "out"),
    [
        ("raw", "raw"),
        ("raw", "raw/masked"),
        ("raw", "raw/x/masked.rec"),
        ("raw", "link/masked"),
        ("raw/a", "raw"),
        ("d/train.rec", "d/train.rec"),
        ("d/train.rec", "d"),
        ("d/train.rec", "d/masked"),
        ("d/train.rec", "d/other.rec"),
        ("d/pairs.txt", "d/x/masked"),
    ],
)
def test_an_output_and_an_input_never_contain_each_other(tmp_path: Path, given: str, out: str) -> None:
    (tmp_path / "raw" / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to("raw")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train.rec").write_bytes(b"")
    (tmp_path / "d" / "pairs.txt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"inside .*: choose"):
        open_output(tmp_path / out, plan={}, inputs=[tmp_path / given], overwrite=True)
    assert not list(tmp_path.rglob("*.facemae-part"))


def test_a_verification_pack_is_no_output_of_faces(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="verification pack"):
        open_output(tmp_path / "lfw.bin", plan={})


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_line_and_resume_goes_on(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = faces(4)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_in_part(tmp_path / kind, given[:2])
    with open_output(tmp_path / kind, plan={}, resume=True) as output, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        output.write(*given[2])
        with pytest.raises(OutputError, match=r"^[^\n]*: no space left on device: free some space, .*--resume$"):
            output.commit()
        with pytest.raises(RuntimeError, match="closed"):
            output.commit()
    with open_output(tmp_path / kind, plan={}, resume=True) as output:
        assert output.units_done == 1
        for name, image in given[2:]:
            output.write(name, image)
        output.finish(DONE)
    assert read(tmp_path / kind) == dict(given)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"^[^\n]+: something else stands there, move it away, then run again$"):
        open_output(tmp_path / "file" / "o", plan={})


@pytest.mark.parametrize("kind", ["o", "d/train.rec"])
def test_a_mount_in_the_place_of_an_output_is_found_before_anything_is_made(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a bind mount of the same file system, which device numbers do not show."""
    write(tmp_path / kind, faces(1))
    mountinfo = f"9 1 0:9 / {tmp_path / kind} rw - ext4 /dev/x rw\n".replace(" rw - ", " rw,relatime shared:1 - ")
    (tmp_path / "mountinfo").write_text(mountinfo)
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    before = files(tmp_path)
    with pytest.raises(UsageError, match=r"is a mount point, which cannot be replaced: name a place in it"):
        open_output(tmp_path / kind, plan={}, overwrite=True)
    assert files(tmp_path) == before


def test_a_look_at_an_output_makes_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "new" / "deep", overwrite=True)
    check_output(tmp_path / "new.rec", resume=True)
    assert os.listdir(tmp_path) == []
