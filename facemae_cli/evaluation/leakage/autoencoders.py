"""Which autoencoders reconstruct faces in an audit: attackers' imitations, what they learn from, a masked release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from facemae_cli.errors import UsageError
from facemae_cli.evaluation.leakage.attackers import Origin, bundled_autoencoders
from facemae_cli.evaluation.leakage.datasets import Datasets
from facemae_cli.evaluation.leakage.imitation import Imitator, MaskingRecipe
from facemae_cli.masking.mixing import people_to_mix
from facemae_cli.networks.backends import Backend
from facemae_cli.networks.card import Model
from facemae_cli.runtime.device import Precision


@dataclass(frozen=True)
class Autoencoders:
    """What reconstructs faces in an audit: the `given` models, else the release's own, and how they compute."""

    given: Sequence[Model]
    precision: Precision
    device: torch.device
    batch_size: str = "auto"
    backend: Backend = "torch"

    def imitators(self, origin: Origin, data: Datasets, imitations: int) -> tuple[list[Imitator], str | None]:
        """What imitates the release; and why there is nothing although it was asked for. Raises UsageError for given
        models that would do nothing, or are called alike."""
        self._check_given(origin, data, imitations)
        if not imitations:
            return [], None
        recipe = MaskingRecipe.of(data.manifest, data.original)
        if recipe.mixing:
            return [], "its faces are mixed, and whoever asks does not know with whom their photos were"
        models, why_none = _as_the_release(self.given, origin, data)
        return [self._imitator(model, recipe) for model in models], why_none and f"{why_none}: use --imitation-model"

    def adapter(self, origin: Origin, data: Datasets) -> Imitator | None:
        """What makes the attacker's own faces as the release was made, where they have some. Raises UsageError where
        that is not known, and for faces that cannot be mixed as the release's are."""
        if (faces := data.adapt) is None:
            return None
        models, why_none = _as_the_release(self.given, origin, data)
        if not models:
            raise UsageError(
                f"--adapt {faces.path} needs something to reconstruct the faces with, and {why_none}: use "
                "--imitation-model"
            )
        recipe = MaskingRecipe.of(data.manifest, faces)
        if recipe.mixing:
            try:
                people_to_mix([faces.name(index) for index in range(len(faces))], recipe.mixing)
            except UsageError as error:
                raise UsageError(f"--adapt {faces.path}: {error}") from None
        return self._imitator(models[0], recipe)

    def rebuilders(self, data: Datasets) -> list[Imitator]:
        """What reconstructs a release that is masked, as anybody who holds it can."""
        models = {model.digest: model for model in (*bundled_autoencoders(), *self.given)} if data.masked else {}
        return [self._imitator(model, None) for model in models.values()]

    def _check_given(self, origin: Origin, data: Datasets, imitations: int) -> None:
        """Without imitations the first is what attackers adapt by, any reconstructs a masked release, and one that is
        the release's own says by its ancestors who is independent of it."""
        named = Counter(model.name for model in self.given)
        if alike := next((name for name, count in named.items() if count > 1), None):
            raise UsageError(f"--imitation-model {alike}: {named[alike]} are called so, and results tell them by name")
        if imitations or data.masked:
            return
        used = list(self.given[:1]) if data.adapt is not None else []
        known = {model.digest for model in bundled_autoencoders()}
        if origin.model is not None and origin.model.digest not in known:
            used.append(origin.model)
        if idle := next((model for model in self.given if model not in used), None):
            raise UsageError(
                f"--imitation-model {idle.name} would do nothing, since --imitations 0 makes none: leave one of "
                "them out"
            )

    def _imitator(self, model: Model | None, recipe: MaskingRecipe | None) -> Imitator:
        return Imitator(model, recipe, self.device, self.precision, self.batch_size, self.backend)


def _as_the_release(given: Sequence[Model], origin: Origin, data: Datasets) -> tuple[list[Model | None], str | None]:
    """The models that reconstruct as the release's does: those given, else its own; None stands for masking alone. And
    why there are none, where none is known."""
    if given:
        return list(given), None
    if origin.model is not None:
        return [origin.model], None
    if data.masked:
        return [None], None
    return [], "its model is not bundled" if origin.sha256 else "no model of it is known"
