"""What a recogniser is trained towards: its person's centre by a margin, a teacher's features, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from facemae_cli.data.faces import FaceSource, Refusal, fingerprint
from facemae_cli.data.packs.pairs import sample_pairs
from facemae_cli.data.packs.source import PackSource
from facemae_cli.errors import UsageError
from facemae_cli.evaluation.metrics import verify_pairs
from facemae_cli.inference.embed import embed
from facemae_cli.networks.card import Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.loading import build_embedder, load_embedder
from facemae_cli.reports import pictures
from facemae_cli.runtime.device import Precision, autocast
from facemae_cli.training.augmentation import augment
from facemae_cli.training.loader import Batch
from facemae_cli.training.margin_loss import ClassCentres, Margin
from facemae_cli.training.recipes import RecognizerRecipe
from facemae_cli.training.sync_batch_norm import synchronise
from facemae_cli.training.teacher import Teacher
from facemae_cli.training.trainer import Objective

HELD_OUT_PAIRS = 6000  # as LFW has


@dataclass(frozen=True)
class Pack:
    """Faces `indexes` of a source, and pairs of them to verify.

    `pairs`: (n, 2) positions in `indexes`; `same`: (n,) whether a pair shows one person.
    """

    source: FaceSource
    indexes: NDArray[np.int64]
    pairs: NDArray[np.int64]
    same: NDArray[np.bool_]
    refused: Sequence[Refusal] = ()

    @classmethod
    def of(cls, source: PackSource) -> Pack:
        """All of a verification pack."""
        return cls(source, np.arange(len(source)), source.pairs, source.same, source.refused)

    @property
    def digest(self) -> str:
        """What tells it from another pack: its faces, as `fingerprint` samples them, and its pairs."""
        pairs = hashlib.sha256(self.pairs.tobytes() + self.same.tobytes()).hexdigest()
        return f"{fingerprint(self.source)[:16]}-{pairs[:16]}"

    @classmethod
    def held_out(cls, source: FaceSource, held: Sequence[int], seed: int) -> Pack:
        """Pairs of faces `held` of `source`, sampled as LFW's were. Raises InputError where the people are too few."""
        pairs, same = sample_pairs([source.name(index).identity for index in held], HELD_OUT_PAIRS, seed)
        return cls(source, np.asarray(held, dtype=np.int64), pairs, same)


def trainable(model: Model, dim: int | None, parent: Model | None, seed: int, device: torch.device) -> Embedder:
    """The network of `model`'s card on `device`, fresh from `seed` or with `parent`'s weights.

    `dim` wins over the card's. Its batch norms span all ranks. Raises InputError where the card cannot be built,
    UsageError where the parent is of another architecture.
    """
    torch.manual_seed(seed)
    network, spec = build_embedder(model.card, dim), model.card.input
    if parent is not None:
        try:
            network.load_state_dict(load_embedder(parent).network.state_dict())
        except RuntimeError:
            raise UsageError(
                f"--init {parent.name} has another architecture or dimension than --model {model.name}"
            ) from None
    network = synchronise(network.to(memory_format=torch.channels_last).to(device), device)
    with torch.no_grad():
        features = network.eval()(torch.zeros(1, 3, *spec.sides, device=device))
    return Embedder(network, spec, features.shape[1]).to(device)


def build_centres(recipe: RecognizerRecipe, classes: int, dim: int, device: torch.device) -> ClassCentres | None:
    """The class centres a recipe asks for, None where it learns no classes."""
    if recipe.margin == "none":
        return None
    return ClassCentres(
        classes,
        dim,
        Margin(recipe.margin, recipe.margin_m),
        scale=recipe.scale,
        sample_rate=recipe.sample_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        device=device,
    )


class RecognizerObjective(Objective):
    """The objective of `train-recognizer`: see `facemae_cli.training.trainer.Objective`.

    `embedder` holds the network, and what it is given; `labels` (int64) give each face of the source its class. Without
    `centres` there are no labels to learn, without a `teacher` no features. `packs` are verified after each epoch.
    """

    def __init__(
        self,
        embedder: Embedder,
        centres: ClassCentres | None,
        labels: NDArray[np.int64],
        teacher: Teacher | None,
        recipe: RecognizerRecipe,
        steps_per_epoch: int,
        packs: Mapping[str, Pack],
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.network = embedder.network
        self.embedder, self.centres, self.teacher = embedder, centres, teacher
        self.labels, self.recipe, self.packs = torch.from_numpy(labels), recipe, packs
        self.device, self.precision = device, precision
        self.refused: list[Refusal] = []  # faces of packs; the same ones after each epoch
        self._rising = recipe.margin_warmup * steps_per_epoch
        self._mirrored: tuple[int, Tensor] = (-1, torch.empty(0))

    def loss(self, forward: Callable[..., Any], batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """Scalars `loss`; `margin` and `accuracy` over the labelled faces of all ranks; `teacher`, 1 - cosine."""
        images = batch.images.to(self.device, non_blocking=True).float().div_(255)
        if self.recipe.flip:
            flips = self._flips(epoch)[batch.samples].to(self.device)
            images = torch.where(flips[:, None, None, None], images.flip(3), images)
        if self.recipe.augment:
            images = augment(images, batch.samples, self.recipe.augment, self.recipe.seed, epoch)
        with autocast(self.device, self.precision):
            features = forward(self.embedder.prepare(images))
        features = features.float()
        terms: dict[str, Tensor] = {}
        total = features.new_zeros(())
        if self.centres is not None:
            strength = min(1.0, (step + 1) / self._rising) if self._rising else 1.0
            labels = self.labels[batch.samples].to(self.device)
            terms = self.centres.loss(features, labels, step, strength)
            total = total + terms["margin"]
        if self.teacher is not None:
            wanted = self.teacher.features(batch.images, batch.samples).to(self.device)
            terms["teacher"] = (1 - F.cosine_similarity(features, wanted)).mean()
            total = total + self.recipe.teacher_weight * terms["teacher"]
        return {"loss": total, **terms}

    def _flips(self, epoch: int) -> Tensor:
        """Which faces of the source are mirrored in this epoch: the same on any rank, in any batch."""
        if self._mirrored[0] != epoch:
            mirrored = np.random.default_rng([self.recipe.seed, epoch, 1]).random(len(self.labels)) < 0.5
            self._mirrored = epoch, torch.from_numpy(mirrored)
        return self._mirrored[1]

    def stepped(self, rate: float) -> None:
        """The centres follow the network, at its learning rate."""
        if self.centres is not None:
            self.centres.update(rate)

    def state(self) -> dict[str, Tensor]:
        """The centres and their momenta."""
        return self.centres.state() if self.centres is not None else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take the centres back."""
        if self.centres is not None:
            self.centres.restore(state)

    def validate(self) -> dict[str, float]:
        """Verification accuracy by pack; a pack without a whole pair is left out."""
        self.refused = [refusal for pack in self.packs.values() for refusal in pack.refused]
        figures = {name: self._accuracy(pack) for name, pack in self.packs.items()}
        return {name: figure for name, figure in figures.items() if figure is not None}

    def _accuracy(self, pack: Pack) -> float | None:
        found = embed(
            pack.source, self.embedder, device=self.device, precision=self.precision, indexes=pack.indexes.tolist()
        )
        self.refused += found.refused
        whole = found.valid[pack.pairs].all(1)
        if not whole.any():
            return None
        return verify_pairs(found.features, pack.pairs[whole], pack.same[whole]).accuracy

    def picture(self, folder: Path, history: list[dict[str, Any]], steps: list[dict[str, float]]) -> None:
        """Write `curves.png`."""
        pictures.curves(history, folder / "curves.png", steps)
