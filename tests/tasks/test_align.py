"""`align` end to end: photos in, aligned crops out, what cannot be used counted by its reason."""

from __future__ import annotations

import io
import json
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.dots import DotDetector, dotted_face
from helpers.maskcases import Listener, encoded, key_file, listed, put, tree
from helpers.scenes import one_face, several
from PIL import Image

import facemae_cli
from facemae_cli.app import main
from facemae_cli.data.alignment.template import SIZE
from facemae_cli.data.faces import Refusal
from facemae_cli.data.images.codec import decode
from facemae_cli.data.manifest import read_manifest
from facemae_cli.data.open import open_source
from facemae_cli.data.output.output import Made, Output
from facemae_cli.errors import FaceError, InputError, UsageError
from facemae_cli.tasks import align as module
from facemae_cli.tasks.align import align
from facemae_cli.tasks.withdraw import withdraw

FACES = [dotted_face(n) for n in range(3)]


@pytest.fixture(autouse=True)
def _dots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The detector of dotted faces in YuNet's place."""
    monkeypatch.setattr(module, "load_detector", lambda path: DotDetector())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two people's photos, one nested, one with two faces, one turned by 25 degrees, and photos of each fault."""
    folder = tmp_path / "photos"
    pictures = {
        "ann/1.jpg": one_face(FACES[0], scale=1.5).photo,
        "ann/2.jpg": one_face(FACES[0], angle=25).photo,
        "family/bob/beach.png": several([FACES[1], FACES[2]], [1.8, 1], [0, 10]).photo,
        "family/bob/empty.jpg": np.full((300, 300, 3), 128, np.uint8),
        "family/bob/far.jpg": one_face(FACES[1], scale=0.4).photo,
        "family/bob/edge.jpg": one_face(FACES[1], middle=(20, 240)).photo,
        "family/bob/near.jpg": one_face(FACES[1], middle=(53, 240)).photo,
    }
    for name, picture in pictures.items():
        put(folder / name, encoded(picture, name[-4:]))
    put(folder / "ann/broken.jpg", b"text")
    return folder


def names(path: Path) -> list[tuple[str | None, str]]:
    source = open_source(path)
    assert not source.refused
    assert all(decode(source.read(index)).shape == (SIZE, SIZE, 3) for index in range(len(source)))
    return [tuple(source.name(index)) for index in range(len(source))]


def test_photos_become_crops_under_their_names(photos: Path, tmp_path: Path) -> None:
    result = align(str(photos), tmp_path / "raw")
    assert names(tmp_path / "raw") == [
        ("ann", "1.jpg"),
        ("ann", "2.jpg"),
        ("family/bob", "beach.jpg"),
        ("family/bob", "near.jpg"),
    ]
    value = result.as_json()
    assert value["photos"] == {
        "in": 8,
        "several_faces": 1,
        "refused": {"cut-off": 1, "no-face": 1, "not-an-image": 1, "too-small": 1},
    }
    assert value["faces"] == {"out": 4, "doubtful": 1, "doubts": {"near-border": 1}}
    manifest = read_manifest(tmp_path / "raw")
    assert manifest is not None
    assert (manifest.command, manifest.model) == ("align", {"kind": "detector", "sha256": DotDetector.sha256})
    assert manifest.counts["out"] == 4
    assert not any(name in manifest.as_json() for name in ("ann", "bob", str(tmp_path)))


def test_all_faces_of_a_photo(photos: Path, tmp_path: Path) -> None:
    result = align(photos, tmp_path / "raw.rec", faces="all")
    assert ("family/bob", "beach.face-2.jpg") in names(tmp_path / "raw.rec")
    assert result.faces == 5


def test_photos_with_several_faces_are_refused_where_asked(photos: Path, tmp_path: Path) -> None:
    result = align(photos, tmp_path / "raw", faces="refuse")
    assert [item.where for item in result.refused if item.reason == "several-faces"] == [
        str(photos / "family/bob/beach.png")
    ]
    assert (result.several, result.faces) == (1, 3)


def test_a_photo_taken_on_its_side_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    picture = one_face(FACES[0]).photo
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret caption"
    held = io.BytesIO()
    Image.fromarray(np.rot90(picture)).save(held, "JPEG", quality=95, exif=exif)
    put(tmp_path / "photos/ann/turned.jpg", held.getvalue())
    put(tmp_path / "photos/ann/upright.jpg", encoded(picture))
    align(tmp_path / "photos", tmp_path / "raw", format="png")
    turned, upright = (cv2.imread(str(tmp_path / f"raw/ann/{name}.png")) for name in ("turned", "upright"))
    assert np.abs(turned.astype(int) - upright).mean() < 4
    assert b"secret" not in (tmp_path / "raw/ann/turned.png").read_bytes()


def test_a_stopped_run_goes_on_to_the_same_bytes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(photos / "family/bob/near.jpg", photos / "ann/0.jpg")  # doubtful, and aligned before the stop
    align(photos, tmp_path / "whole", doubtful=tmp_path / "whole.png")

    class Stop(Listener):
        def advance(self, count: int = 1, note: str = "") -> None:
            super().advance(count, note)
            if self.done == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(module, "UNIT", 2)
    with pytest.raises(KeyboardInterrupt):
        align(photos, tmp_path / "raw", progress=Stop())
    again = Listener()
    result = align(photos, tmp_path / "raw", resume=True, doubtful=tmp_path / "raw.png", progress=again)
    assert again.stages[0][2] > 0
    assert (tmp_path / "raw.png").read_bytes() == (tmp_path / "whole.png").read_bytes()
    assert tree(tmp_path / "raw") == tree(tmp_path / "whole")
    assert result.as_json()["faces"] == {"out": 5, "doubtful": 2, "doubts": {"near-border": 2}}


def test_doubtful_crops_are_shown_to_their_owner_alone(photos: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "doubtful.png"
    assert ("doubtful", f"1 (1 near-border), see {sheet}") in align(photos, tmp_path / "raw", doubtful=sheet).summary()
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600
    assert decode(sheet.read_bytes()).shape[2] == 3
    with pytest.raises(UsageError, match="--doubtful"):
        align(photos, tmp_path / "again", doubtful=sheet)
    with pytest.raises(UsageError, match="is inside the dataset"):
        align(photos, tmp_path / "again", doubtful=tmp_path / "again" / "sheet.png")
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("out", ["raw", "raw.rec"])
def test_photos_whose_names_differ_in_their_suffix_stay_several(photos: Path, tmp_path: Path, out: str) -> None:
    for name in ("z.jpg", "z.jpeg", "z.png"):
        put(photos / "family/eve" / name, encoded(one_face(FACES[0]).photo, Path(name).suffix))
    align(photos, tmp_path / out)
    made = open_source(tmp_path / out)
    assert not [*made.refused]
    assert {name for who, name in names(tmp_path / out) if who == "family/eve"} == {"z.jpg", "z.jpeg", "z.png.jpg"}


def test_faces_go_the_way_of_every_output_and_a_refused_one_is_on_no_sheet(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second face of `beach` has another name, since its own is taken; `near`, the doubtful one, is not written."""
    put(photos / "family/bob/beach.face-2.jpg", encoded(one_face(FACES[0]).photo))
    units: list[list[Made]] = []
    write_unit = Output.write_unit

    def seen(output: Output, made: Iterable[Made], counts: Mapping[str, int]) -> list[Refusal]:
        units.append([*made])
        refused = [each._replace(error=FaceError("bad-name", "")) for each in units[-1] if "near" in each.where]
        return write_unit(output, [*(each for each in units[-1] if "near" not in each.where), *refused], counts)

    monkeypatch.setattr(Output, "write_unit", seen)
    result = align(photos, tmp_path / "raw", faces="all", doubtful=tmp_path / "doubtful.png")
    assert [len(unit) for unit in units] == [10]
    assert not [item for item in result.refused if item.reason == "same-name"]
    assert ("family/bob", "beach.face-2_.jpg") in names(tmp_path / "raw")
    assert (result.faces, result.several, result.doubtful, result.sheet) == (5, 1, 0, None)
    assert not (tmp_path / "doubtful.png").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"faces": "both"}, "--faces"),
        ({"format": "gif"}, "--format 'gif'"),
        ({"workers": 0}, "--workers 0"),
        ({"input": "nowhere"}, "nowhere does not exist"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_made(
    photos: Path, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises((UsageError, InputError), match=told):
        align(**{"input": photos, "out": tmp_path / "raw", **options})
    assert not (tmp_path / "raw").exists()


def test_where_no_face_is_found_nothing_is_written(tmp_path: Path) -> None:
    put(tmp_path / "photos/ann/1.jpg", encoded(np.full((200, 200, 3), 99, np.uint8)))
    with pytest.raises(InputError, match=r"every input is refused \(1 no-face\)"):
        align(tmp_path / "photos", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_masked_faces_are_not_looked_at_and_crops_are_told(photos: Path, tmp_path: Path) -> None:
    align(photos, tmp_path / "raw")
    facemae_cli.mask(tmp_path / "raw", tmp_path / "masked", key=key_file(tmp_path / "key"))
    with pytest.raises(UsageError, match="masked dataset"):
        align(tmp_path / "masked", tmp_path / "again")
    told = Listener()
    align(tmp_path / "raw", tmp_path / "again", progress=told)
    assert any("look aligned" in line for line in told.lines)


def test_the_command(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["align", "-i", str(photos), "-o", str(tmp_path / "raw"), "--faces", "all", "--json"]) == 3
    value = json.loads(capsys.readouterr().out)
    assert (value["command"], value["faces"]["out"], len(value["refused"])) == ("align", 5, 4)
    assert main(["align", "-i", str(photos), "-o", str(tmp_path / "raw")]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.faces
def test_yunet_brings_real_faces_back_to_where_they_were(
    faces_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    source = open_source(faces_root / "private")
    given = {}
    for number in range(0, 60, 6):
        face = decode(source.read(number))
        given[f"{number}.png"] = face
        scene = one_face(face, (500, 600), scale=1 + number / 30, angle=number - 30, seed=number)
        put(tmp_path / "photos/x" / f"{number}.png", encoded(scene.photo, ".png"))
    result = align(tmp_path / "photos", tmp_path / "raw", detector=faces_root / "yunet.onnx", format="png")
    assert result.faces == len(given)
    alike = []
    for name, face in given.items():
        inner = np.s_[28:-28, 28:-28]
        crop = decode((tmp_path / "raw/x" / name).read_bytes())[inner]
        alike.append(np.corrcoef(crop.ravel(), face[inner].ravel())[0, 1])
    assert min(alike) > 0.5
    assert np.median(alike) > 0.85


def test_whoever_was_withdrawn_from_the_crops_does_not_come_back_unseen(photos: Path, tmp_path: Path) -> None:
    told = Listener()
    align(photos, tmp_path / "raw")
    withdraw([tmp_path / "raw"], people=listed(tmp_path, "ann"))
    align(photos, tmp_path / "raw", overwrite=True, progress=told)
    assert [line for line in told.lines if line.startswith("2 images were withdrawn from")]
