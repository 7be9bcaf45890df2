"""Raw datasets in every input format, full of words that no output may hold; and how to search for these words."""

from __future__ import annotations

import base64
import io
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from helpers.maskcases import pixels, put, record
from PIL import Image, PngImagePlugin

from facemae_cli.data.images.codec import encode_jpeg

TAKEN = 1368783683.123456789  # 17 May 2013, 09:41:23: when a source says its photo was taken or changed
STAMPS = ("2013:05:17 09:41:23", "2013-05-17", "20130517", "1368783683")
SECRET = bytes.fromhex("8f1d2ab3c4775e0916a8f2dd01b7c39954e6fa7082bd4c1e23f596a70d8b6e47")
PERSON = "Zqxvwyaj Ungerfoylth-Br\u00f6lk"
FAMILY = "Vlomprakhtizzen-clan"
OTHER = "Wuthbexquor Ollmfdrigan"
FILE = "DSC-kjuqwexzipfolmat"
LOOSE = "portrait-hyzzwqvokkel"
ROOT = "steward-xaqqhobvuntrig"
EXIF, ICC, XMP, COMMENT, THUMBNAIL, TEXT, TRAILER = (
    f"{kind}-{word}"
    for kind, word in (
        ("exif", "gwyqbbyxhuntol"), ("icc", "pfeqzuxxalvoni"), ("xmp", "mmoqxyhutrepla"), ("comment", "jhwqdduxolbrik"),
        ("thumbnail", "yytvaqqohemspl"), ("text", "fnuqaxxodewilt"), ("trailer", "bbequxhyloggart"),
    )
)  # fmt: skip
LABEL, KEY = 7654321, 8765432  # of a .rec without names: there these are the names
WORDS = (PERSON, FAMILY, OTHER, FILE, LOOSE, ROOT, EXIF, ICC, XMP, COMMENT, THUMBNAIL, TEXT, TRAILER, *STAMPS)
MARKS = (b"Exif", b"acsp", b"ICC_PROFILE", b"xmpmeta", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME", b"iCCP", b"8BIM")


def exif() -> bytes:
    """An Exif block with names, a time, a place, and a thumbnail that has a comment of its own."""
    block = Image.Exif()
    block[0x010E], block[0x013B], block[0x8298] = EXIF, EXIF, EXIF  # description, artist, copyright
    block[0x0132], block[0x9003] = STAMPS[0], STAMPS[0]  # changed, taken
    block.get_ifd(0x8825)[1] = "N"  # GPS
    small = io.BytesIO()
    Image.fromarray(pixels(5, 14, 14)).save(small, "JPEG", comment=THUMBNAIL.encode())
    return block.tobytes() + small.getvalue()


def jpeg(seed: int, size: int = 112) -> bytes:
    """A face as cameras and editors leave it: Exif with thumbnail, ICC profile, XMP, comment, bytes after its end."""
    buffer = io.BytesIO()
    profile = bytes(36) + b"acsp" + bytes(88) + ICC.encode()
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{XMP}</x:xmpmeta>'.encode()
    Image.fromarray(pixels(seed, size, size)).save(
        buffer, "JPEG", quality=95, exif=exif(), icc_profile=profile, comment=COMMENT.encode(), xmp=packet
    )
    return buffer.getvalue() + TRAILER.encode()


def png(seed: int) -> bytes:
    """A face with text chunks, plain and packed, Exif, a profile, and the time of its last change."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", TEXT)
    texts.add_text("Comment", TEXT, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP)
    texts.add(b"tIME", struct.pack(">HBBBBB", 2013, 5, 17, 9, 41, 23))
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, "PNG", pnginfo=texts, exif=exif(), icc_profile=ICC.encode())
    return buffer.getvalue() + TRAILER.encode()


def webp(seed: int) -> bytes:
    """A face with Exif, XMP and a profile in RIFF chunks."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(
        buffer, "WEBP", lossless=True, exif=exif(), xmp=XMP.encode(), icc_profile=ICC.encode()
    )
    return buffer.getvalue()


def faces() -> list[tuple[str, str, bytes]]:
    """Identity, file and bytes of each face."""
    return [
        (f"{FAMILY}/{PERSON}", f"{FILE}-1.jpg", jpeg(1)),
        (f"{FAMILY}/{PERSON}", f"{FILE}-2.png", png(2)),
        (OTHER, f"{FILE}-3.webp", webp(3)),
        (OTHER, f"{FILE}-4.jpg", jpeg(4)),
        (OTHER, f"{FILE}-cut.jpg", jpeg(5)[:-900]),  # refused, and its name may be told to the steward alone
    ]


def make_folder(root: Path) -> Path:
    """A folder of folders, one of them nested."""
    for identity, file, data in faces():
        put(root / identity / file, data)
        os.utime(root / identity / file, (TAKEN, TAKEN))
    return root


def make_flat(root: Path) -> Path:
    """A folder of faces without identities."""
    for number, (_, file, data) in enumerate(faces()):
        put(root / file.replace(FILE, f"{LOOSE}-{number}"), data)
    return root


def make_rec(path: Path, *, named: bool) -> Path:
    """A `.rec` with its names in a `.lst`, or without any: then label and key are what a face is called."""
    path.parent.mkdir(parents=True)
    people = {identity: LABEL + number for number, identity in enumerate(dict.fromkeys(each[0] for each in faces()))}
    parts, index, lines = [], [], []
    for key, (identity, file, data) in enumerate(faces(), KEY):
        index.append(f"{key}\t{sum(map(len, parts))}\n")
        lines.append(f"{key}\t{people[identity]}\t{identity}/{file}\n")
        parts.append(record(0, people[identity], [], key, data))
    path.write_bytes(b"".join(parts))
    path.with_suffix(".idx").write_text("".join(index))
    if named:
        path.with_suffix(".lst").write_text("".join(lines), encoding="utf-8")
    return path


SOURCES = {
    "folder": lambda root: make_folder(root / "raw"),
    "flat": lambda root: make_flat(root / "raw"),
    "named-rec": lambda root: make_rec(root / "set" / "raw.rec", named=True),
    "bare-rec": lambda root: make_rec(root / "set" / "raw.rec", named=False),
    "insightface": lambda root: make_rec(root / "raw" / "train.rec", named=True).parent,
}


def spellings(word: str) -> set[bytes]:
    """The word's bytes as they might stand in a file: UTF-8 in two normal forms, UTF-16, hex, base64 at any offset."""
    forms = {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}
    plain = {form.encode() for form in forms} | {form.encode("latin1", "ignore") for form in forms}
    wide = {form.encode(code) for form in forms for code in ("utf-16-le", "utf-16-be")}
    return plain | wide | _as_text(plain)


def _as_text(given: Iterable[bytes]) -> set[bytes]:
    found = set()
    for data in given:
        found |= {data.hex().encode(), data.hex().upper().encode()}
        # What surrounds the word decides on the first and last characters, so these are left out.
        found |= {base64.b64encode(bytes(shift) + data)[4:-4] for shift in range(3)}
    return found


def forbidden(root: Path) -> dict[bytes, str]:
    """What no byte of an output may hold, and what it is: names, texts, stamps, the key, the path of the source."""
    found = {spelling: word for word in (*WORDS, str(root)) for spelling in spellings(word)}
    found |= {mark: mark.decode() for mark in MARKS}
    keys = {SECRET, SECRET[::-1], SECRET[:16], SECRET[16:]}
    found |= dict.fromkeys(keys | _as_text(keys), "the key")
    nanoseconds = int(TAKEN * 10**9) // 1000
    found |= {struct.pack(order + "Q", nanoseconds): "a stamp" for order in "<>"}
    return found | {struct.pack(">HBBBBB", 2013, 5, 17, 9, 41, 23): "a stamp of tIME"}


def numbers_of_a_bare_rec() -> dict[bytes, str]:
    """Labels and keys, where they are the names: as text, and as a payload's header holds them."""
    labels, keys = range(LABEL, LABEL + 2), range(KEY, KEY + 5)
    found = {str(number).encode(): f"number {number}" for number in (*labels, *keys)}
    found |= {struct.pack("<f", label): f"label {label}" for label in labels}
    return found | {struct.pack("<Q", key): f"key {key}" for key in keys}


def told_by(paths: Iterable[Path], words: dict[bytes, str]) -> list[str]:
    """What is found of `words` in the bytes and in the relative names of the files at and below `paths`.

    Also in pictures that a page holds as base64, and in what a PNG's chunks unpack to.
    """
    lowered = {word.lower(): what for word, what in words.items() if word not in MARKS}
    marks = {word: what for word, what in words.items() if word in MARKS}  # a page may well hold the word text
    found = []
    for path in paths:
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        assert files, f"{path} holds nothing"
        for file in files:
            where = str(file.relative_to(path.parent))
            whole = b"\0".join([where.encode(), *_layers(file.read_bytes())])
            found += [f"{where}: {what}" for word, what in marks.items() if word in whole]
            whole = whole.lower()
            found += [f"{where}: {what}" for word, what in lowered.items() if word in whole]
            assert file.stat().st_mtime > TAKEN + 10**8, f"{where} has the source's time"
    return found


def _layers(data: bytes) -> Iterable[bytes]:
    yield data
    for encoded in re.findall(rb"base64,([A-Za-z0-9+/=]{40,})", data):
        yield base64.b64decode(encoded)
    for packed in re.finditer(rb"x[\x01\x5e\x9c\xda]", data):  # zlib's heads
        try:
            yield zlib.decompressobj().decompress(data[packed.start() :], 2**20)
        except zlib.error:
            continue


def parts_of(data: bytes) -> set[str]:
    """The chunks of a PNG, or the segments of a JPEG before its scan; application segments with their first word."""
    if data.startswith(b"\x89PNG"):
        kinds, at = set(), 8
        while at < len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            kinds.add(kind.decode())
            at += 12 + length
        assert at == len(data)
        return kinds
    kinds, at = set(), 2
    while data[at + 1] != 0xDA:
        length = struct.unpack_from(">H", data, at + 2)[0]
        app = data[at + 4 : at + 8].decode("latin1") if data[at + 1] & 0xF0 == 0xE0 else ""
        kinds.add(f"{data[at + 1]:02x}{app}")
        at += 2 + length
    assert data.endswith(b"\xff\xd9")
    return kinds


def jpeg_of_nobody() -> bytes:
    """A released face's own format, to show what a JPEG of ours is made of."""
    return encode_jpeg(np.zeros((14, 14, 3), np.uint8))
