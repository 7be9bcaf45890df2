"""`inspect`: what a path is, told from files made here by hand."""

from __future__ import annotations

import io
import pickle
from itertools import product
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from facemae_cli import __version__
from facemae_cli.data.images.codec import encode_jpeg, encode_png
from facemae_cli.data.recordio.records import frame, pack_header
from facemae_cli.errors import InputError, UsageError
from facemae_cli.masking import patches
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.inspect import inspect
from facemae_cli.tasks.mask import mask

PHOTOS = [*product((f"ann{number}" for number in range(20)), (1, 2))]  # enough to sample pairs


def face(seed: int, size: int = 112) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (size, size, 3), np.uint8)


def masked(seed: int, hidden: int) -> bytes:
    return encode_png(patches.apply(face(seed), np.arange(196) < hidden))


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_a_folder(tmp_path):
    files = {
        "ann/1.jpg": encode_jpeg(face(1)),
        "ann/2.png": encode_png(face(2)),
        "bob/1.jpg": encode_jpeg(face(3, 128)),
        "loose.jpg": encode_jpeg(face(4)),
        "bob/readme.txt": b"no image",
        "bob/cut.jpg": encode_jpeg(face(5))[:-2],
        "pairs.txt": b"ann\t1\t2\n",
    }
    result = inspect(put(tmp_path, files))
    assert (result.kind, result.faces, result.people, result.loose, result.not_read.ignored) == ("folder", 4, 2, 1, 1)
    assert dict(result.sizes) == {"112x112": 3, "128x128": 1}
    assert dict(result.formats) == {"jpeg": 3, "png": 1}
    assert dict(result.photos) == {1: 1, 2: 1}
    assert [(item.where, item.reason) for item in result.refused] == [(str(tmp_path / "bob/cut.jpg"), "truncated")]
    assert result.image_bytes == sum(len(files[name]) for name in ("ann/1.jpg", "ann/2.png", "bob/1.jpg", "loose.jpg"))
    assert result.ratios() is None
    assert any("pairs.txt" in note for note in result.notes)
    assert any("1 faces are not 112x112" in note for note in result.notes)


def jpeg_420(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", subsampling=2)
    return buffer.getvalue()


def test_what_mask_would_refuse_or_remark_on_is_told(tmp_path):
    scene = np.zeros((300, 400, 3), np.uint8)
    files = {"images/1.jpg": jpeg_420(face(1)), "images/2.png": encode_png(face(2)), "images/3.png": encode_png(scene)}
    files |= {"images/@eaDir/1.jpg": b"a thumbnail"}
    result = inspect(put(tmp_path, files))
    assert (result.faces, result.subsampled, result.not_crops, result.not_read.passed_over) == (3, 1, 1, {"@eaDir": 1})
    assert {key: result.as_json()[key] for key in ("subsampled", "not_crops", "passed_over")} == {
        "subsampled": 1,
        "not_crops": 1,
        "passed_over": {"@eaDir": 1},
    }
    told = "\n".join(value for _, value in result.summary())
    for part in ("1 are not aligned face crops", "`facemae align`", "2 sizes", "one person has all 3 photos", "4:2:0"):
        assert part in told
    assert "1 @eaDir: what is deleted, hidden, the system's or beside" in told


def test_masked_faces_are_measured(tmp_path):
    files = {"a/1.png": masked(1, 147), "a/2.png": masked(2, 49), "a/3.png": encode_png(face(3))}
    result = inspect(put(tmp_path, files))
    assert dict(result.hidden) == {147: 1, 49: 1}
    assert result.ratios() == {"min": 0.25, "mean": 0.5, "max": 0.75}
    assert any("mixed" in note for note in result.notes)
    assert ("masked", "2 of 3, 25.0 to 75.0 % of each hidden") in result.summary()
    opaque = np.dstack([face(4), np.full((112, 112), 255, np.uint8)])
    put(tmp_path, {"a/4.png": encode_png(opaque)})
    assert inspect(tmp_path).hidden.total() == 2


def test_masks_that_hide_nothing_well_are_refused(tmp_path):
    under = patches.apply(face(1), np.arange(196) < 147)
    under[0, 0, 0] = 1
    half = patches.apply(face(1), np.arange(196) < 147)
    half[111, 111, 3] = 128
    result = inspect(put(tmp_path, {"a/1.png": encode_png(under), "a/2.png": encode_png(half)}))
    assert [item.reason for item in result.refused] == ["colour-under-mask", "half-transparent"]


def test_a_flip_inside_an_image_is_found(tmp_path):
    data = bytearray(encode_png(face(1)))
    data[len(data) // 2] ^= 1
    result = inspect(put(tmp_path, {"a/1.png": bytes(data), "a/2.png": encode_png(face(2))}))
    assert (result.faces, [item.reason for item in result.refused]) == (1, ["corrupt"])


def rec(folder: Path, *, prop: str | None = None) -> Path:
    images = [pack_header(0, float(n // 2), n + 1) + encode_jpeg(face(n)) for n in range(4)]
    header = pack_header(2, [5.0, 5.0], 0)
    (folder / "train.rec").write_bytes(b"".join(map(frame, [header, *images])))
    if prop is not None:
        (folder / "property").write_text(prop)
    return folder


def test_a_rec_without_sidecars(tmp_path):
    result = inspect(rec(tmp_path))
    assert (result.kind, result.faces, result.people, result.refused) == ("rec", 4, 2, [])
    assert result.about == {"layout": "insightface", "sidecars": []}
    assert len(result.notes) == 2
    assert result.as_json()["layout"] == "insightface"


def test_a_wrong_index_is_remarked_on_and_no_face_is_refused_for_it(tmp_path):
    (rec(tmp_path) / "train.idx").write_text("0\t0\n1\t40\n")
    result = inspect(tmp_path)
    assert (result.faces, result.refused) == (4, [])
    assert [note for note in result.notes if note.startswith("its .idx and the file disagree in 3 places (")]


@pytest.mark.parametrize(
    ("prop", "note"),
    [
        ("2,112,112\nmore\n", None),
        ("3,112,112\n", "says 3 people of 112x112 pixels, the images say 2 of 112x112"),
        ("2,112,96\n", "says 2 people of 96x112 pixels"),
        ("what\n", "not `identities,height,width`"),
    ],
)
def test_property_is_held_to_the_images(tmp_path, prop, note):
    notes = [each for each in inspect(rec(tmp_path, prop=prop)).notes if "property" in each]
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


def test_damage_of_a_rec_is_listed(tmp_path):
    data = bytearray((rec(tmp_path) / "train.rec").read_bytes())
    data[40] ^= 1
    (tmp_path / "train.rec").write_bytes(data)
    result = inspect(tmp_path)
    assert result.faces == 3
    assert [(item.where, item.reason) for item in result.refused] == [
        (f"{tmp_path / 'train.rec'} at byte 40", "bad-magic")
    ]


def test_a_pack(tmp_path):
    images = [encode_jpeg(face(n)) for n in range(3)]
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(([images[0], images[1], images[0], images[2]], [True, False]), 2))
    result = inspect(path)
    assert (result.kind, result.faces, result.pairs) == ("pack", 3, (1, 1))
    assert result.as_json()["pairs"] == {"same": 1, "different": 1}
    assert ("pairs", "1 of one person, 1 of two") in result.summary()


def test_json_and_summary_fit_each_other(tmp_path):
    result = inspect(put(tmp_path, {"ann/1.jpg": encode_jpeg(face(1)), "ann/cut.jpg": encode_jpeg(face(2))[:99]}))
    value = result.as_json()
    assert value["faces"] == {"readable": 1, "refused": {"truncated": 1}}
    assert value["people_by_photos"] == {"1": 1}
    assert value["manifest"] is None
    assert ("faces", "1 readable, 1 refused") in result.summary()


def test_what_cannot_be_inspected(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "none")
    with pytest.raises(UsageError, match="--workers 0"):
        inspect(tmp_path, workers=0)
    assert inspect(tmp_path).faces == 0
    assert ("people", "none named") in inspect(tmp_path).summary()


def test_faces_that_the_lst_does_not_name_are_told(tmp_path):
    records = [frame(pack_header(0, 1.0, key) + encode_jpeg(face(key))) for key in (1, 2)]
    (tmp_path / "a.rec").write_bytes(b"".join(records))
    (tmp_path / "a.lst").write_text("1\t1\tann/1.jpg\n2\t7\tann/2.jpg\n")
    assert any(".lst does not name 1 of 2 faces" in note for note in inspect(tmp_path / "a.rec").notes)
    (tmp_path / "a.lst").write_text("1\t1\tann\\1.jpg\n2\t1\t.\\ann\\2.jpg\n")
    assert not any(".lst" in note for note in inspect(tmp_path / "a.rec").notes)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], None),
        (["0.tar"], "it holds an archive, which is not opened: give that, or unpack it"),
        (["train/0.tar", "train/1.TAR.gz", "x.zip"], "it holds 3 archives, which are not opened: give one of them, or"),
    ],
)
def test_where_faces_may_be_is_said_of_a_folder_without_any(tmp_path, names, said):
    put(tmp_path / "wds", dict.fromkeys(names, b"packed") | {"info.json": b"{}"})
    with ZipFile(tmp_path / "wds.zip", "w") as archive:
        for name in [*names, "info.json"]:
            archive.write(tmp_path / "wds" / name, name)
    for place in (tmp_path / "wds", tmp_path / "wds.zip"):
        notes = inspect(place).notes
        assert notes[0] == "it holds no faces"
        assert [note for note in notes if "archive" in note] == notes[1:]
        assert all(note.startswith(said or "nothing") for note in notes[1:])
        assert len(notes) == 1 + (said is not None)
        with pytest.raises(
            InputError, match=rf"{place.name} holds no faces; {said or '--in takes a folder of images'}"
        ):
            mask(place, tmp_path / "masked", key=tmp_path / "new.key")
    assert not (tmp_path / "new.key").exists()


def test_archives_beside_faces_are_told_of(tmp_path):
    result = inspect(put(tmp_path, {"ann/1.jpg": encode_jpeg(face(1)), "bob.zip": b"packed"}))
    assert [note for note in result.notes if "archive" in note]
    assert result.faces == 1
    assert "it holds no faces" not in result.notes


@pytest.mark.parametrize("out", ["x.bin", "lfw/pairs.txt", "x.rec", "x"])
def test_who_made_it_is_said_of_every_form(tmp_path, out):
    photos = {f"{who}/{who}_000{number}.png": encode_png(face(seed)) for seed, (who, number) in enumerate(PHOTOS)}
    convert(put(tmp_path / "raw", photos), tmp_path / out)
    result = inspect(tmp_path / out)
    assert result.manifest is not None
    assert ("made by", f"facemae {__version__} convert") in result.summary()
