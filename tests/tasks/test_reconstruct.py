"""`reconstruct` end to end on small data: every input to every output, refusals, resuming, and what is not copied."""

from __future__ import annotations

import json
import os
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.models import write_embedder, write_mae
from helpers.ranks import end_of
from helpers.sources import smooth_face
from PIL import Image

from facemae_cli.data.images.codec import decode, encode_jpeg, encode_png
from facemae_cli.data.open import open_source
from facemae_cli.data.output import output
from facemae_cli.errors import AllRefused, InputError, UsageError
from facemae_cli.masking import patches
from facemae_cli.masking.levels import Level
from facemae_cli.masking.mixing import Mixing
from facemae_cli.tasks.convert import convert
from facemae_cli.tasks.mask import mask
from facemae_cli.tasks.reconstruct import ReconstructResult, reconstruct


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_mae(tmp_path_factory.mktemp("models") / "small"))


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """Ten masked faces of five people."""
    raw = tmp_path / "raw"
    for person in range(5):
        (raw / f"Person Number {person}").mkdir(parents=True)
        for photo in range(2):
            data = encode_jpeg(smooth_face(10 * person + photo))
            (raw / f"Person Number {person}" / f"{photo}.jpg").write_bytes(data)
    mask(raw, tmp_path / "masked", key=tmp_path / "facemae.key")
    return tmp_path / "masked"


def release(masked: Path, out: Path, model: str, **options: object) -> ReconstructResult:
    return reconstruct(masked, out, **{"model": model, "batch_size": "2", "precision": "fp32", **options})  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_masked_face_becomes_a_released_one_under_its_name(tmp_path: Path, masked: Path, model: str) -> None:
    out = tmp_path / "released"
    (masked / "#recycle").mkdir()
    (masked / "notes.txt").write_text("not a face")
    result = release(masked, out, model)
    assert (result.faces, result.faces_in, result.refused) == (10, 10, [])
    assert (result.as_json()["passed_over"], result.as_json()["ignored_files"]) == ({"#recycle": 1}, 1)
    assert (
        "passed over",
        "1 #recycle: what is deleted, hidden, the system's or beside a file of faces is not part of it",
    ) in result.summary()
    assert result.ratio == 0.75
    before, after = open_source(masked), open_source(out)
    names = [[(name.identity, name.photo.split(".")[0]) for name in map(s.name, range(10))] for s in (before, after)]
    assert names[0] == names[1]
    assert decode(after.read(0)).shape == (112, 112, 3)
    manifest = json.loads((out / "facemae.json").read_text())
    assert manifest["counts"] == {"in": 10, "out": 10, "refused": {}}
    assert manifest["model"] == {"kind": "mae", "sha256": result.model_sha256}
    assert manifest["names"] == "copied"
    assert manifest["key_id"] == json.loads((masked / "facemae.json").read_text())["key_id"] is not None
    assert manifest["strategy"] == "random"


def test_folder_and_rec_in_all_four_combinations_release_the_same_faces(
    tmp_path: Path, masked: Path, model: str
) -> None:
    release(masked, tmp_path / "a", model)
    mask(tmp_path / "raw", tmp_path / "masked.rec", key=tmp_path / "facemae.key")
    release(masked, tmp_path / "b.rec", model)
    release(tmp_path / "masked.rec", tmp_path / "c", model)
    release(tmp_path / "masked.rec", tmp_path / "d" / "train.rec", model)
    released = []
    for path in (tmp_path / "a", tmp_path / "b.rec", tmp_path / "c", tmp_path / "d"):
        source = open_source(path)
        faces = [(source.name(i).identity, source.name(i).photo.split(".")[0], source.read(i)) for i in range(10)]
        released.append({face[:2]: decode(face[2]).astype(int) for face in faces})
    for other in released[1:]:
        assert other.keys() == released[0].keys()
        # another order is another batch, so a last bit may fall otherwise
        assert max(np.abs(other[name] - image).max() for name, image in released[0].items()) <= 3


@pytest.mark.parametrize("packed", ["mixed.zip", "mixed.tar", "hub", "mixed.parquet"])
def test_mixtures_are_warped_however_they_are_packed(tmp_path: Path, masked: Path, model: str, packed: str) -> None:
    """The manifest that says so comes with them: in an archive, or beside the shards of a folder."""
    key, whom = tmp_path / "facemae.key", tmp_path / "whom.csv"
    mask(tmp_path / "raw", tmp_path / "mixed", key=key, protect=Level(Mixing(2, 2), 0.75), sources=whom)
    release(tmp_path / "mixed", tmp_path / "a", model)
    if packed in ("mixed.zip", "mixed.tar"):
        shutil.make_archive(str(tmp_path / "mixed"), packed[-3:], tmp_path, "mixed")
    else:
        (tmp_path / "hub/data").mkdir(parents=True)
        convert(tmp_path / "mixed", tmp_path / ("hub/data/mixed.parquet" if packed == "hub" else packed))
    release(tmp_path / packed, tmp_path / "b", model)
    of_folder, of_pack = files(tmp_path / "a"), files(tmp_path / "b")
    mixing = json.loads(of_pack["facemae.json"])["extra"]["mixing"]
    assert (mixing["people"], mixing["copies"], mixing["warp"]) == (2, 2, 1.0)
    assert of_pack == of_folder


def test_two_runs_give_the_same_bytes_and_png_is_what_the_model_said(tmp_path: Path, masked: Path, model: str) -> None:
    release(masked, tmp_path / "a", model, format="png")
    release(masked, tmp_path / "b", model, format="png")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert all(name.endswith((".png", ".json")) for name in files(tmp_path / "a") if name != "README.md")


def test_mixed_ratios_and_patterns_in_one_dataset(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "masked" / "p"
    folder.mkdir(parents=True)
    for number, (strategy, ratio) in enumerate([("random", 0.3), ("random", 0.9), ("eyes", 0.75), ("parts", None)]):
        order = np.random.default_rng(number).permutation(196)
        face = patches.apply(smooth_face(number), patches.hidden(strategy, order, ratio))
        (folder / f"{number}.png").write_bytes(encode_png(face))
    result = release(tmp_path / "masked", tmp_path / "out", model)
    assert result.faces == 4
    assert result.ratio == pytest.approx((59 + 176 + 147 + 160) / (4 * 196))


def test_what_lies_under_the_mask_cannot_matter(tmp_path: Path, masked: Path, model: str) -> None:
    """The hidden pixels are gone already; a face that brings some along is refused, not used."""
    path = next(masked.rglob("*.png"))
    face = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    face[..., :3][face[..., 3] == 0] = 7
    path.write_bytes(cv2.imencode(".png", face)[1].tobytes())
    result = release(masked, tmp_path / "out", model)
    assert [(item.reason, item.where) for item in result.refused] == [("colour-under-mask", str(path))]
    assert result.faces == 9


def test_a_raw_dataset_is_refused_as_a_whole_and_a_raw_face_by_name(tmp_path: Path, masked: Path, model: str) -> None:
    with pytest.raises(UsageError, match="holds faces without a mask: a raw face must never pass through"):
        release(tmp_path / "raw", tmp_path / "out", model)
    (masked / "stray").mkdir()
    (masked / "stray" / "raw.jpg").write_bytes(encode_jpeg(smooth_face(99)))
    result = release(masked, tmp_path / "out", model)
    assert [(item.reason, Path(item.where).name) for item in result.refused] == [("no-mask", "raw.jpg")]
    assert json.loads((tmp_path / "out" / "facemae.json").read_text())["counts"]["refused"] == {"no-mask": 1}


def test_faces_masked_elsewhere_need_their_colour(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "masked"
    folder.mkdir()
    for number in range(3):
        hidden = patches.hidden("random", np.random.default_rng(number).permutation(196))
        face = np.maximum(smooth_face(number), 30)
        face[patches.per_pixel(hidden, 112, 112)] = 0
        (folder / f"{number}.png").write_bytes(encode_png(face))
    with pytest.raises(UsageError, match="for faces masked elsewhere use --mask-color"):
        release(folder, tmp_path / "out", model)
    assert release(folder, tmp_path / "out", model, mask_color="000000").ratio == 0.75


@pytest.mark.parametrize("quality", [95, 75])
def test_squares_in_a_jpeg_with_subsampled_colour_are_found(tmp_path: Path, model: str, quality: int) -> None:
    """A quarter of them was once missed, and nearly black patches became face."""
    order = np.random.default_rng(quality).permutation(196)
    image = np.maximum(smooth_face(3), 40)
    image[patches.per_pixel(np.isin(np.arange(196), order[:147]), 112, 112)] = 0
    (tmp_path / "elsewhere/anna").mkdir(parents=True)
    Image.fromarray(image).save(tmp_path / "elsewhere/anna/1.jpg", quality=quality)
    result = release(tmp_path / "elsewhere", tmp_path / "released", model, mask_color="000000")
    assert (result.ratio, result.refused) == (0.75, [])


def test_nearly_whole_faces_do_not_pass(tmp_path: Path, model: str) -> None:
    """Three black rows; among faces that are masked, so that the run does not end with nothing to do."""
    rows, scattered = np.arange(196) < 42, np.random.default_rng(0).permutation(196) < 147
    for name, hidden in (("1.png", rows), ("2.png", scattered)):
        image = np.maximum(smooth_face(4), 40)
        image[patches.per_pixel(hidden, 112, 112)] = 0
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / name).write_bytes(encode_png(image))
    result = release(tmp_path / "elsewhere", tmp_path / "released", model, mask_color="000000")
    assert [item.reason for item in result.refused] == ["too-little-hidden"]
    (tmp_path / "elsewhere/1.png").unlink()
    assert release(tmp_path / "elsewhere", tmp_path / "more", model, mask_color="000000", min_hidden=0.7).ratio == 0.75
    for share in (0.1, 1.0):
        with pytest.raises(UsageError, match=r"--min-hidden .* must be from 0.2 to below 1"):
            release(tmp_path / "elsewhere", tmp_path / "none", model, min_hidden=share)


def test_wrong_options_and_models_are_one_clear_error(tmp_path: Path, masked: Path, model: str) -> None:
    out = tmp_path / "out"
    embedder = write_embedder(tmp_path / "embedder.onnx")
    bare = write_mae(tmp_path / "bare", weights=False)
    cases = [
        ({"model": "no-such-model"}, "neither a path nor a model of the zoo"),
        ({"model": str(tmp_path / "raw")}, "not a model"),
        ({"model": str(embedder)}, "kind embedder; one of kind mae is needed"),
        ({"model": str(bare)}, "an architecture without weights"),
        ({"batch_size": "0"}, "--batch-size '0'"),
        ({"format": "gif"}, "--format 'gif'"),
        ({"workers": 0}, "--workers 0"),
        ({"preview": out / "sheet.png"}, "--preview"),
        ({"device": "toaster"}, "'toaster' is not a device"),
    ]
    for options, message in cases:
        with pytest.raises((UsageError, InputError), match=message) as caught:
            release(masked, out, **{"model": model, **options})  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert not out.exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no faces"):
        release(tmp_path / "empty", out, model)
    with pytest.raises(UsageError):
        release(masked, masked / "inside", model)


def test_the_preview_shows_masked_and_released_faces(tmp_path: Path, masked: Path, model: str) -> None:
    release(masked, tmp_path / "out", model, preview=tmp_path / "sheet.png")
    sheet = decode((tmp_path / "sheet.png").read_bytes())
    assert sheet.shape[0] > 128
    assert sheet.shape[1] > 256


def test_the_preview_of_a_resumed_run_is_that_of_an_unbroken_one(
    tmp_path: Path, masked: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in its second unit, then again when all but the last step was done."""

    options = {"batch_size": "1", "preview": tmp_path / "sheet.png"}
    release(masked, tmp_path / "whole", model, **options)
    sheet = (tmp_path / "sheet.png").read_bytes()
    real, written = output.Output.write, []

    def fail(*arguments: object) -> None:
        written.append(arguments)
        if len(written) == 6:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    def fail_at_once(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    for place, name, how in ((output.Output, "write", fail), (output, "_put_in_place", fail_at_once)):
        (tmp_path / "sheet.png").unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, how)
            with pytest.raises(KeyboardInterrupt):
                release(masked, tmp_path / "out", model, resume=True, **options)
    (tmp_path / "sheet.png").unlink()
    assert release(masked, tmp_path / "out", model, resume=True, **options).faces == 10
    assert (tmp_path / "sheet.png").read_bytes() == sheet
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_killed_run_goes_on_to_the_same_bytes(
    tmp_path: Path, masked: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as by `kill -9` in the middle of the second unit, then at once, then resumed."""
    real, written = output.Output.write, count(1)

    def killed_at(face: int, **options: Any) -> None:
        def write(*arguments: Any) -> None:
            if next(written) == face:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments)

        monkeypatch.setattr(output.Output, "write", write)
        release(masked, tmp_path / "broken", model, batch_size="1", **options)

    release(masked, tmp_path / "whole", model, batch_size="1")
    out = tmp_path / "broken"
    for face, resume in ((6, False), (1, True)):
        assert end_of(lambda face=face, resume=resume: killed_at(face, resume=resume)) == -signal.SIGKILL
        assert not out.exists()
    result = release(masked, out, model, batch_size="1", resume=True)
    assert result.faces == 10
    assert files(out) == files(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["broken", "facemae.key", "masked", "raw", "whole"]


def test_resuming_otherwise_than_begun_is_refused(tmp_path: Path, masked: Path, model: str, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from facemae_cli.data.output.output import Output

    def fail(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Output, "finish", fail)
        with pytest.raises(KeyboardInterrupt):
            release(masked, tmp_path / "out", model)
    with pytest.raises(UsageError, match="batch_size"):
        release(masked, tmp_path / "out", model, batch_size="4", resume=True)
    assert release(masked, tmp_path / "out", model, resume=True).faces == 10


def test_nothing_is_made_where_every_face_is_refused(tmp_path: Path, masked: Path, model: str) -> None:
    release(masked, tmp_path / "old", model)
    before = files(tmp_path / "old")
    for photo in masked.rglob("*.png"):
        photo.write_bytes(photo.read_bytes()[:-9])
    for out, overwrite in (("new", False), ("new.rec", False), ("old", True)):
        with pytest.raises(AllRefused, match="every input is refused"):
            release(masked, tmp_path / out, model, overwrite=overwrite, preview=tmp_path / "sheet.png")
    assert files(tmp_path / "old") == before
    assert sorted(os.listdir(tmp_path)) == ["facemae.key", "masked", "old", "raw"]


def test_a_preview_is_its_owners_and_replaces_nothing(tmp_path: Path, masked: Path, model: str) -> None:
    for place in ("facemae.key", "masked/x.png", "new/x.png", "raw"):
        with pytest.raises(UsageError, match="--preview"):
            release(masked, tmp_path / "new", model, overwrite=True, preview=tmp_path / place)
    release(masked, tmp_path / "new", model, preview=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match=r"sheet\.png exists"):
        release(masked, tmp_path / "newer", model, preview=tmp_path / "sheet.png")


def test_the_licence_of_the_model_is_said_where_the_release_goes(tmp_path: Path, masked: Path, model: str) -> None:
    assert release(masked, tmp_path / "a", model).license is None
    folder = write_mae(tmp_path / "licensed", license="CC BY-NC 4.0; as the faces")
    result = release(masked, tmp_path / "b", str(folder))
    assert ("licence of the model", "CC BY-NC 4.0; as the faces") in result.summary()
    assert result.as_json()["model"]["license"] == "CC BY-NC 4.0; as the faces"
    said = json.loads((tmp_path / "b" / "facemae.json").read_text())["model"]
    assert said["license"] == "CC-BY-NC-4.0-as-the-faces"
    assert "license" not in json.loads((tmp_path / "a" / "facemae.json").read_text())["model"]
