"""`mask` end to end: exact pixels, keyed names and order, equal bytes, and what it must refuse or never let through."""

import base64
import hashlib
import hmac
import io
import json
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from facemae_cli import masking
from facemae_cli.app import main
from facemae_cli.data import open_source
from facemae_cli.data.faces import Name
from facemae_cli.data.images import decode
from facemae_cli.errors import InputError, UsageError
from facemae_cli.keys import Key, recover_names, without_suffix
from facemae_cli.tasks import mask as task
from facemae_cli.tasks.mask import mask

SECRET, OTHER = bytes(range(32)), bytes(range(32, 64))
PEOPLE = {"Wilhelmina Featherstonehaugh": 4, "family/Bartholomew Xq\u00e9zk": 3, "Ottoline-Vavasour": 2}


class Listener:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stages: list[tuple[str, int, int]] = []
        self.done = 0

    def start(self, label, total, unit="faces", done=0):
        self.stages.append((label, total, done))

    def advance(self, count=1, note=""):
        self.done += count

    def notice(self, line):
        self.lines.append(line)


def pixels(seed: int, height: int = 112, width: int = 112) -> np.ndarray:
    """Smooth, never black, so that JPEG keeps it and a zero can only come from a mask."""
    coarse = np.random.default_rng(seed).integers(40, 250, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def key_file(path: Path, secret: bytes = SECRET) -> Path:
    path.write_text(secret.hex() + "\n")
    path.chmod(0o600)
    return path


def make_folder(root: Path, people: dict[str, int] = PEOPLE) -> Path:
    for number, (person, count) in enumerate(people.items()):
        for photo in range(count):
            suffix = ".png" if photo == 1 else ".jpg"
            put(root / person / f"snap {photo}{suffix}", encoded(pixels(100 * number + photo), suffix))
    return root


def record(flag: int, label: float, labels: list[float], key: int, body: bytes) -> bytes:
    payload = struct.pack("<IfQQ", flag, label, key, 0) + struct.pack(f"<{len(labels)}f", *labels) + body
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)


def make_rec(path: Path, people: dict[str, int] = PEOPLE) -> Path:
    """InsightFace's layout by hand, with im2rec's .lst; the same photos as `make_folder` makes."""
    images, ranges, lst = [], [], []
    for number, (person, count) in enumerate(people.items()):
        ranges.append((len(images) + 1, len(images) + 1 + count))
        for photo in range(count):
            suffix = ".png" if photo == 1 else ".jpg"
            lst.append(f"{len(images) + 1}\t{number}\t{person}/snap {photo}{suffix}\n")
            images.append((number, encoded(pixels(100 * number + photo), suffix)))
    parts = [record(2, 0, [len(images) + 1, len(images) + 1 + len(ranges)], 0, b"")]
    parts += [record(0, label, [], key, body) for key, (label, body) in enumerate(images, 1)]
    parts += [record(2, 0, list(map(float, span)), len(images) + 1 + i, b"") for i, span in enumerate(ranges)]
    offsets = np.cumsum([0, *map(len, parts)])
    path.write_bytes(b"".join(parts))
    path.with_suffix(".idx").write_text("".join(f"{key}\t{offsets[key]}\n" for key in range(len(parts))))
    path.with_suffix(".lst").write_text("".join(lst), encoding="utf-8")
    return path


@pytest.fixture
def raw(tmp_path):
    return make_folder(tmp_path / "raw")


@pytest.fixture
def key(tmp_path):
    return key_file(tmp_path / "the.key")


def tree(path: Path) -> dict[str, bytes]:
    """Every byte of an output, by path; for X.rec, all files that begin with `X.`."""
    if path.suffix == ".rec":
        return {file.name.split(".", 1)[1]: file.read_bytes() for file in path.parent.glob(f"{path.stem}.*")}
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def rgba(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGBA"
        return np.array(image)


def faces(path: Path) -> dict[Name, np.ndarray]:
    """Masked faces of an output by name without suffix, decoded by Pillow."""
    source = open_source(path)
    assert not source.refused
    return {without_suffix(source.name(i)): rgba(source.read(i)) for i in range(len(source))}


def slow_name(secret: bytes, word: bytes, name: str) -> str:
    digest = hmac.new(secret, word + name.encode(), hashlib.sha256).digest()
    return base64.b32encode(digest[:16]).decode().rstrip("=").lower()


def slow_hidden(mask_key: bytes, image: np.ndarray, payload: bytes, count: int) -> set[int]:
    message = b"mask" + struct.pack("<II", *image.shape[:2]) + payload
    stream = hashlib.shake_256(hmac.new(mask_key, message, hashlib.sha256).digest()).digest(1568)
    words = struct.unpack("<196Q", stream)
    return set(sorted(range(196), key=lambda patch: (words[patch], patch))[:count])


def assert_masked(masked: np.ndarray, source: np.ndarray, hidden: set[int]) -> None:
    height, width = source.shape[0] // 14, source.shape[1] // 14
    assert masked.shape == (*source.shape[:2], 4)
    for patch in range(196):
        row, column = divmod(patch, 14)
        place = np.s_[row * height : (row + 1) * height, column * width : (column + 1) * width]
        if patch in hidden:
            assert not masked[place].any()
        else:
            assert (masked[place][..., 3] == 255).all()
            assert np.array_equal(masked[place][..., :3], source[place])


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
    assert (result.faces_in, result.faces, result.identities, result.refused, result.ignored) == (9, 9, 3, [], 1)
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


def photo_that_tells(secret: bytes) -> tuple[bytes, bytes]:
    """A JPEG with Exif, ICC profile, comment and thumbnail text, and a PNG with text chunks, all holding `secret`."""
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = secret.decode(), secret.decode()
    jpeg, png = io.BytesIO(), io.BytesIO()
    picture = Image.fromarray(pixels(1))
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88 + secret
    picture.save(jpeg, "JPEG", exif=exif, icc_profile=profile, comment=secret)
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", secret.decode())
    picture.save(png, "PNG", pnginfo=texts, exif=exif, icc_profile=profile)
    return jpeg.getvalue(), png.getvalue()


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


def test_faces_without_identity_stay_without(tmp_path, key):
    for number in range(3):
        put(tmp_path / "raw" / f"{number}.jpg", encoded(pixels(number)))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key)
    assert (result.faces, result.identities) == (3, 0)
    expected = {slow_name(SECRET, b"photo", f"\0{number}.jpg") + ".png" for number in range(3)}
    assert set(tree(tmp_path / "masked")) == expected | {"facemae.json"}


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
    put(tmp_path / "raw" / "anna" / "2.png", encoded(pixels(2, 300, 200), ".png"))
    put(tmp_path / "raw" / "anna" / "3.png", encoded(pixels(3, 100, 90), ".png"))
    result = mask(tmp_path / "raw", tmp_path / "masked", key=key, size=112, keep_names=True)
    assert (result.faces, result.resized) == (3, 2)
    assert "visible pixels mix across patch edges" in result.as_json()["notes"][0]
    shrunk = cv2.resize(pixels(2, 300, 200), (112, 112), interpolation=cv2.INTER_AREA)
    grown = cv2.resize(pixels(3, 100, 90), (112, 112), interpolation=cv2.INTER_CUBIC)
    found = faces(tmp_path / "masked")
    raws = {"1": pixels(1), "2": pixels(2, 300, 200), "3": pixels(3, 100, 90)}
    for photo, seen in (("1", pixels(1)), ("2", shrunk), ("3", grown)):
        hidden = slow_hidden(SECRET, raws[photo], raws[photo].tobytes(), 147)
        assert_masked(found[Name("anna", photo)], seen, hidden)
    assert json.loads((tmp_path / "masked" / "facemae.json").read_text())["extra"] == {"resized": 2, "size": 112}
    assert mask(tmp_path / "raw", tmp_path / "same", key=key).resized == 0


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


def test_a_seed_is_said_to_be_no_secret(raw, key, tmp_path):
    listener = Listener()
    mask(raw, tmp_path / "masked", key=key, seed=1, progress=listener)
    assert [line for line in listener.lines if "no secret" in line]


@pytest.mark.parametrize("suffix", ["", ".rec"])
@pytest.mark.parametrize("stop_at", [1, 4, 8])
def test_a_stopped_run_resumes_to_the_same_bytes(raw, key, tmp_path, monkeypatch, suffix, stop_at):
    put(raw / "Ottoline-Vavasour" / "cut.jpg", encoded(pixels(9))[:-300])
    monkeypatch.setattr(task, "UNIT", 2)
    unbroken = mask(raw, tmp_path / f"whole{suffix}", key=key)
    begun = 0

    def stops(data, *limits):
        nonlocal begun
        begun += 1
        if begun == stop_at:
            raise KeyboardInterrupt
        return decode(data, *limits)

    with monkeypatch.context() as patch:
        patch.setattr("facemae_cli.masker.decode", stops)
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
        patch.setattr("facemae_cli.masker.decode", stops)
        with pytest.raises(KeyboardInterrupt):
            mask(raw, tmp_path / "masked", key=key)
    for options in ({"key": key_file(tmp_path / "o.key", OTHER)}, {"key": key, "ratio": 0.5}, {"key": key, "seed": 1}):
        with pytest.raises(UsageError):
            mask(raw, tmp_path / "masked", resume=True, **options)
    (raw / "Ottoline-Vavasour" / "snap 0.jpg").rename(raw / "Ottoline-Vavasour" / "renamed.jpg")
    with pytest.raises(UsageError):
        mask(raw, tmp_path / "masked", resume=True, key=key)


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


@pytest.mark.faces
def test_real_faces(faces_root, tmp_path, key):
    result = mask(faces_root / "private", tmp_path / "masked.rec", key=key)
    assert (result.faces, result.refused, result.ratio) == (result.faces_in, [], 0.75)
    source, who = open_source(faces_root / "private"), {}
    for index in range(len(source)):
        who[Key(SECRET).name(source.name(index))] = index
    masked = open_source(tmp_path / "masked.rec")
    for number in range(0, len(masked), 50):
        raw_face = decode(source.read(who[without_suffix(masked.name(number))]))
        hidden = slow_hidden(SECRET, raw_face, raw_face.tobytes(), 147)
        assert_masked(rgba(masked.read(number)), raw_face, hidden)
