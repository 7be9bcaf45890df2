"""Raw faces into masked PNGs that show patches of several people each, as `masking.mixing` plans them.

Of each photo only patches are used that `mask` leaves visible: so all mixtures together show no more of it than one
masked face would. Colours of all parts move to their middle, so that no edge betrays what is whose. Once a mixture is
reconstructed, it is warped a little (`masking.warp`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceChunk, Name, Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.output.output import all_refused
from facemae_cli.data.side_files import SOURCES
from facemae_cli.data.subset import Subset
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.job import (
    UNIT,
    MaskedFace,
    MaskedFaces,
    Masker,
    MaskJob,
    NamedFace,
    RawFaces,
    SeenFace,
    in_workers,
    same_name,
)
from facemae_cli.masking.mixing import SOURCES_CODE, Mixing, Mixture, Part, plan_mixtures
from facemae_cli.masking.regions import owners
from facemae_cli.runtime import shared_output
from facemae_cli.runtime.progress import Progress

POSE = np.s_[2:13, 2:12]  # the patches of the ArcFace template that tell how a head is turned
STEP = 4  # a mixture has a multiple of so many visible patches, so that many of them share a batch
MOST_GAIN = 2.0  # how far contrast is raised, or lowered, to that of a mixture's parts
LEAST_CONTRAST = 4.0  # of 255: an even patch is not amplified


def hidden_before(measured: float) -> float:
    """The share of each photo that is hidden before it is mixed, where `measured` of mixtures is: of those a few
    patches more are hidden, up to `STEP`."""
    return measured - (STEP - 1) / 2 / masking.TOKENS


class Survey(NamedTuple):
    """What mixing must know of each photo before: its size as it is masked (height, width), the grey means of the
    patches at `POSE`, and the mean colour (3,) and the contrast, of 255, of its visible patches."""

    size: tuple[int, int]
    pose: NDArray[np.float32]
    color: NDArray[np.float32]
    contrast: float

    @classmethod
    def of(cls, face: SeenFace) -> Survey:
        """Measures one photo."""
        height, width = face.image.shape[:2]
        grey = cv2.cvtColor(face.image, cv2.COLOR_RGB2GRAY)
        pose = cv2.resize(grey, (masking.GRID, masking.GRID), interpolation=cv2.INTER_AREA).astype(np.float32)[POSE]
        pixels = face.image[masking.per_pixel(~face.mask, height, width)].astype(np.float32)
        contrast = LEAST_CONTRAST + float(pixels.std(axis=0).mean())
        return cls((height, width), pose, pixels.mean(axis=0), contrast)


class Surveyed(NamedTuple):
    """Surveys of the faces that can be masked, in their order; and, by number, why the others cannot."""

    found: list[Survey]
    refused: dict[int, Refusal]

    @classmethod
    def of(cls, faces: MaskJob, workers: int, progress: Progress, *, alone: bool = False) -> Surveyed:
        """Looks at all `faces`: each rank at its share, or this process at all, where it is `alone` in looking."""
        count = len(faces.names)
        progress.start("look at faces", count)
        units = [range(first, min(first + UNIT, count)) for first in range(0, count, UNIT)]
        look = partial(in_workers, _Surveyor(faces.masker), faces.raw, workers=workers)
        surveyed = cls([], {})
        with closing(look(units) if alone else shared_output.run_sharded(units, look)) as looked:
            for unit, parts in zip(units, looked, strict=False):
                surveyed._add(faces, zip(unit, chain.from_iterable(parts), strict=True))
                progress.advance(len(unit))
        return surveyed if alone else shared_output.broadcast(surveyed)

    def _add(self, faces: MaskJob, looked: Iterable[tuple[int, Survey | FaceError]]) -> None:
        for index, survey in looked:
            if isinstance(survey, FaceError):
                self.refused[index] = Refusal(faces.where(index), survey.reason, survey.detail)
            else:
                self.found.append(survey)


@dataclass(frozen=True)
class _Surveyor:
    """Measures faces; runs in processes of its own too."""

    masker: Masker

    def __call__(self, raw: RawFaces) -> list[Survey | FaceError]:
        return [self._look(*each) for each in zip(raw.faces.images(), raw.names, raw.repeated, strict=True)]

    def _look(self, data: bytes | FaceError, name: Name, repeated: bool) -> Survey | FaceError:
        try:
            if repeated:
                raise same_name()
            if isinstance(data, FaceError):
                raise data
            return Survey.of(self.masker.visible(data, name))
        except FaceError as error:
            return error


class _RawMixtures(NamedTuple):
    """Mixtures to be made together; of all their parts, one after the other, the photos, their names, mean colours and
    contrasts."""

    mixtures: Sequence[Mixture]
    faces: FaceChunk
    names: list[Name]
    colors: NDArray[np.float32]
    contrasts: NDArray[np.float64]


@dataclass(frozen=True)
class _ChunkMixer:
    """Makes mixtures of `people` people each; runs in processes of its own too."""

    masker: Masker
    people: int

    def __call__(self, raw: _RawMixtures) -> MaskedFaces:
        return MaskedFaces.of([*self.mixed(raw)])

    def mixed(self, raw: _RawMixtures) -> Iterator[NamedFace]:
        """Each mixture, masked, with its name; or why it was not."""
        photos = raw.faces.images()
        first = 0
        for mixture in raw.mixtures:
            part = slice(first, first + len(mixture.parts))
            first = part.stop
            images = [*islice(photos, len(mixture.parts))]
            try:
                faces = [*map(self._seen, images, raw.names[part], mixture.parts)]
                yield mixture.name, self._mixed(mixture, faces, raw.colors[part], raw.contrasts[part])
            except FaceError as error:
                yield error

    def _mixed(
        self, mixture: Mixture, faces: Sequence[SeenFace], colors: NDArray[np.float32], contrasts: NDArray[np.float64]
    ) -> MaskedFace:
        owner = owners(mixture.label, self.people)
        height, width = faces[0].image.shape[:2]
        color, contrast = colors.mean(axis=0), contrasts.mean()
        mixed, hidden = np.zeros((height, width, 3), np.uint8), np.ones(masking.TOKENS, np.bool_)
        for number, face in enumerate(faces):
            taken = ~face.mask & (owner == number)
            pixels = masking.per_pixel(taken, height, width)
            gain = np.clip(contrast / contrasts[number], 1 / MOST_GAIN, MOST_GAIN)
            mixed[pixels] = np.rint(((face.image[pixels] - colors[number]) * gain + color).clip(0, 255))
            hidden &= ~taken
        visible = np.flatnonzero(~hidden)
        hidden[visible[len(visible) // STEP * STEP :]] = True
        masking.check_plausible(hidden)
        image = encode_png(masking.apply(mixed, hidden))
        flags = any(face.resized for face in faces), any(face.subsampled for face in faces)
        return MaskedFace(image, int(hidden.sum()), faces[0].size, *flags)

    def _seen(self, data: bytes | FaceError, name: Name, part: Part) -> SeenFace:
        if isinstance(data, FaceError):
            raise data
        face = self.masker.visible(data, name)
        if not part.mirrored:
            return face
        turned = face.mask.reshape(masking.GRID, masking.GRID)[:, ::-1].reshape(masking.TOKENS)
        return face._replace(image=face.image[:, ::-1], mask=turned)


@dataclass(frozen=True)
class MixJob(MaskJob):
    """The mixtures of a dataset, made in the order of their names; safe to use from many threads.

    `order` numbers the `mixtures`; `surveyed.found` are of the faces of `source`.
    """

    mixing: Mixing
    mixtures: Sequence[Mixture]
    surveyed: Surveyed

    @classmethod
    def plan_of(cls, faces: MaskJob, surveyed: Surveyed, mixing: Mixing) -> MixJob:
        """Plans the mixtures of `faces`; those that cannot be masked are left out, refused.

        Raises UsageError as `plan_mixtures`, and where faces have several sizes; AllRefused where none can be masked.
        """
        source, (found, refused) = faces.source, surveyed
        assert faces.key is not None
        if not found:
            raise all_refused([*source.refused, *refused.values()])
        usable = Subset(source, refused.keys(), [*refused.values()]) if refused else source
        _require_one_size(found)
        names = [usable.name(index) for index in range(len(usable))]
        mixtures = plan_mixtures(names, np.stack([survey.pose for survey in found]), faces.key, mixing)
        order = range(len(mixtures))
        return cls(usable, names, order, frozenset(), faces.masker, faces.key, mixing, mixtures, surveyed)

    def plan(self) -> dict[str, Any]:
        """As of faces alone, and how they are mixed."""
        return super().plan() | {"mixing": self.mixing.as_json()}

    def face(self, index: int) -> NamedFace:
        """Mixture `index`, masked, with its name; or why it was not."""
        return next(self._mixer.mixed(self._raw_mixtures([index])))

    def where(self, index: int) -> str:
        """Where the first photo of mixture `index` stands."""
        return self.source.where(self.mixtures[index].parts[0].number)

    def sources(self) -> tuple[str, str]:
        """Of whom each mixed face is made, as CSV: what `leakage --sources` and `withdraw --sources` take; and the code
        that it has in common with its dataset, which stands in its first row like a face of nobody."""
        assert self.key is not None
        rows = [
            (f"{mixture.name.identity}/{mixture.name.photo}", *self.names[index])
            for mixture in self.mixtures
            for index in dict.fromkeys(part.number for part in mixture.parts)
        ]
        code = self.key.sources(_csv(rows))
        return _csv([SOURCES, (f"{SOURCES_CODE}{code}", "", ""), *rows]), code

    @property
    def _mixer(self) -> _ChunkMixer:
        return _ChunkMixer(self.masker, self.mixing.people)

    def _in_workers(self, workers: int, units: Sequence[Sequence[int]]) -> Generator[list[MaskedFaces], None, None]:
        return in_workers(self._mixer, self._raw_mixtures, units, workers)

    def _raw_mixtures(self, indexes: Sequence[int]) -> _RawMixtures:
        mixtures = [self.mixtures[index] for index in indexes]
        numbers = [part.number for mixture in mixtures for part in mixture.parts]
        surveys = [self.surveyed.found[number] for number in numbers]
        colors, contrasts = [survey.color for survey in surveys], [survey.contrast for survey in surveys]
        names = [self.names[number] for number in numbers]
        return _RawMixtures(mixtures, FaceChunk(self.source, numbers), names, np.array(colors), np.array(contrasts))


def _csv(rows: Iterable[Sequence[str | None]]) -> str:
    held = io.StringIO()
    csv.writer(held, lineterminator="\n").writerows(rows)
    return held.getvalue()


def _require_one_size(surveys: Sequence[Survey]) -> None:
    sizes = sorted({survey.size for survey in surveys})
    if len(sizes) > 1:
        some = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
        raise UsageError(
            f"faces of {len(sizes)} sizes ({some}) cannot be mixed: make them one size, as `mask --size 112` does"
        )
