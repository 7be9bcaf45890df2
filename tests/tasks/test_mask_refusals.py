"""What `mask` refuses, what it warns of, and its exit codes."""

import io
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.maskcases import (
    OTHER,
    SECRET,
    Listener,
    encoded,
    key_file,
    pixels,
    put,
    tree,
)
from PIL import Image

from facemae_cli.app import main
from facemae_cli.data.manifest import Manifest, write_manifest
from facemae_cli.data.output.output import Output
from facemae_cli.data.synthetic import people
from facemae_cli.errors import AllRefused, InputError, UsageError
from facemae_cli.masking.key import Key
from facemae_cli.tasks.mask import mask


def test_sides_that_14_does_not_divide_are_refused_with_the_way_out(tmp_path, key):
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(1), ".png"))
    put(tmp_path / "raw" / "anna" / "2.png", encoded(pixels(2, 112, 100), ".png"))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key)
    assert result.faces == 1
    (refused,) = result.refused
    assert (Path(refused.where).name, refused.reason) == ("2.png", "bad-size")
    assert "100x112" in refused.detail
    assert "--size 112" in refused.detail
    manifest = json.loads((tmp_path / "masked" / "facemae.json").read_text())
    assert manifest["counts"] == {"in": 2, "out": 1, "refused": {"bad-size": 1}}


def test_broken_faces_are_refused_and_the_others_masked(raw, key, tmp_path):
    put(raw / "Ottoline-Vavasour" / "cut.jpg", encoded(pixels(9))[:-300])
    put(raw / "Ottoline-Vavasour" / "text.jpg", b"this is no image")
    put(raw / "Nobody-Left" / "empty.jpg", b"")
    masked = np.dstack([pixels(8), np.full((112, 112), 255, np.uint8)])
    masked[:8, :8] = 0
    put(raw / "Ottoline-Vavasour" / "masked.png", cv2.imencode(".png", masked)[1].tobytes())
    result = mask(raw, tmp_path / "masked", key=key)
    assert (result.faces_in, result.faces, result.identities) == (13, 9, 3)
    assert {Path(item.where).name: item.reason for item in result.refused} == {
        "cut.jpg": "truncated",
        "text.jpg": "not-an-image",
        "empty.jpg": "empty",
        "masked.png": "has-alpha",
    }
    counts = json.loads((tmp_path / "masked" / "facemae.json").read_text())["counts"]
    assert counts == {
        "in": 13,
        "out": 9,
        "refused": {"empty": 1, "has-alpha": 1, "not-an-image": 1, "truncated": 1},
    }


def test_what_is_masked_already_is_refused(raw, key, tmp_path):
    mask(raw, tmp_path / "masked", key=key)
    with pytest.raises(UsageError, match="masked already"):
        mask(tmp_path / "masked", tmp_path / "twice", key=key)
    (tmp_path / "masked" / "facemae.json").unlink()
    with pytest.raises(UsageError, match="masked already"):
        mask(tmp_path / "masked", tmp_path / "twice", key=key)
    mask(raw, tmp_path / "masked.rec", key=key)
    with pytest.raises(UsageError, match="masked already"):
        mask(tmp_path / "masked.rec", tmp_path / "twice", key=key)
    assert not (tmp_path / "twice").exists()


def test_an_opaque_alpha_channel_is_a_raw_face(tmp_path, key):
    face = np.dstack([pixels(1), np.full((112, 112), 255, np.uint8)])
    put(tmp_path / "raw" / "anna" / "1.png", cv2.imencode(".png", face)[1].tobytes())
    assert mask(tmp_path / "raw", tmp_path / "masked", key=key).faces == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0.1}, "the smallest ratio is 0.205"),
        ({"ratio": 1.0}, "the largest ratio"),
        ({"strategy": "parts", "ratio": 0.75}, "leave --ratio out"),
        ({"strategy": "nose"}, "random, eyes, mouth, parts"),
        ({"size": 100}, "--size 100"),
        ({"size": 0}, "--size 0"),
        ({"size": 14 * 1000}, "--size 14000"),
        ({"workers": 0}, "--workers 0"),
    ],
)
def test_options_that_can_not_be_carried_out_make_neither_output_nor_key(raw, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        mask(raw, tmp_path / "masked", key=tmp_path / "new.key", **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


@pytest.mark.parametrize("place", ["raw/the.key", "raw/deep/the.key", "masked/the.key"])
def test_a_key_inside_input_or_output_is_refused(raw, tmp_path, place):
    with pytest.raises(UsageError, match="--key"):
        mask(raw, tmp_path / "masked", key=tmp_path / place)
    assert not (tmp_path / place).exists()


def test_out_that_exists_or_lies_inside_the_input_is_refused(raw, key, tmp_path):
    mask(raw, tmp_path / "masked", key=key)
    before = tree(tmp_path / "masked")
    for out in (tmp_path / "masked", raw / "masked", tmp_path):
        with pytest.raises(UsageError):
            mask(raw, out, key=key, ratio=0.5)
    assert tree(tmp_path / "masked") == before
    assert not (raw / "masked").exists()


def test_an_input_without_faces(tmp_path, key):
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="no faces"):
        mask(tmp_path / "raw", tmp_path / "masked", key=key)
    with pytest.raises(InputError):
        mask(tmp_path / "missing", tmp_path / "masked", key=key)


def test_overwriting_a_release_of_another_key_or_strategy_is_said(raw, key, tmp_path):
    quiet, other_key, other_strategy = Listener(), Listener(), Listener()
    mask(raw, tmp_path / "masked", key=key)
    mask(raw, tmp_path / "masked", key=key, ratio=0.5, overwrite=True, progress=quiet)
    mask(raw, tmp_path / "masked", key=key_file(tmp_path / "o.key", OTHER), overwrite=True, progress=other_key)
    mask(raw, tmp_path / "masked", key=tmp_path / "o.key", strategy="eyes", overwrite=True, progress=other_strategy)
    assert quiet.lines == []
    assert [line for line in other_key.lines if Key(SECRET).key_id in line and "another key" in line]
    assert [line for line in other_strategy.lines if "'random'" in line and "show more together" in line]


def test_the_command_and_its_exit_codes(raw, key, tmp_path, capsys):
    options = ["mask", "--in", str(raw), "--key", str(key)]
    assert main([*options, "--out", str(tmp_path / "a"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["faces"] == {"in": 9, "out": 9, "refused": {}}
    assert told["key_id"] == Key(SECRET).key_id
    put(raw / "Ottoline-Vavasour" / "cut\n.jpg", encoded(pixels(9))[:-300])
    refused = tmp_path / "refused.jsonl"
    assert main([*options, "--out", str(tmp_path / "b.rec"), "--json", "--refused", str(refused)]) == 3
    output = capsys.readouterr()
    assert [item["reason"] for item in json.loads(output.out)["refused"]] == ["truncated"]
    assert "truncated" in output.err
    assert "Ottoline" in refused.read_text()
    assert os.stat(refused).st_mode & 0o077 == 0
    assert main([*options, "--out", str(tmp_path / "a")]) == 2
    assert main([*options, "--out", str(tmp_path / "c"), "--strategy", "parts", "--ratio", "0.5"]) == 2
    assert main(["mask", "--in", str(tmp_path / "a"), "--key", str(key), "--out", str(tmp_path / "d")]) == 2
    errors = capsys.readouterr().err
    assert SECRET.hex() not in errors + output.err + output.out
    assert len([line for line in errors.splitlines() if "error" in line]) == 3


def test_masking_a_released_dataset_is_said(raw, key, tmp_path):
    write_manifest(raw / "facemae.json", Manifest(command="reconstruct"))
    listener = Listener()
    assert mask(raw, tmp_path / "masked", key=key, progress=listener).faces == 9
    assert [line for line in listener.lines if "is a released dataset" in line]


def phone_photo() -> bytes:
    """4032 x 3024 with five faces of 112 pixels, each inside one patch of 288 x 216."""
    scene = Image.new("RGB", (4032, 3024), (120, 150, 170))
    for number, (_, face) in enumerate(people(5, 1)):
        scene.paste(Image.fromarray(face), (2 * number * 288 + 80, 3 * number * 216 // 2 + 50))
    buffer = io.BytesIO()
    scene.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def test_a_photo_of_a_phone_is_refused_and_crops_are_named(tmp_path: Path, key: Path) -> None:
    put(tmp_path / "raw" / "anna" / "IMG_0001.JPG", phone_photo())
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(1), ".png"))
    for options in ({}, {"size": 112}):
        result = mask(tmp_path / "raw", tmp_path / "masked", key=key, overwrite=True, **options)
        (refused,) = result.refused
        assert (result.faces, refused.reason) == (1, "not-a-crop")
        assert "4032x3024" in refused.detail
        assert "facemae align" in refused.detail
        assert "--allow-unaligned" in refused.detail


def test_who_insists_has_it_masked_all_the_same(tmp_path: Path, key: Path) -> None:
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(1, 112, 280), ".png"))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key, allow_unaligned=True)
    assert (result.faces, result.refused, dict(result.sizes)) == (1, [], {"280x112": 1})


def test_sizes_that_differ_and_one_person_with_every_photo_are_remarked_on(tmp_path: Path, key: Path) -> None:
    for number, side in enumerate((112, 112, 126)):
        put(tmp_path / "raw" / "images" / f"{number}.png", encoded(pixels(number, side, side), ".png"))
    notes = mask(tmp_path / "raw", tmp_path / "masked", key=key).notes()
    assert [note for note in notes if "2 sizes (2 of 112x112, 1 of 126x126)" in note]
    assert [note for note in notes if "one person has all 3 photos" in note]
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(7), ".png"))
    (tmp_path / "raw" / "images" / "2.png").unlink()
    assert mask(tmp_path / "raw", tmp_path / "masked", key=key, overwrite=True).notes() == []


def test_subsampled_sources_are_counted_and_system_folders_are_told(tmp_path: Path, key: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels(1)).save(buffer, "JPEG", subsampling=2)
    put(tmp_path / "raw" / "anna" / "1.jpg", buffer.getvalue())
    put(tmp_path / "raw" / "bert" / "1.jpg", encoded(pixels(2)))
    put(tmp_path / "raw" / "#recycle" / "old" / "1.jpg", encoded(pixels(3)))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key)
    assert (result.faces, result.identities, result.refused) == (2, 2, [])
    assert (result.as_json()["subsampled"], result.as_json()["passed_over"]) == (1, {"#recycle": 1})
    assert [note for note in result.notes() if note.startswith("1 face from JPEGs with subsampled colour")]
    assert dict(result.summary())["passed over"].startswith("1 #recycle: ")


@pytest.mark.parametrize("options", [{}, {"overwrite": True}, {"keep_names": True}])
def test_nothing_is_made_where_every_face_is_refused(raw, tmp_path, options, capsys):
    for photo in raw.rglob("*.*"):
        photo.write_bytes(photo.read_bytes()[:-300])
    words = [f"--{name.replace('_', '-')}" for name in options]
    line = ["mask", "--in", raw, "--out", tmp_path / "masked", "--key", tmp_path / "new.key", *words]
    assert main([str(word) for word in line]) == 2
    said = capsys.readouterr().err
    assert "refused: " in said
    assert "every input is refused (9 truncated), so nothing is written" in said
    assert os.listdir(tmp_path) == ["raw"]


def test_nothing_is_made_where_no_name_can_be_kept(tmp_path):
    put(tmp_path / "raw" / "bell\x07" / "1.png", encoded(pixels(1), ".png"))
    with pytest.raises(AllRefused, match="1 bad-name"):
        mask(tmp_path / "raw", tmp_path / "masked", key=tmp_path / "new.key", keep_names=True)
    assert os.listdir(tmp_path) == ["raw"]


def test_an_old_output_stays_where_every_face_is_refused(raw, key, tmp_path):
    mask(raw, tmp_path / "masked", key=key)
    before = tree(tmp_path / "masked")
    for photo in raw.rglob("*.*"):
        photo.write_bytes(b"")
    with pytest.raises(AllRefused) as caught:
        mask(raw, tmp_path / "masked", key=key, overwrite=True)
    assert {item.reason for item in caught.value.refused} == {"empty"}
    assert tree(tmp_path / "masked") == before
    assert sorted(os.listdir(tmp_path)) == ["masked", "raw", "the.key"]


def test_no_key_is_made_where_the_output_is_in_the_way(raw, tmp_path):
    (tmp_path / "masked").mkdir()
    (tmp_path / "masked" / "mine.txt").write_text("mine")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(UsageError):
            mask(raw, tmp_path / "masked", key=tmp_path / "new.key", **options)
    assert sorted(os.listdir(tmp_path)) == ["masked", "raw"]


@pytest.mark.parametrize("change", ["pixels", "name"])
def test_a_stopped_run_does_not_go_on_with_other_photos(raw, key, tmp_path, monkeypatch, change):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / "masked", key=key)
    photo = sorted(raw.rglob("*.*"))[4]
    data = photo.read_bytes()
    if change == "pixels":
        photo.write_bytes(encoded(pixels(77), photo.suffix))
    else:
        photo.rename(photo.with_name(f"other{photo.suffix}"))
    with pytest.raises(UsageError, match=r"--resume: the stopped run had input.*: give that again, or --overwrite"):
        mask(raw, tmp_path / "masked", key=key, resume=True)
    if change == "pixels":
        photo.write_bytes(data)
        assert mask(raw, tmp_path / "masked", key=key, resume=True).faces == 9
    else:
        assert mask(raw, tmp_path / "masked", key=key, overwrite=True).faces == 9
