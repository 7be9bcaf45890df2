"""What `mask` does with the faces of a dataset under a key that is there, or under a new one that is tried first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.data.faces import FaceSource
from facemae_cli.data.output.names import check_face_name, check_file_name
from facemae_cli.masking.job import Masker, MaskJob
from facemae_cli.masking.key import Key
from facemae_cli.masking.mix_job import MixJob, Surveyed
from facemae_cli.masking.mixing import Mixing
from facemae_cli.runtime import shared_output
from facemae_cli.runtime.progress import Progress


@dataclass
class MaskJobs:
    """What to do with the faces of `source`, for one key or another; `tried`: a new key, and what is done under it."""

    source: FaceSource
    masker: Callable[[Key | None], Masker]
    keep_names: bool
    mixing: Mixing | None
    workers: int
    progress: Progress
    tried: tuple[Key, MaskJob] | None = None

    def try_key(self, out: Path) -> Key:
        """A new key, under which a face at least can be masked into `out`; this rank alone looks at the faces.

        Raises AllRefused where there is no such face, and as `MixJob.plan_of`.
        """
        key = Key.passing()
        job = self._faces(key)
        if self.mixing:
            surveyed = Surveyed.of(job, self.workers, self.progress, alone=True)
            job = MixJob.plan_of(job, surveyed, self.mixing)
        job.require_usable(check_face_name if out.suffix.lower() == ".rec" else check_file_name, self.workers)
        self.tried = key, job
        return key

    def under(self, key: Key | None) -> MaskJob:
        """The job under `key`. Faces that the rank that tried it has looked at, no rank looks at again."""
        job = self.tried[1] if self.tried and self.tried[0] == key else None
        if self.mixing is None:
            return job or self._faces(key)
        surveyed = shared_output.broadcast(job.surveyed if isinstance(job, MixJob) else None)
        faces = self._faces(key)
        surveyed = surveyed or Surveyed.of(faces, self.workers, self.progress)
        return job or MixJob.plan_of(faces, surveyed, self.mixing)

    def _faces(self, key: Key | None) -> MaskJob:
        return MaskJob.of(self.source, self.masker(key), None if self.keep_names else key)
