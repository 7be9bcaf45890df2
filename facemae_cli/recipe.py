"""A fit recipe: every choice a masked autoencoder is fitted with, typed, checked and readable from YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facemae_cli.errors import UsageError
from facemae_cli.masking import count_to_hide

_LOSSES = ("irm", "mse", "mixed")
_CHOICES = {"loss": _LOSSES, "relation_scale": ("balanced", "paper"), "weights_dtype": ("float32", "float16")}
_AT_LEAST_ZERO = ("beta", "instance_weight", "pixel_weight", "view_shift", "view_blur", "warmup", "weight_decay")
_ABOVE_ZERO = ("epochs", "batch_size", "lr", "clip", "validation")


@dataclass(frozen=True)
class FitRecipe:
    """The fields of a card's `recipe`, of a `--recipe` file and of the flags of `facemae fit`.

    The defaults are the paper's (arXiv 2205.11090, section 4.1) where the paper gives one. `loss`: `irm` is Eq. 2
    alone, `mse` the pixel error alone (the plain MAE), `mixed` Eq. 2 and `pixel_weight` times the pixel error.
    """

    loss: str = "irm"
    beta: float = 1.0
    """Weight of relation matching, as in Eq. 2 (scaled with the batch: see `relation_scale`)."""
    instance_weight: float = 1.0
    """Weight of instance matching."""
    pixel_weight: float = 10.0
    """Weight of the mean squared pixel error, pixels in [0, 1]; only `mixed` uses it."""
    normalize: bool = True
    """Whether phi's features are L2-normalised before they are compared."""
    relation_scale: str = "balanced"
    """`balanced`: beta stands for a batch of 256 faces; `paper`: beta as it is at any batch size."""
    view_shift: int = 0
    """Phi sees both faces shifted by up to so many pixels of 112, the same way."""
    view_blur: float = 0.0
    """Phi sees both faces blurred by a Gaussian of up to this sigma in pixels, the same way."""
    second_view: bool = False
    """Each photo twice in a batch under two masks: same-person edges where people have one photo."""
    strategy: str = "random"
    ratio: float | None = None
    """Share of the patches hidden; None is the strategy's own (0.75)."""
    flip: bool = True
    """Half of the faces mirrored."""
    epochs: int = 200
    warmup: float = 40.0
    """Epochs of linear warm-up, before a cosine to zero."""
    batch_size: int = 256
    """Faces a step, over all ranks."""
    lr: float = 1.5e-4
    """Base learning rate for 256 faces a step; what is used is lr * batch_size / 256."""
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0
    """Largest norm of the gradient."""
    seed: int = 0
    validation: int = 512
    """About how many faces of held-out identities are measured after each epoch."""
    weights_dtype: str = "float32"
    """What `weights.safetensors` is written in."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"recipe {name}: {getattr(self, name)!r} is not known; say {' or '.join(known)}")
        for names, least, word in ((_AT_LEAST_ZERO, 0.0, "0 or more"), (_ABOVE_ZERO, 1e-300, "above 0")):
            for name in names:
                if getattr(self, name) < least:
                    raise UsageError(f"recipe {name}: {getattr(self, name)} must be {word}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"recipe {name}: {getattr(self, name)} must be in [0, 1)")
        if self.loss != "mse" and not (self.instance_weight or self.beta):
            raise UsageError("recipe: instance_weight and beta are both 0, so phi teaches nothing; say loss: mse")
        count_to_hide(self.strategy, self.ratio)

    @classmethod
    def of(cls, *layers: Mapping[str, Any] | None) -> FitRecipe:
        """A recipe from layers of fields, later ones winning; None fields and None layers say nothing.

        Raises UsageError for a field that is not known (listing the known ones) or has a wrong type or value.
        """
        fields: dict[str, Any] = {}
        known = [field.name for field in dataclasses.fields(cls)]
        for layer in layers:
            for name, value in (layer or {}).items():
                if name not in known:
                    raise UsageError(f"recipe has no field {name!r}; there are {', '.join(known)}")
                if value is not None:
                    fields[name] = value
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, for a card or a checkpoint."""
        return dataclasses.asdict(self)

    @property
    def uses_phi(self) -> bool:
        """Whether an embedder takes part in the loss."""
        return self.loss != "mse"

    @property
    def effective_pixel_weight(self) -> float:
        """What the pixel error counts for under `loss`."""
        return {"irm": 0.0, "mse": 1.0, "mixed": self.pixel_weight}[self.loss]

    @property
    def hidden(self) -> int:
        """Patches hidden of 196."""
        return count_to_hide(self.strategy, self.ratio)


def _check_type(name: str, value: object, declared: str) -> None:
    """Raise UsageError unless `value` is of the declared type; an int does for a float, a bool never for a number."""
    allowed = {"int": (int,), "float": (int, float), "float | None": (int, float, type(None)), "str": (str,)}
    wrong = (
        not isinstance(value, bool)
        if declared == "bool"
        else (isinstance(value, bool) or not isinstance(value, allowed[declared]))
    )
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"recipe {name}: {value!r} is not a {declared.replace(' | None', '')}")
