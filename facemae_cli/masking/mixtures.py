"""The mixtures of a dataset as a dataset of their own: each is masked and mixed when it is read, and kept nowhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facemae_cli.data.faces import FaceSource, Name
from facemae_cli.data.subset import Subset
from facemae_cli.errors import FaceError
from facemae_cli.masking.job import Masker, MaskJob
from facemae_cli.masking.key import Key
from facemae_cli.masking.mix_job import MixJob, Surveyed
from facemae_cli.masking.mixing import Mixing
from facemae_cli.runtime.progress import SILENT, Progress


class Mixtures(FaceSource):
    """What `mask --protect` would write of a dataset, in its order.

    `photos`: (m, people) the numbers of the photos that each mixture shows, in that dataset; of the first it is a copy.
    """

    def __init__(self, job: MixJob) -> None:
        source = job.source
        self._job, self.path, self.kind, self.refused, self.ignored = job, source.path, "mixtures", source.refused, 0
        parts = [[part.number for part in mixture.parts] for mixture in job.mixtures]
        kept = np.array(source.kept if isinstance(source, Subset) else range(len(source)), np.int64)
        self.photos: NDArray[np.int64] = kept[np.array(parts, np.int64)]

    @classmethod
    def of(
        cls, source: FaceSource, masker: Masker, key: Key, mixing: Mixing, workers: int, progress: Progress = SILENT
    ) -> Mixtures:
        """Those of the faces of `source` that can be masked. Raises UsageError and InputError as `MixJob.plan_of`."""
        faces = MaskJob.of(source, masker, key)
        return cls(MixJob.plan_of(faces, Surveyed.of(faces, workers, progress, alone=True), mixing))

    def __len__(self) -> int:
        return len(self._job.mixtures)

    def name(self, index: int) -> Name:
        return self._job.mixtures[index].name

    def where(self, index: int) -> str:
        return self._job.where(index)

    def read(self, index: int) -> bytes:
        face = self._job.face(index)
        if isinstance(face, FaceError):
            raise face
        return face[1].image
