"""The attacker's own release: their photos masked and reconstructed as the release was, in memory, seen by embedders.

They have no key, so each photo gets masks of their own. Of several masks a photo the features are added up: what the
masks differ in averages out, what they agree in stays. Where the release is mixed, they mix people of their own, by a
key of their own: from these they can learn, but not ask with them, not knowing with whom their photos were mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from facemae_cli.data.faces import PROBED, FaceSource
from facemae_cli.data.images.codec import decode_visible, opaque, visible
from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import FaceError
from facemae_cli.evaluation.leakage.fingerprints import SIDE as SIDE_OF_THUMBNAILS
from facemae_cli.evaluation.leakage.fingerprints import Pixels
from facemae_cli.evaluation.leakage.thumbnails import Thumbnails
from facemae_cli.inference import feature_cache
from facemae_cli.inference.masked_reader import MaskedReader, VisibleFaces
from facemae_cli.inference.pipeline import Runner, choose_batch_size
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.inference.reconstruct import Reconstructor, release
from facemae_cli.inference.released_writer import ReleasedWriter
from facemae_cli.masking.job import Masker
from facemae_cli.masking.key import Key, seed_mask_key
from facemae_cli.masking.mix_job import hidden_before
from facemae_cli.masking.mixing import Mixing, warp_of
from facemae_cli.masking.mixtures import Mixtures
from facemae_cli.masking.patches import DEFAULT_RATIO
from facemae_cli.networks.backends import Backend, compile_autoencoder
from facemae_cli.networks.card import InputSpec, Model
from facemae_cli.networks.loading import load_mae
from facemae_cli.runtime.device import Precision
from facemae_cli.runtime.progress import SILENT, Progress

SIDE = 112  # faces whose sides the grid does not divide are resized to it, as `mask --size` does
MASKED_ONLY = "mask"  # what an imitation is called that only masks, of a release that was only masked
QUALITY = 95


# A face under one mask: what of it is visible, its pixels where no model reconstructs, None where it is not masked.
MaskedForm = VisibleFaces | Pixels | None


@dataclass(frozen=True)
class MaskingRecipe:
    """How the release's faces were masked: by `strategy`, so large a share (None: the strategy's own), at `size`; and
    how they were mixed then (None: each is of one person)."""

    strategy: str = "random"
    ratio: float | None = DEFAULT_RATIO
    size: int | None = None
    mixing: Mixing | None = None

    @classmethod
    def of(cls, manifest: Manifest | None, source: FaceSource) -> MaskingRecipe:
        """That of a release, by its manifest; by default three quarters at random. Faces of `source` that could not be
        masked at their own size are resized. Raises UsageError as `Mixing.of`."""
        strategy = (manifest.strategy if manifest else None) or "random"
        ratio = manifest.mask_ratio if manifest else None
        ratio = None if strategy == "parts" else DEFAULT_RATIO if ratio is None else ratio
        mixing = Mixing.of(manifest)
        if mixing and ratio is not None:
            ratio = hidden_before(ratio)
        said = manifest.extra.get("size") if manifest else None
        size = said if isinstance(said, int) else None
        size = size or (None if _fits(source, Masker(strategy, ratio, seed=0)) else SIDE)
        return cls(strategy, ratio, size, mixing)

    def masker(self, seed: int, number: int) -> Masker:
        """Mask `number` of every photo, from `seed`."""
        return Masker(self.strategy, self.ratio, None, _mask_seed(seed, number), self.size)

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f", ratio {self.ratio:.4g}"
        mixed = f", {self.mixing}" if self.mixing else ""
        return self.strategy + ratio + (f", resized to {self.size}" if self.size else "") + mixed


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
    that is None. What the recipe mixes comes as its `mixtures`, which are masked, and is warped as released mixtures
    are; what is masked already never is, since nobody who reconstructs it must."""

    model: Model | None
    recipe: MaskingRecipe | None
    device: torch.device
    precision: Precision
    batch_size: str = "auto"
    backend: Backend = "torch"

    @property
    def name(self) -> str:
        """What a result calls it."""
        return self.model.name if self.model else MASKED_ONLY

    @property
    def mixing(self) -> Mixing | None:
        """How faces are mixed before they are reconstructed."""
        return self.recipe.mixing if self.recipe else None

    def mixtures(self, source: FaceSource, seed: int, workers: int, progress: Progress = SILENT) -> Mixtures:
        """The faces of `source`, masked and mixed as the release's were, by a key from `seed`, to be reconstructed.

        Raises UsageError for faces that cannot be mixed, InputError where none can be masked.
        """
        assert self.recipe is not None
        assert self.recipe.mixing is not None
        key = Key(seed_mask_key(_mask_seed(seed, 0)))
        return Mixtures.of(source, self.recipe.masker(seed, 0), key, self.recipe.mixing, workers, progress)

    @property
    def digest(self) -> str:
        """What tells its faces from another's."""
        how = f"{self.precision} {self.device.type}" + ("" if self.backend == "torch" else f" by {self.backend}")
        return f"{self.model.digest if self.model else MASKED_ONLY} {self.recipe} {how}"

    def place(self, cache: Path, faces: str, attacker: Recognizer | Thumbnails, times: int, seed: int) -> Path:
        """Where `cache` keeps what `attacker` sees of faces of this digest, made under `times` masks from `seed`.

        Makes the folder where it is not there. Raises OutputError.
        """
        made = f"{faces} made by {self.digest} {times} times from {seed}"
        if isinstance(attacker, Thumbnails):
            return feature_cache.place(cache, made, attacker.name, InputSpec(SIDE_OF_THUMBNAILS))
        spec, how = attacker.embedder.spec, (attacker.precision, attacker.device.type)
        return feature_cache.place(cache, made, attacker.digest, spec, *how)


class Imitation:
    """An imitator at work on `source`, under `times` masks a photo from `seed`.

    Raises UsageError and InputError for a model that cannot be used.
    """

    def __init__(self, by: Imitator, source: FaceSource, times: int, seed: int) -> None:
        self.by, self.source, self.times = by, source, times
        recipe, warp = by.recipe, warp_of(by.mixing)
        self._maskers = [
            None if recipe is None or by.mixing else recipe.masker(seed, number) for number in range(times)
        ]
        self.runner: Runner | None = None
        if by.model is not None:
            network = Reconstructor(compile_autoencoder(load_mae(by.model, by.device), by.backend, by.precision))
            self.runner = Runner(network, by.device, by.precision, 1)
            self.runner.batch_size = choose_batch_size(by.batch_size, self.runner, network.example())
            paste = by.model.card.paste_visible
            self._reader, self._writer = (
                MaskedReader(network.patch, kept=int(paste), digests=warp > 0),
                ReleasedWriter("jpg", QUALITY, paste, warp=warp),
            )

    def masked(self, index: int, data: bytes, image: Pixels) -> list[MaskedForm]:
        """Face `index`, `data` decoded to `image` (H, W, 3 or 4), under each mask; safe from many threads."""
        return [self._masked(index, data, image, masker) for masker in self._maskers]

    def _masked(self, index: int, data: bytes, image: Pixels, masker: Masker | None) -> MaskedForm:
        try:
            made = image if masker is None else masker.pixels(data, opaque(image), self.source.name(index))
        except FaceError:
            return None
        return made if self.runner is None else self._reader.of_pixels([made])

    def reconstruct(self, faces: Sequence[MaskedForm]) -> list[Pixels | None]:
        """(H, W, 3) uint8 of each masked face, None where there is none; as it looks, where no model reconstructs."""
        made: list[Pixels | None] = [None] * len(faces)
        if self.runner is None:
            return [visible(face) if isinstance(face, np.ndarray) else None for face in faces]
        there = [(at, face) for at, face in enumerate(faces) if isinstance(face, VisibleFaces)]
        if there:
            released = release([face for _, face in there], self.runner)
            for (at, _), face in zip(there, released, strict=True):
                [made[at]] = self._writer.finished(face)
        return made

    def published(self, image: Pixels) -> Pixels:
        """A reconstructed face as whoever opens the release gets it; safe from many threads."""
        return image if self.runner is None else decode_visible(self._writer.encoded(image))


def _mask_seed(seed: int, number: int) -> int:
    """Another seed for every mask of a photo, and for every seed of an audit."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
