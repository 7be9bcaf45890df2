"""Verification packs: `X.bin`, a pickle of `(images, issame)`, or a `pairs.txt` in a folder of images."""

from __future__ import annotations

import errno
import os
import pickle
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.content import describe_content
from facemae_cli.data.faces import FaceSource, Name, Refusal
from facemae_cli.data.images.headers.header import Limits, limits_in_use
from facemae_cli.data.names import one_line, utf8
from facemae_cli.data.packs import unpickle
from facemae_cli.data.packs.pairs import Pair, Photo, parse_pairs
from facemae_cli.data.reading import read_file, unreadable
from facemae_cli.data.scan import IMAGE_SUFFIXES
from facemae_cli.errors import FaceError, InputError, UsageError

PICKLE_PROTOCOL = 4


class PackSource(FaceSource):
    """The distinct faces of a verification pack, and its pairs of them.

    `pairs`: (n, 2) int64, indexes of faces; `same`: (n,) bool, whether a pair shows one person; both in the pack's
    order, which is the order of its folds. `missing`: pairs left out since a photo of theirs is not there.
    """

    kind = "pack"
    ignored = 0
    missing = 0
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]

    @abstractmethod
    def photo(self, index: int) -> Photo:
        """What `pairs.txt` calls face `index`."""


class BinPack(PackSource):
    """A `.bin`. Its people have no names: those joined by pairs of one person are numbered, and so are their photos."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Raises InputError where the file cannot be read, is not a pack, or asks for more than data."""
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        self.refused: Sequence[Refusal] = ()
        images, self.same = _pack_of(self.path, _read_whole(self.path))
        self._faces: list[bytes] = []
        self._first: list[int] = []  # where in the pack each face is met first
        known: dict[bytes, int] = {}
        places = []
        for place, image in enumerate(images):
            face = known.setdefault(image, len(known))
            if face == len(self._faces):
                self._faces.append(image)
                self._first.append(place)
            places.append(face)
        self.pairs = np.array(places, np.int64).reshape(-1, 2)
        self._photos = _number_people(len(self._faces), self.pairs[self.same].tolist())

    def __len__(self) -> int:
        return len(self._faces)

    def photo(self, index: int) -> Photo:
        """Person and photo, both numbered from 1 in the pack's order."""
        return self._photos[index]

    def name(self, index: int) -> Name:
        identity, _, photo = self._photos[index].stem.partition("/")
        return Name(identity, photo)

    def where(self, index: int) -> str:
        return f"{one_line(str(self.path))} image {self._first[index]}"

    def read(self, index: int) -> bytes:
        """The image bytes of face `index`. Raises FaceError `empty`, `too-large`."""
        image = self._faces[index]
        if not image:
            raise FaceError("empty", "the pack holds no bytes for it")
        if len(image) > self.limits.max_bytes:
            raise FaceError("too-large", f"{len(image)} bytes are over the limit of {self.limits.max_bytes}")
        return image


class PairsPack(PackSource):
    """A `pairs.txt` in the folder whose images it pairs. Pairs with a missing photo are refused, the others stand."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        """Raises InputError where the file cannot be read, a line is not a pair, or no pair has its photos."""
        self.path = Path(path)
        self.limits = limits or limits_in_use()
        shown = one_line(str(self.path))
        try:
            pairs = parse_pairs(utf8(_read_whole(self.path)).decode("utf-8", "surrogateescape"))
        except InputError as error:
            raise InputError(f"{shown}: {error}{describe_content(self.path)}") from error
        self._faces: list[tuple[Photo, str]] = []
        self._known: dict[Photo, int] = {}
        self._folders: dict[str, dict[str, str]] = {}  # of each person's folder: file names by their stem
        rows = [(pair, [self._find(photo) for photo in (pair.first, pair.second)]) for pair in pairs]
        whole = [(pair, faces) for pair, faces in rows if min(faces) >= 0]
        if not whole:
            raise InputError(
                f"{shown}: not one of its {len(pairs)} pairs has both photos as NAME/NAME_0001.jpg beside it;"
                " put it into the folder of the images"
            )
        self.refused = [_missing(shown, pair, faces) for pair, faces in rows if min(faces) < 0]
        self.missing = len(self.refused)
        self.pairs = np.array([faces for _, faces in whole], np.int64)
        self.same = np.array([pair.same for pair, _ in whole])

    def _find(self, photo: Photo) -> int:
        """The index of a photo, -1 where no image stands under its name."""
        if photo in self._known:
            return self._known[photo]
        folder, stem = os.path.split(os.path.join(self.path.parent, photo.stem))
        if folder not in self._folders:
            self._folders[folder] = _images_by_stem(folder)
        name = self._folders[folder].get(stem)
        self._known[photo] = -1 if name is None else len(self._faces)
        if name is not None:
            self._faces.append((photo, os.path.join(folder, name)))
        return self._known[photo]

    def __len__(self) -> int:
        return len(self._faces)

    def photo(self, index: int) -> Photo:
        """The name and number its lines give it."""
        return self._faces[index][0]

    def name(self, index: int) -> Name:
        photo, path = self._faces[index]
        return Name(photo.name, os.path.basename(path))

    def where(self, index: int) -> str:
        return one_line(self._faces[index][1])

    def read(self, index: int) -> bytes:
        """The image bytes of face `index`. Raises FaceError and OutputError as `FolderSource.read` does."""
        return read_file(os.path.realpath(self._faces[index][1]), self.limits.max_bytes)


def open_pack(path: Path, limits: Limits | None = None) -> PackSource:
    """The pack at `path`: `X.bin`, or a `pairs.txt` in its folder of images. Raises InputError."""
    path = Path(path)
    return BinPack(path, limits) if path.suffix.lower() == ".bin" else PairsPack(path, limits)


def open_packs(paths: Iterable[Path]) -> dict[str, PackSource]:
    """The packs at `paths`, each a `.bin`, a `pairs.txt` or the folder that holds one, by name: file or folder.

    Raises InputError for what is not a pack, UsageError for two of one name and where there are none.
    """
    named: dict[str, Path] = {}
    for path in map(Path, paths):
        place, name = _pack_file(path)
        if name in named:
            raise UsageError(
                f"{one_line(str(named[name]))} and {one_line(str(path))} are both called {name}: give a pack once, or "
                "rename one"
            )
        named[name] = place
    if not named:
        raise UsageError("no pairs to verify: give a .bin, or a folder with a pairs.txt, as --pairs")
    return {name: open_pack(path) for name, path in named.items()}


def _pack_file(path: Path) -> tuple[Path, str]:
    """The file that makes a pack, and the pack's name."""
    shown = one_line(str(path))
    if path.is_dir() and not (path / "pairs.txt").is_file():
        raise InputError(f"{shown} holds no pairs.txt: give a .bin, or a folder of images with a pairs.txt in it")
    if path.is_dir() or path.name == "pairs.txt":
        folder = path if path.is_dir() else path.parent
        return folder / "pairs.txt", one_line(folder.resolve().name)
    if path.suffix.lower() != ".bin":
        raise InputError(
            f"{shown} is not a verification pack: give a .bin, or a folder of images with a pairs.txt in it"
        )
    return path, one_line(path.stem)


def pack_bytes(images: Iterable[bytes], same: Iterable[bool]) -> bytes:
    """The bytes of a `.bin`: images of pairs side by side, `same` one a pair. Equal images are stored once.

    Raises ValueError where there are not two images a pair.
    """
    known: dict[bytes, bytes] = {}
    value = [known.setdefault(image, image) for image in images], [bool(one) for one in same]
    if len(value[0]) != 2 * len(value[1]):
        raise ValueError(f"{len(value[0])} images for {len(value[1])} pairs")
    return pickle.dumps(value, PICKLE_PROTOCOL)


def _read_whole(path: Path) -> bytes:
    shown = one_line(str(path))
    try:
        if not path.is_file():
            raise InputError(f"{shown} is not a file: give a .bin, or a pairs.txt in its folder of images")
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error, "make it readable") from error


def _pack_of(path: Path, data: bytes) -> tuple[list[bytes], NDArray[np.bool_]]:
    """Images and truth values of a `.bin`. Raises InputError."""
    try:
        value = unpickle.load(data)
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise unpickle.Refused(f"it holds a {type(value).__name__}, not (images, issame)")
        images, same = value
        same = same.ravel().tolist() if isinstance(same, np.ndarray) and _is_row(same) else same
        rows = isinstance(images, np.ndarray) and images.ndim > 0
        if not (rows or isinstance(images, list | tuple)) or not isinstance(same, list | tuple):
            raise unpickle.Refused("it holds no list of images and list of truth values")
        if not same or len(images) != 2 * len(same):
            raise unpickle.Refused(f"it holds {len(images)} images for {len(same)} pairs")
        return [_image_of(image) for image in images], np.array([_truth_of(one) for one in same])
    except unpickle.Refused as error:
        raise InputError(
            f"{one_line(str(path))} is not a verification pack: {error}{describe_content(path)}; "
            "give one that you trust"
        ) from error


def _is_row(values: NDArray[Any]) -> bool:
    """Whether an array is (N,), or one row or column of that, as OpenCV encoded images into."""
    return values.ndim > 0 and values.size == max(values.shape)


def _image_of(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        if value.dtype == np.uint8 and _is_row(value):
            return value.tobytes()
        shape = " x ".join(map(str, value.shape[:4]))
        raise unpickle.Refused(f"an image in it is an array of {shape} {value.dtype}, not an encoded image's bytes")
    if not isinstance(value, bytes | bytearray):
        raise unpickle.Refused(f"an image in it is a {type(value).__name__}, not an encoded image's bytes")
    return bytes(value)


def _truth_of(value: Any) -> bool:
    if isinstance(value, bool | np.bool_ | int | np.integer) and value in (0, 1):
        return bool(value)
    # Other values may be larger to write than to read.
    shown = repr(value[:40]) if isinstance(value, str | bytes) else f"a {type(value).__name__} other than 0 and 1"
    raise unpickle.Refused(f"a truth value in it is {shown}")


def _images_by_stem(folder: str) -> dict[str, str]:
    """The images in a folder by their names less the suffix, which may be in capitals; of two, the first."""
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries if entry.is_file()), reverse=True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return {}
        raise unreadable(folder, error, "make it readable") from error
    split = (os.path.splitext(name) for name in names)
    return {stem: stem + suffix for stem, suffix in split if suffix.lower() in IMAGE_SUFFIXES}


def _missing(shown: str, pair: Pair, faces: Sequence[int]) -> Refusal:
    photos = [photo.stem for photo, face in zip((pair.first, pair.second), faces, strict=True) if face < 0]
    detail = f"the pair is left out, since there is no {' and no '.join(photos)} with an image's suffix"
    return Refusal(f"{shown} line {pair.line}", "missing-photo", one_line(detail))


def _number_people(faces: int, same: Iterable[Sequence[int]]) -> list[Photo]:
    """People and photos numbered from 1 by first appearance; pairs of one person join faces (union-find)."""
    parent = list(range(faces))

    def root(face: int) -> int:
        while parent[face] != face:
            parent[face] = parent[parent[face]]
            face = parent[face]
        return face

    for first, second in same:
        parent[max(root(first), root(second))] = min(root(first), root(second))
    people: dict[int, tuple[str, int]] = {}
    photos = []
    for face in range(faces):
        name, number = people.get(root(face), (f"{len(people) + 1:05d}", 0))
        people[root(face)] = name, number + 1
        photos.append(Photo(name, number + 1))
    return photos
