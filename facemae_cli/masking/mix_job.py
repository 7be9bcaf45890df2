"""Raw faces into masked PNGs that show patches of several people each, as `masking.mixing` plans them.

Of each photo only patches are used that `mask` leaves visible: so all mixtures together show no more of it than one
masked face would. Colours of all parts move to their middle, so that no edge betrays what is whose. Once a mixture is
reconstructed, it is warped a little (`masking.warp`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource, Refusal
from facemae_cli.data.images.codec import encode_png
from facemae_cli.data.output.output import all_refused
from facemae_cli.data.side_files import SOURCES
from facemae_cli.data.subset import Subset
from facemae_cli.errors import FaceError, UsageError
from facemae_cli.masking import patches as masking
from facemae_cli.masking.job import MaskedFace, Masker, MaskJob, NamedFace, SeenFace, same_name
from facemae_cli.masking.key import Key
from facemae_cli.masking.mixing import Mixing, Mixture, plan_mixtures
from facemae_cli.masking.regions import owners
from facemae_cli.runtime.progress import Progress
from facemae_cli.runtime.threads import ordered_map

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


@dataclass(frozen=True)
class MixJob(MaskJob):
    """The mixtures of a dataset, made in the order of their names; safe to use from many threads.

    `order` numbers the `mixtures`; `surveys` are of the faces of `source`.
    """

    mixing: Mixing
    mixtures: Sequence[Mixture]
    surveys: Sequence[Survey]

    @classmethod
    def survey(
        cls, source: FaceSource, masker: Masker, key: Key, mixing: Mixing, workers: int, progress: Progress
    ) -> MixJob:
        """Looks at all faces and plans their mixtures; those that cannot be masked are left out, refused.

        Raises UsageError as `plan_mixtures`, and where faces have several sizes; AllRefused where none can be masked.
        """
        found, refused = _surveyed(MaskJob.of(source, masker, key), workers, progress)
        if not found:
            raise all_refused([*source.refused, *refused.values()])
        usable = Subset(source, refused.keys(), [*refused.values()]) if refused else source
        _require_one_size(found)
        names = [usable.name(index) for index in range(len(usable))]
        mixtures = plan_mixtures(names, np.stack([survey.pose for survey in found]), key, mixing)
        return cls(usable, names, range(len(mixtures)), frozenset(), masker, key, mixing, mixtures, found)

    def plan(self) -> dict[str, Any]:
        """As of faces alone, and how they are mixed."""
        return super().plan() | {"mixing": self.mixing.as_json()}

    def _masked(self, workers: int, units: Sequence[Sequence[int]]) -> Generator[list[NamedFace], None, None]:
        return self._by_threads(workers, units)

    def face(self, index: int) -> NamedFace:
        """Mixture `index`, masked, with its name; or why it was not."""
        mixture = self.mixtures[index]
        try:
            return mixture.name, self._mixed(mixture)
        except FaceError as error:
            return error

    def where(self, index: int) -> str:
        """Where the first photo of mixture `index` stands."""
        return self.source.where(self.mixtures[index].parts[0].number)

    def sources(self) -> str:
        """Of whom each mixed face is made, as CSV: what `leakage --sources` and `withdraw --sources` take."""
        held = io.StringIO()
        rows = (
            (f"{mixture.name.identity}/{mixture.name.photo}", *self.names[index])
            for mixture in self.mixtures
            for index in dict.fromkeys(part.number for part in mixture.parts)
        )
        csv.writer(held, lineterminator="\n").writerows([SOURCES, *rows])
        return held.getvalue()

    def _mixed(self, mixture: Mixture) -> MaskedFace:
        owner = owners(mixture.label, self.mixing.people)
        surveys = [self.surveys[part.number] for part in mixture.parts]
        height, width = surveys[0].size
        color = np.mean([survey.color for survey in surveys], axis=0)
        contrast = float(np.mean([survey.contrast for survey in surveys]))
        mixed, hidden = np.zeros((height, width, 3), np.uint8), np.ones(masking.TOKENS, np.bool_)
        faces = [self._seen(part.number, part.mirrored) for part in mixture.parts]
        for number, (face, survey) in enumerate(zip(faces, surveys, strict=True)):
            taken = ~face.mask & (owner == number)
            pixels = masking.per_pixel(taken, height, width)
            gain = np.clip(contrast / survey.contrast, 1 / MOST_GAIN, MOST_GAIN)
            mixed[pixels] = np.rint(((face.image[pixels] - survey.color) * gain + color).clip(0, 255))
            hidden &= ~taken
        visible = np.flatnonzero(~hidden)
        hidden[visible[len(visible) // STEP * STEP :]] = True
        masking.check_plausible(hidden)
        image = encode_png(masking.apply(mixed, hidden))
        flags = any(face.resized for face in faces), any(face.subsampled for face in faces)
        return MaskedFace(image, int(hidden.sum()), faces[0].size, *flags)

    def _seen(self, index: int, mirrored: bool) -> SeenFace:
        face = self.masker.visible(self.source.read(index), self.names[index])
        if not mirrored:
            return face
        turned = face.mask.reshape(masking.GRID, masking.GRID)[:, ::-1].reshape(masking.TOKENS)
        return face._replace(image=face.image[:, ::-1], mask=turned)


def _surveyed(job: MaskJob, workers: int, progress: Progress) -> tuple[list[Survey], dict[int, Refusal]]:
    """What is known of the faces of `job`, in their order; and, by number, those that cannot be masked."""
    count = len(job.names)
    progress.start("look at faces", count)

    def look(index: int) -> Survey | FaceError:
        try:
            if index in job.repeated:
                raise same_name()
            return Survey.of(job.masker.visible(job.source.read(index), job.names[index]))
        except FaceError as error:
            return error

    found: list[Survey] = []
    refused: dict[int, Refusal] = {}
    with closing(ordered_map(look, range(count), workers)) as surveys:
        for index, survey in enumerate(surveys):
            progress.advance()
            if isinstance(survey, FaceError):
                refused[index] = Refusal(job.where(index), survey.reason, survey.detail)
            else:
                found.append(survey)
    return found, refused


def _require_one_size(surveys: Sequence[Survey]) -> None:
    sizes = sorted({survey.size for survey in surveys})
    if len(sizes) > 1:
        some = ", ".join(f"{width}x{height}" for height, width in sizes[:3])
        raise UsageError(
            f"faces of {len(sizes)} sizes ({some}) cannot be mixed: make them one size, as `mask --size 112` does"
        )
