"""What a dataset of faces is to the rest of the program: a source to read, and faces refused from it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from facemae_cli.data.names import one_line
from facemae_cli.errors import FaceError

_NOTHING: Mapping[str, int] = {}  # a plain dict, since results that hold it go from rank to rank
PROBED = 8  # faces looked at to tell what a dataset holds
CHUNK = 64  # faces read together, a message to and from a worker: 1.6 MB of pixels in its cache


class Name(NamedTuple):
    """Who is on a photo, and which photo of them it is.

    `identity` is a `/`-separated folder path or a label's digits; None where the dataset does not say.
    `photo` is the file name with its suffix, or a RecordIO key's digits.
    """

    identity: str | None
    photo: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """One input that was not used: where it stands, a stable reason code, and the details for a person."""

    where: str
    reason: str
    detail: str


def count_reasons(refused: Iterable[Refusal]) -> dict[str, int]:
    """How many inputs were refused for each reason code, sorted by code; names nobody."""
    return dict(sorted(Counter(item.reason for item in refused).items()))


@dataclass(frozen=True)
class NotRead:
    """What of a dataset's place is not part of it: `ignored` and `passed_over` as in `FaceSource`."""

    ignored: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, source: FaceSource) -> NotRead:
        """That of one dataset."""
        return cls(source.ignored, source.passed_over)

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON types."""
        return {"ignored_files": self.ignored, "passed_over": dict(self.passed_over)}

    def rows(self) -> list[tuple[str, str]]:
        """The same for a person as (label, value) rows of a summary; none where all was read."""
        rows = [("files ignored", f"{self.ignored}, which are not images")] if self.ignored else []
        if self.passed_over:
            counts = ", ".join(f"{count} {one_line(name)}" for name, count in self.passed_over.items())
            why = "what is deleted, hidden, the system's or beside a file of faces is not part of it"
            rows.append(("passed over", f"{counts}: {why}"))
        return rows

    def lines(self, dataset: str) -> list[str]:
        """The same for a person who is told of several datasets, this one called `dataset`; none where all was read."""
        return [f"{label} in {one_line(dataset)}: {value}" for label, value in self.rows()]


def once(refused: Iterable[Refusal]) -> list[Refusal]:
    """Each refused place once, though several readers or ranks may have met it; the last word on it stands."""
    return [*{item.where: item for item in refused}.values()]


class FaceSource(ABC):
    """A dataset opened for reading. Reading is safe from many threads and after a fork.

    `refused` holds what was found broken while opening (framing errors of a `.rec`, say); those are not
    among the `len(self)` readable faces. `ignored` counts files that do not claim to be images, `archives` those among
    them that may hold some; `passed_over`, by what they are, folders and images that were left alone since they are the
    system's, hidden, or beside a file that holds the faces.
    """

    path: Path
    kind: str  # as `data.open.kind_of` says
    refused: Sequence[Refusal]
    ignored: int
    archives: int = 0
    passed_over: Mapping[str, int] = _NOTHING

    @abstractmethod
    def __len__(self) -> int:
        """How many faces can be asked for."""

    @abstractmethod
    def name(self, index: int) -> Name:
        """Identity and photo of face `index`, 0 <= index < len(self)."""

    def names_digest(self) -> str:
        """A SHA-256 that changes when a name does."""
        names = hashlib.sha256()
        for index in range(len(self)):
            names.update(repr(self.name(index)).encode("utf-8", "surrogatepass") + b"\n")
        return names.hexdigest()

    @abstractmethod
    def where(self, index: int) -> str:
        """Where face `index` stands, for an error message: a file's path, or a `.rec`'s key and byte offset."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The encoded image of face `index`. Raises FaceError where it cannot be read."""

    def portion(self, indexes: Sequence[int]) -> Portion:
        """Faces `indexes` alone, small enough to hand to another process; unless a source knows better, read at once.

        Raises OutputError as `read` does.
        """
        return ReadFaces.of(self, indexes)


class Portion(Protocol):
    """A few faces of a dataset that another process can read, counted from 0."""

    def read(self, index: int) -> bytes:
        """The encoded image of one of them. Raises FaceError where it cannot be read."""


@dataclass(frozen=True)
class ReadFaces:
    """Encoded images, or why there is none."""

    images: Sequence[bytes | FaceError]

    @classmethod
    def of(cls, source: FaceSource, indexes: Sequence[int]) -> ReadFaces:
        """Faces `indexes` of `source`, read now."""
        return cls([*FaceChunk(source, indexes).images()])

    def read(self, index: int) -> bytes:
        """Image `index`. Raises the FaceError that stands in its place."""
        image = self.images[index]
        if isinstance(image, FaceError):
            raise image
        return image


class FaceChunk:
    """Faces `indexes` of a source, which are read together. A copy in another process holds their portion alone."""

    def __init__(self, source: FaceSource | None, indexes: Sequence[int], portion: Portion | None = None) -> None:
        self.indexes = indexes
        self._source, self._portion = source, portion

    def images(self) -> Iterator[bytes | FaceError]:
        """The encoded image of each face, or why it cannot be read. Raises OutputError where the disk fails."""
        numbers = self.indexes if self._portion is None else range(len(self.indexes))
        for number in numbers:
            try:
                yield self._reader.read(number)
            except FaceError as error:
                yield error

    @property
    def _reader(self) -> Portion:
        reader = self._portion or self._source
        assert reader is not None
        return reader

    def __reduce__(self) -> tuple[Any, ...]:
        portion = self._portion or (self._source and self._source.portion(self.indexes))
        return FaceChunk, (None, self.indexes, portion)


def chunks(source: FaceSource, indexes: Sequence[int], size: int = CHUNK) -> list[FaceChunk]:
    """Faces `indexes` of `source`, in their order, `size` at a time."""
    return [FaceChunk(source, indexes[first : first + size]) for first in range(0, len(indexes), size)]


def first(source: FaceSource) -> range:
    """The numbers of the first few faces of a dataset, enough to tell masked from raw ones."""
    return range(min(PROBED, len(source)))


def no_faces(source: FaceSource, way_out: str) -> str:
    """What is said of a dataset that holds no faces: the `way_out`, unless they may be in archives."""
    return f"{one_line(str(source.path))} holds no faces; {unopened(source) or way_out}"


def unopened(source: FaceSource) -> str:
    """What to do about the archives within a dataset, which are not looked into; empty where there are none."""
    if source.archives < 2:
        return "it holds an archive, which is not opened: give that, or unpack it" if source.archives else ""
    return f"it holds {source.archives} archives, which are not opened: give one of them, or unpack them"


def has_people(source: FaceSource) -> bool:
    """Whether a dataset says of any face who is on it; loose photos, which it lists first, may be of nobody known."""
    return any(source.name(index).identity is not None for index in range(len(source)))


def fingerprint(source: FaceSource, samples: int = 256) -> str:
    """A digest that changes when a dataset does: its size, and names and bytes of evenly spread faces.

    Cheap for millions of faces, so not proof of equality; it guards `--resume` against another input.
    """
    digest = hashlib.sha256(str(len(source)).encode())
    for index in range(0, len(source), max(1, len(source) // samples)):
        identity, photo = source.name(index)
        digest.update(f"\0{identity}\0{photo}\0".encode("utf-8", "surrogatepass"))
        try:
            digest.update(source.read(index))
        except FaceError as error:
            digest.update(error.reason.encode())
    return digest.hexdigest()


def input_plan(source: FaceSource) -> dict[str, Any]:
    """What a stopped run must find again of its input, for a journal: all names, and the bytes of up to 4096 faces."""
    return {"faces": len(source), "input_names": source.names_digest(), "input": fingerprint(source, samples=4096)}
