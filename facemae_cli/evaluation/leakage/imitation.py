"""The attacker's own release: his photos masked and reconstructed as the release was, in memory, seen by his attackers.

He has no key, so each photo gets masks of his own. Of several masks a photo the features are added up: what the masks
differ in averages out, what they agree in stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from facemae_cli.data.faces import FaceSource, Name
from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import FaceError, InputError
from facemae_cli.evaluation.leakage.scan import SIDE as SIDE_OF_THUMBNAILS
from facemae_cli.evaluation.leakage.thumbnails import Thumbnails
from facemae_cli.inference import feature_cache
from facemae_cli.inference.embed import Embeddings, MirrorSum, evaluating, normalised
from facemae_cli.inference.pipeline import Runner, choose_batch_size, pipeline
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.inference.reconstruct import (
    MaskedReader,
    Reconstructor,
    ReleasedFace,
    ReleasedWriter,
    VisibleFace,
    release,
)
from facemae_cli.masking.job import Masker
from facemae_cli.masking.patches import DEFAULT_RATIO
from facemae_cli.networks.card import InputSpec, Model
from facemae_cli.networks.loading import load_mae
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import Precision
from facemae_cli.runtime.progress import SILENT, Progress

CHUNK = 1024  # faces held as encoded images at a time
SIDE = 112  # faces whose sides the grid does not divide are resized to it, as `mask --size` does
PROBED = 8
MASKED_ONLY = "mask"  # what an imitation is called that only masks, of a release that was only masked
QUALITY = 95


@dataclass(frozen=True)
class Recipe:
    """How the release's faces were masked: by `strategy`, so large a share (None: the strategy's own), at `size`."""

    strategy: str = "random"
    ratio: float | None = DEFAULT_RATIO
    size: int | None = None

    @classmethod
    def of(cls, manifest: Manifest | None, source: FaceSource) -> Recipe:
        """That of a release, by its manifest; by default three quarters at random. Faces of `source` that could not be
        masked at their own size are resized."""
        strategy = (manifest.strategy if manifest else None) or "random"
        ratio = manifest.mask_ratio if manifest else None
        ratio = None if strategy == "parts" else DEFAULT_RATIO if ratio is None else ratio
        said = manifest.extra.get("size") if manifest else None
        size = said if isinstance(said, int) else None
        return cls(strategy, ratio, size or (None if _fits(source, Masker(strategy, ratio, seed=0)) else SIDE))

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f", ratio {self.ratio:.4g}"
        return self.strategy + ratio + (f", resized to {self.size}" if self.size else "")


def _fits(source: FaceSource, masker: Masker) -> bool:
    for index in range(min(PROBED, len(source))):
        try:
            masker.face(source.read(index), source.name(index))
        except FaceError as error:
            if error.reason == "bad-size":
                return False
    return True


@dataclass(frozen=True)
class Imitator:
    """Masks faces by `recipe` (None: they are masked already) and reconstructs them with `model`; only masks them where
    that is None."""

    model: Model | None
    recipe: Recipe | None
    device: torch.device
    precision: Precision
    batch_size: str = "auto"

    @property
    def name(self) -> str:
        """What a result calls it."""
        return self.model.name if self.model else MASKED_ONLY

    @property
    def digest(self) -> str:
        """What tells its faces from another's."""
        return f"{self.model.digest if self.model else MASKED_ONLY} {self.recipe} {self.precision} {self.device.type}"

    def reconstructor(self, threads: int) -> Reconstruct:
        """What reconstructs faces `wanted` of masked ones: encoded images, or why there is none.

        Raises UsageError and InputError for a model that cannot be used.
        """
        if self.model is None:
            return _read
        paste = self.model.card.paste_visible
        network = Reconstructor(load_mae(self.model, self.device))
        writer, runner = ReleasedWriter("jpg", QUALITY), Runner(network, self.device, self.precision, 1)
        runner.batch_size = choose_batch_size(self.batch_size, runner, network.example())

        def compute(faces: list[VisibleFace]) -> list[ReleasedFace]:
            return release(faces, runner, paste=paste)

        def reconstruct(masked: FaceSource, wanted: range) -> list[bytes | FaceError]:
            step = runner.batch_size
            units = [wanted[at : at + step] for at in range(0, len(wanted), step)]
            reader = MaskedReader(masked, network.patch, None)
            with closing(pipeline(units, reader.read, compute, writer.encode, threads=threads)) as stages:
                return [face.error or face.encoded for unit in stages for face in unit]

        return reconstruct

    def faces(
        self, source: FaceSource, seed: int, reconstruct: Reconstruct, progress: Progress
    ) -> Iterator[EncodedFaces]:
        """All of `source`, under the masks of `seed`, CHUNK at a time; each rank makes a share, all get all."""
        masked = source
        if self.recipe is not None:
            masker = Masker(self.recipe.strategy, self.recipe.ratio, None, seed, self.recipe.size)
            masked = MaskedFaces(source, masker)
        for first in range(0, len(source), CHUNK):
            chunk = range(first, min(first + CHUNK, len(source)))
            low, high = distributed.share(len(chunk))
            reconstructed = distributed.gather_objects(reconstruct(masked, chunk[low:high]))
            progress.advance(len(chunk))
            yield EncodedFaces(source, chunk.start, [image for part in reconstructed for image in part])


class MaskedFaces(FaceSource):
    """A dataset whose faces are masked as they are read."""

    kind = "masked"

    def __init__(self, source: FaceSource, masker: Masker) -> None:
        self.source, self.masker = source, masker
        self.path, self.refused, self.ignored = source.path, source.refused, source.ignored

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> Name:
        return self.source.name(index)

    def where(self, index: int) -> str:
        return self.source.where(index)

    def read(self, index: int) -> bytes:
        """Face `index` as a masked PNG. Raises FaceError where it cannot be read or masked."""
        return self.masker.face(self.source.read(index), self.name(index)).image


class EncodedFaces(FaceSource):
    """Faces `first`, `first + 1`, ... of a dataset as images in memory, or why there is none."""

    kind = "memory"

    def __init__(self, source: FaceSource, first: int, images: Sequence[bytes | FaceError]) -> None:
        self.source, self.first, self.images = source, first, images
        self.path, self.refused, self.ignored = source.path, (), 0

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> Name:
        return self.source.name(self.first + index)

    def where(self, index: int) -> str:
        return self.source.where(self.first + index)

    def read(self, index: int) -> bytes:
        """The encoded image. Raises FaceError where there is none."""
        image = self.images[index]
        if isinstance(image, FaceError):
            raise image
        return image


Reconstruct = Callable[[FaceSource, range], list[bytes | FaceError]]


def _read(source: FaceSource, wanted: range) -> list[bytes | FaceError]:
    images: list[bytes | FaceError] = []
    for index in wanted:
        try:
            images.append(source.read(index))
        except FaceError as error:
            images.append(error)
    return images


def imitate(
    source: FaceSource,
    imitator: Imitator,
    attackers: Sequence[Recognizer | Thumbnails],
    *,
    times: int,
    seed: int,
    threads: int,
    digest: str,
    batch_size: str = "auto",
    cache: Path | None = None,
    progress: Progress = SILENT,
) -> list[Embeddings]:
    """What each attacker sees of `source` as `imitator` makes it under `times` masks a photo: unit features, (n, D).

    `digest`: of all bytes of `source`, by which `cache` keeps features. A photo that was made under no mask is not
    valid; nothing is refused, since the photos themselves can be read.
    """
    files = [_place(cache, digest, imitator, attacker, times, seed) for attacker in attackers]
    kept = _kept(files, source, attackers, progress)
    if kept is not None:
        return kept
    if not len(source):
        raise InputError(f"{source.path} holds no faces to imitate the release with")
    sums = [np.zeros((len(source), attacker.dim), np.float32) for attacker in attackers]
    progress.start(f"imitate by {imitator.name}", times * len(source))
    reconstruct, options = imitator.reconstructor(threads), [_options(batch_size, attacker) for attacker in attackers]
    for number in range(times):
        for faces in imitator.faces(source, _mask_seed(seed, number), reconstruct, progress):
            part = slice(faces.first, faces.first + len(faces))
            for total, attacker, more in zip(sums, attackers, options, strict=True):
                total[part] += attacker.embed(faces, workers=threads, **more).features
    made = [Embeddings(*normalised(total), refused=[]) for total in sums]
    for file, each in zip(files, made, strict=True):
        if file is not None and distributed.rank() == 0:
            feature_cache.save(file, each.features, each.valid, 0)
    return made


def _options(asked: str, attacker: Recognizer | Thumbnails) -> dict[str, str]:
    """What batch size `asked` means for an attacker by a network, found once and not for every chunk."""
    if isinstance(attacker, Thumbnails):
        return {}
    side = attacker.embedder.spec.size
    runner = Runner(MirrorSum(attacker.embedder), attacker.device, attacker.precision, 1)
    with evaluating(attacker.embedder):
        chosen = choose_batch_size(asked, runner, [torch.zeros(1, side, side, 3, dtype=torch.uint8)])
    return {"batch_size": str(chosen)}


def _mask_seed(seed: int, number: int) -> int:
    """Another seed for every mask of a photo, and for every seed of an audit."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


def _place(
    cache: Path | None, digest: str, imitator: Imitator, attacker: Recognizer | Thumbnails, times: int, seed: int
) -> Path | None:
    if cache is None:
        return None
    reconstructed = f"{digest} made by {imitator.digest} {times} times from {seed}"
    if isinstance(attacker, Thumbnails):
        return feature_cache.place(cache, reconstructed, attacker.name, InputSpec(SIDE_OF_THUMBNAILS))
    spec, how = attacker.embedder.spec, (attacker.precision, attacker.device.type)
    return feature_cache.place(cache, reconstructed, attacker.digest, spec, *how)


def _kept(
    files: Sequence[Path | None], source: FaceSource, attackers: Sequence[Recognizer | Thumbnails], progress: Progress
) -> list[Embeddings] | None:
    """What the cache holds, where it holds all of it."""
    found = None
    if distributed.rank() == 0 and all(file is not None for file in files):
        shapes = [(len(source), attacker.dim) for attacker in attackers]
        loaded = [feature_cache.load(file, shape, progress) for file, shape in zip(files, shapes, strict=True) if file]
        if all(each is not None for each in loaded):
            found = [Embeddings(each[0], each[1], []) for each in loaded if each is not None]
    return distributed.gather_objects(found)[0]
