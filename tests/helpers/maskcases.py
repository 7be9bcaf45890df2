"""Raw faces for the tests of `mask`, a slow reference of what it should make of them, and ways to read its outputs."""

import base64
import hashlib
import hmac
import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from facemae_cli.data.faces import Name
from facemae_cli.data.open import open_source
from facemae_cli.masking.pseudonyms import without_suffix

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


def listed(folder: Path, *lines: str) -> Path:
    """A list of people and photos, as `--people` and `--exclude` take it."""
    path = folder / "withdrawn.txt"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def pixels(seed: int, height: int = 112, width: int = 112) -> np.ndarray:
    """Smooth, never black, so that JPEG keeps it and a zero can only come from a mask."""
    coarse = np.random.default_rng(seed).integers(40, 250, (7, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def encoded(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    """A JPEG keeps a sample of colour for each pixel (4:4:4), so that all decoders agree on it."""
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444] if suffix == ".jpg" else []
    return cv2.imencode(suffix, image[..., ::-1], options)[1].tobytes()


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
