"""What each option of `mask` changes, and what it must leave alone."""

import hashlib
import json
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.maskcases import (
    OTHER,
    SECRET,
    Listener,
    assert_masked,
    encoded,
    faces,
    key_file,
    make_rec,
    pixels,
    put,
    slow_hidden,
    tree,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facemae_cli.data.faces import Name
from facemae_cli.data.open import open_source
from facemae_cli.data.output.staging import Staging
from facemae_cli.errors import UsageError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.key import Key
from facemae_cli.masking.pseudonyms import recover_names
from facemae_cli.tasks.mask import mask


@given(
    changes=st.lists(st.tuples(st.integers(0, 146), st.integers(0, 255)), min_size=1, max_size=8),
    seed=st.integers(0, 9),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_a_seed_hidden_pixels_influence_nothing(tmp_path_factory, changes, seed):
    folder = tmp_path_factory.mktemp("seeded")
    secret = key_file(folder / "the.key")
    image = pixels(3, 28, 28)
    payload = b"anna\x001.png"
    hidden = sorted(slow_hidden(hashlib.sha256(b"facemae mask seed %d" % seed).digest(), image, payload, 147))
    other = image.copy()
    for which, value in changes:
        row, column = divmod(hidden[which], 14)
        other[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = value
    for number, face in enumerate((image, other)):
        put(folder / f"raw{number}" / "anna" / "1.png", encoded(face, ".png"))
        mask(folder / f"raw{number}", folder / f"masked{number}.rec", key=secret, seed=seed)
    assert tree(folder / "masked0.rec") == tree(folder / "masked1.rec")


def test_without_a_seed_the_mask_follows_the_pixels(tmp_path, key):
    image = pixels(3, 28, 28)
    other = image.copy()
    other[0, 0, 0] ^= 1
    for name, face in (("1.png", image), ("2.png", image), ("3.png", other)):
        put(tmp_path / "raw" / "anna" / name, encoded(face, ".png"))
    mask(tmp_path / "raw", tmp_path / "masked", key=key, keep_names=True)
    alphas = {name.photo: face[..., 3].tobytes() for name, face in faces(tmp_path / "masked").items()}
    assert alphas["1"] == alphas["2"]
    assert alphas["1"] != alphas["3"]


def test_a_seed_replaces_the_key_for_masks_alone(raw, key, tmp_path):
    other = key_file(tmp_path / "other.key", OTHER)
    mask(raw, tmp_path / "a", key=key, seed=7)
    mask(raw, tmp_path / "b", key=other, seed=7)
    mask(raw, tmp_path / "c", key=key, seed=8)
    names = [open_source(raw).name(i) for i in range(9)]
    alphas = {}
    for out, secret in (("a", SECRET), ("b", OTHER), ("c", SECRET)):
        who = recover_names(names, Key(secret))
        alphas[out] = {who[name]: face[..., 3].tobytes() for name, face in faces(tmp_path / out).items()}
    assert alphas["a"] == alphas["b"]
    assert all(alphas["a"][name] != alphas["c"][name] for name in names)
    assert json.loads((tmp_path / "a" / "facemae.json").read_text())["seed"] is True


def test_a_seed_is_said_to_be_no_secret(raw, key, tmp_path):
    listener = Listener()
    mask(raw, tmp_path / "masked", key=key, seed=1, progress=listener)
    assert [line for line in listener.lines if "not secret" in line]


@pytest.mark.parametrize("options", [{"seed": 1}, {"strategy": "parts"}])
def test_no_key_is_made_where_none_is_needed(raw, tmp_path, options):
    result = mask(raw, tmp_path / "masked", key=tmp_path / "no.key", keep_names=True, **options)
    assert result.key_id is None
    assert not (tmp_path / "no.key").exists()
    assert json.loads((tmp_path / "masked" / "facemae.json").read_text())["key_id"] is None


def test_a_missing_key_is_made_and_used_again(raw, tmp_path):
    listener = Listener()
    one = mask(raw, tmp_path / "one", key=tmp_path / "new.key", progress=listener)
    two = mask(raw, tmp_path / "two", key=tmp_path / "new.key", progress=listener)
    assert one.key_id == two.key_id == Key.load(tmp_path / "new.key").key_id
    assert len([line for line in listener.lines if "made the key" in line]) == 1
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.parametrize("out", ["masked", "masked.rec"])
def test_no_key_is_made_where_a_stopped_run_had_another(raw, tmp_path, key, out):
    class Stop(Listener):
        def advance(self, count=1, note=""):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mask(raw, tmp_path / out, key=key, progress=Stop())
    new = tmp_path / "new.key"
    for resume in (False, True):
        with pytest.raises(UsageError, match=r"facemae-part is left from .*, and there is no key .*new\.key"):
            mask(raw, tmp_path / out, key=new, resume=resume)
        assert not new.exists()
    assert mask(raw, tmp_path / out, key=new, resume=True, overwrite=True).key_id == Key.load(new).key_id


def test_no_key_is_made_where_another_process_is_at_the_output(raw, tmp_path):
    with closing(Staging(tmp_path / "masked.facemae-part")), pytest.raises(UsageError, match="in use by another"):
        mask(raw, tmp_path / "masked", key=tmp_path / "new.key", overwrite=True)
    assert not (tmp_path / "new.key").exists()


def test_a_key_that_is_a_link_to_nothing_is_not_made(raw, tmp_path):
    (tmp_path / "new.key").symlink_to(tmp_path / "stick" / "the.key")
    with pytest.raises(UsageError, match=r"new.key is a link to .*the.key, where nothing is: bring that back"):
        mask(raw, tmp_path / "masked", key=tmp_path / "new.key")
    assert not (tmp_path / "masked").exists()


def test_kept_names_and_order(raw, tmp_path, key):
    mask(raw, tmp_path / "masked", key=key, keep_names=True)
    expected = [str(file.relative_to(raw).with_suffix(".png")) for file in raw.rglob("*.*")]
    assert sorted(file for file in tree(tmp_path / "masked") if file.endswith(".png")) == sorted(expected)
    rec = make_rec(tmp_path / "source.rec")
    (tmp_path / "source.lst").unlink()
    mask(rec, tmp_path / "masked.rec", key=key, keep_names=True)
    names = [line.split("\t")[2] for line in (tmp_path / "masked.lst").read_text().splitlines()]
    assert names == [f"{label}/{key}.png" for key, label in enumerate([0] * 4 + [1] * 3 + [2] * 2, 1)]


@pytest.mark.parametrize("out", ["masked", "masked.rec"])
def test_kept_names_that_become_one_are_refused(tmp_path, key, out):
    put(tmp_path / "raw" / "anna" / "1.jpg", encoded(pixels(1)))
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(2), ".png"))
    put(tmp_path / "raw" / "bert" / "1.png", encoded(pixels(3), ".png"))
    result = mask(tmp_path / "raw", tmp_path / out, key=key, keep_names=True)
    assert (result.faces, result.identities) == (2, 2)
    assert [(Path(item.where).name, item.reason) for item in result.refused] == [("1.png", "same-name")]
    both = mask(tmp_path / "raw", tmp_path / f"keyed-{out}", key=key)
    assert (both.faces, both.refused) == (3, [])


def test_names_equal_but_for_their_unicode_form_are_one_name(tmp_path, key):
    put(tmp_path / "raw" / "anna" / "caf\u00e9.png", encoded(pixels(1), ".png"))
    put(tmp_path / "raw" / "anna" / "cafe\u0301.png", encoded(pixels(2), ".png"))
    if len(list((tmp_path / "raw" / "anna").iterdir())) == 1:
        pytest.skip("this file system already takes the two for one")
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key)
    assert (result.faces, [item.reason for item in result.refused]) == (1, ["same-name"])


def test_ratios_nest_over_releases(raw, key, tmp_path):
    for ratio in (0.3, 0.75, 0.9):
        result = mask(raw, tmp_path / str(ratio), key=key, ratio=ratio)
        assert result.ratio == round(196 * ratio) / 196
    low, middle, high = (faces(tmp_path / ratio) for ratio in ("0.3", "0.75", "0.9"))
    for name in low:
        assert not (low[name][..., 3] < middle[name][..., 3]).any()
        assert not (middle[name][..., 3] < high[name][..., 3]).any()


@pytest.mark.parametrize(("strategy", "count"), [("eyes", 147), ("mouth", 147), ("parts", 160)])
def test_strategies(raw, key, tmp_path, strategy, count):
    listener = Listener()
    result = mask(raw, tmp_path / "masked", key=key, strategy=strategy, progress=listener)
    assert result.ratio == count / 196
    for face in faces(tmp_path / "masked").values():
        hidden = masking.read_mask(face)
        assert hidden.sum() == count
        for patches, gone in ((masking.EYES, strategy == "eyes"), (masking.MOUTH, strategy == "mouth")):
            if gone:
                assert hidden[patches].all()
        if strategy == "parts":
            assert np.flatnonzero(~hidden).tolist() == sorted(masking.PARTS.tolist())
    assert [line for line in listener.lines if "show more of the face" in line]


def test_size_resizes_the_whole_face_and_hides_the_same_patches(tmp_path, key):
    put(tmp_path / "raw" / "anna" / "1.png", encoded(pixels(1), ".png"))
    put(tmp_path / "raw" / "anna" / "2.png", encoded(pixels(2, 300, 280), ".png"))
    put(tmp_path / "raw" / "anna" / "3.png", encoded(pixels(3, 100, 90), ".png"))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key, size=112, keep_names=True)
    assert (result.faces, result.resized) == (3, 2)
    assert "visible pixels mix across patch edges" in result.as_json()["notes"][0]
    shrunk = cv2.resize(pixels(2, 300, 280), (112, 112), interpolation=cv2.INTER_AREA)
    grown = cv2.resize(pixels(3, 100, 90), (112, 112), interpolation=cv2.INTER_CUBIC)
    found = faces(tmp_path / "masked")
    raws = {"1": pixels(1), "2": pixels(2, 300, 280), "3": pixels(3, 100, 90)}
    for photo, seen in (("1", pixels(1)), ("2", shrunk), ("3", grown)):
        hidden = slow_hidden(SECRET, raws[photo], raws[photo].tobytes(), 147)
        assert_masked(found[Name("anna", photo)], seen, hidden)
    assert json.loads((tmp_path / "masked" / "facemae.json").read_text())["extra"] == {"resized": 2, "size": 112}
    assert mask(tmp_path / "raw", tmp_path / "same", key=key).resized == 0
