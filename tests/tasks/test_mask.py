"""`mask` end to end: exact pixels, keyed names and order, equal bytes also after a stop, nothing of the source left."""

import hashlib
import hmac
import json
import struct

import cv2
import numpy as np
import pytest
from helpers.maskcases import (
    OTHER,
    PEOPLE,
    SECRET,
    Listener,
    assert_masked,
    encoded,
    faces,
    key_file,
    make_rec,
    photo_that_tells,
    pixels,
    put,
    rgba,
    slow_hidden,
    slow_name,
    tree,
)

from facemae_cli.data.faces import Name
from facemae_cli.data.images.codec import decode, probe, unblended
from facemae_cli.data.open import open_source
from facemae_cli.errors import UsageError
from facemae_cli.masking import job
from facemae_cli.masking.key import Key
from facemae_cli.masking.pseudonyms import recover_names, without_suffix
from facemae_cli.tasks.mask import mask


def test_every_face_is_masked_bit_by_bit_as_the_format_says(raw, key, tmp_path):
    result = mask(raw, tmp_path / "masked", key=key)
    found = faces(tmp_path / "masked")
    assert len(found) == result.faces == 9
    for person, count in PEOPLE.items():
        for photo in range(count):
            file = f"snap {photo}.{'png' if photo == 1 else 'jpg'}"
            stored = cv2.imread(str(raw / person / file), cv2.IMREAD_COLOR)[..., ::-1]
            name = Name(slow_name(SECRET, b"identity", person), slow_name(SECRET, b"photo", f"{person}\0{file}"))
            assert_masked(found[name], stored, slow_hidden(SECRET, stored, stored.tobytes(), 147))


def test_the_result_and_the_manifest_say_what_was_done(raw, key, tmp_path):
    listener = Listener()
    (raw / "notes.txt").write_text("no image")
    result = mask(raw, tmp_path / "masked", key=key, progress=listener)
    counted = result.faces_in, result.faces, result.identities, result.refused, result.not_read.ignored
    assert counted == (9, 9, 3, [], 1)
    assert (result.ratio, result.strategy, result.names, result.seed) == (0.75, "random", "keyed", None)
    assert listener.stages == [("mask", 9, 0)]
    assert listener.done == 9
    manifest = json.loads((tmp_path / "masked" / "facemae.json").read_text())
    expected = {
        "command": "mask",
        "counts": {"in": 9, "out": 9, "refused": {}},
        "grid": 14,
        "key_id": Key(SECRET).key_id,
        "mask_ratio": 0.75,
        "names": "keyed",
        "seed": False,
        "strategy": "random",
    }
    assert {field: manifest[field] for field in expected} == expected
    assert json.loads(json.dumps(result.as_json()))["faces"] == {"in": 9, "out": 9, "refused": {}}
    assert dict(result.summary())["key_id"] == Key(SECRET).key_id


def test_folder_and_rec_give_the_same_faces_in_all_four_combinations(raw, key, tmp_path):
    rec = make_rec(tmp_path / "source.rec")
    outputs = {}
    for source in (raw, rec):
        for suffix in ("", ".rec"):
            out = tmp_path / f"masked-{source.name}{suffix}"
            assert mask(source, out, key=key).faces == 9
            outputs[out.name] = faces(out)
    first, *others = outputs.values()
    assert len(first) == 9
    for other in others:
        assert other.keys() == first.keys()
        assert all(np.array_equal(other[name], first[name]) for name in first)


def test_records_come_in_keyed_order_with_one_person_together(raw, key, tmp_path):
    def order(name: str) -> bytes:
        return hmac.new(SECRET, b"order" + name.encode(), hashlib.sha256).digest()

    mask(raw, tmp_path / "masked.rec", key=key)
    expected = []
    for label, person in enumerate(sorted(PEOPLE, key=order)):
        files = [f"snap {photo}.{'png' if photo == 1 else 'jpg'}" for photo in range(PEOPLE[person])]
        for file in sorted(files, key=lambda file: order(f"{person}\0{file}")):
            name = slow_name(SECRET, b"identity", person), slow_name(SECRET, b"photo", f"{person}\0{file}")
            expected.append((label, *name))
    lines = (tmp_path / "masked.lst").read_text().splitlines()
    written = []
    for number, line in enumerate(lines, 1):
        listed, label, name = line.split("\t")
        assert int(listed) == number
        written.append((int(float(label)), *name.removesuffix(".png").split("/")))
    assert written == expected


def test_equal_runs_give_equal_bytes_and_another_key_does_not(raw, key, tmp_path):
    for suffix in ("", ".rec"):
        outs = [tmp_path / f"{name}{suffix}" for name in ("one", "two", "three")]
        mask(raw, outs[0], key=key, workers=1)
        mask(raw, outs[1], key=key, workers=3)
        mask(raw, outs[2], key=key_file(tmp_path / "other.key", OTHER))
        one, two, three = map(tree, outs)
        assert len(one) == (10 if not suffix else 5)
        assert one == two
        assert one != three
        assert not {name for name in one if name.endswith(".png")} & set(three)


def test_every_name_is_found_again_with_the_key(raw, key, tmp_path):
    names = [open_source(raw).name(i) for i in range(9)]
    for out in (tmp_path / "masked", tmp_path / "masked.rec"):
        mask(raw, out, key=key)
        who = recover_names(names, Key.load(key))
        assert sorted(who[name] for name in faces(out)) == sorted(names)
        assert not set(recover_names(names, Key(OTHER))) & set(faces(out))


@pytest.mark.parametrize("out", ["masked", "masked.rec", "set/train.rec"])
def test_no_name_and_no_metadata_of_the_source_is_in_any_output_byte(tmp_path, key, out):
    secret = b"Persephone-Quillfeather"
    jpeg, png = photo_that_tells(secret)
    assert secret in jpeg
    assert secret in png
    put(tmp_path / "raw" / "Maximiliana-Oglethorpe" / "holiday-in-Rotterdam.jpg", jpeg)
    put(tmp_path / "raw" / "Maximiliana-Oglethorpe" / "holiday-in-Rotterdam-2.png", png)
    put(tmp_path / "raw" / "Zachariah-Thistlewood" / "wedding-in-Utrecht.jpg", jpeg[:-400])
    target = tmp_path / out
    target.parent.mkdir(exist_ok=True)
    result = mask(tmp_path / "raw", target, key=key)
    assert (result.faces, len(result.refused)) == (2, 1)
    folder = target if target.is_dir() else target.parent
    written = [file for file in folder.rglob("*") if file.is_file() and "raw" not in file.parts and file != key]
    whole = b"".join(file.read_bytes() + str(file.relative_to(folder)).encode() for file in written)
    assert len(whole) > 1000
    words = [secret, b"Persephone", b"Maximiliana", b"Oglethorpe", b"holiday", b"Rotterdam", b"Zachariah", b"Utrecht"]
    words += [b"Exif", b"iCCP", b"acsp", b"tEXt", b"eXIf", SECRET, SECRET.hex().encode(), str(tmp_path).encode()]
    assert [word for word in words if word.lower() in whole.lower()] == []


def test_a_masked_png_has_no_chunk_but_its_pixels(raw, key, tmp_path):
    mask(raw, tmp_path / "masked", key=key)
    data = next((tmp_path / "masked").rglob("*.png")).read_bytes()
    kinds, at = [], 8
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        kinds.append(kind)
        at += length + 12
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def test_faces_without_identity_stay_without(tmp_path, key):
    for number in range(3):
        put(tmp_path / "raw" / f"{number}.jpg", encoded(pixels(number)))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key)
    assert (result.faces, result.identities) == (3, 0)
    assert dict(result.summary())["masked"].startswith("3 of 3 faces without identities")
    expected = {slow_name(SECRET, b"photo", f"\0{number}.jpg") + ".png" for number in range(3)}
    assert set(tree(tmp_path / "masked")) == expected | {"facemae.json"}


@pytest.mark.parametrize("suffix", ["", ".rec"])
@pytest.mark.parametrize("stop_at", [1, 4, 8])
def test_a_stopped_run_resumes_to_the_same_bytes(raw, key, tmp_path, monkeypatch, suffix, stop_at):
    put(raw / "Ottoline-Vavasour" / "cut.jpg", encoded(pixels(9))[:-300])
    monkeypatch.setattr(job, "UNIT", 2)
    unbroken = mask(raw, tmp_path / f"whole{suffix}", key=key)
    begun = 0

    def stops(data, *limits):
        nonlocal begun
        begun += 1
        if begun == stop_at:
            raise KeyboardInterrupt
        return probe(data, *limits)

    with monkeypatch.context() as patch:
        patch.setattr("facemae_cli.masking.job.probe", stops)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / f"part{suffix}", key=key, workers=1)
    assert not (tmp_path / f"part{suffix}").exists()
    listener = Listener()
    resumed = mask(raw, tmp_path / f"part{suffix}", key=key, resume=True, progress=listener)
    assert tree(tmp_path / f"part{suffix}") == tree(tmp_path / f"whole{suffix}")
    assert listener.stages == [("mask", 10, (stop_at - 1) // 2 * 2)]
    assert [item.reason for item in resumed.refused] == ["truncated"]
    assert (resumed.faces, resumed.identities, resumed.ratio) == (unbroken.faces, unbroken.identities, unbroken.ratio)


def test_resume_with_another_key_or_input_is_refused(raw, key, tmp_path, monkeypatch):
    def stops(data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("facemae_cli.masking.job.probe", stops)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / "masked", key=key)
    for options in ({"key": key_file(tmp_path / "o.key", OTHER)}, {"key": key, "ratio": 0.5}, {"key": key, "seed": 1}):
        with pytest.raises(UsageError):
            mask(raw, tmp_path / "masked", resume=True, **options)
    (raw / "Ottoline-Vavasour" / "snap 0.jpg").rename(raw / "Ottoline-Vavasour" / "renamed.jpg")
    with pytest.raises(UsageError):
        mask(raw, tmp_path / "masked", resume=True, key=key)


@pytest.mark.faces
def test_real_faces(faces_root, tmp_path, key):
    every = open_source(faces_root / "private")
    for index in range(0, len(every), 9):
        name = every.name(index)
        put(tmp_path / "raw" / str(name.identity) / f"{name.photo}.jpg", every.read(index))
    result = mask(tmp_path / "raw", tmp_path / "masked.rec", key=key)
    assert (result.faces, result.refused, result.ratio) == (result.faces_in, [], 0.75)
    source, who = open_source(tmp_path / "raw"), {}
    assert len(source) > 1400
    for index in range(len(source)):
        who[Key(SECRET).name(source.name(index))] = index
    masked = open_source(tmp_path / "masked.rec")
    for number in range(0, len(masked), 6):
        stored = source.read(who[without_suffix(masked.name(number))])
        raw_face = decode(stored)
        hidden = slow_hidden(SECRET, raw_face, raw_face.tobytes(), 147)
        assert_masked(rgba(masked.read(number)), unblended(stored, decode(stored)), hidden)
