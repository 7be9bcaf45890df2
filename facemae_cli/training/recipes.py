"""A recipe: every choice a network is trained with, typed, checked and readable from YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from facemae_cli.errors import UsageError
from facemae_cli.masking.patches import count_to_hide

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "str": (str,),
}


@dataclass(frozen=True)
class Recipe:
    """What all recipes have in common: layers of fields, checks of types and of the ranges that are stated here."""

    _choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    _at_least_zero: ClassVar[tuple[str, ...]] = ()
    _above_zero: ClassVar[tuple[str, ...]] = ()
    _below_one: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        for name, known in self._choices.items():
            if getattr(self, name) not in known:
                raise UsageError(f"recipe {name}: {getattr(self, name)!r} is not known; say {' or '.join(known)}")
        for name in self._at_least_zero:
            if getattr(self, name) < 0:
                raise UsageError(f"recipe {name}: {getattr(self, name)} must be 0 or more")
        for name in self._above_zero:
            if getattr(self, name) <= 0:
                raise UsageError(f"recipe {name}: {getattr(self, name)} must be above 0")
        for name in self._below_one:
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"recipe {name}: {getattr(self, name)} must be in [0, 1)")

    @classmethod
    def of(cls, *layers: Mapping[str, Any] | None) -> Self:
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
                    fields[name] = tuple(value) if isinstance(value, list) else value
        return cls(**fields)

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, for a card or a checkpoint."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class FitRecipe(Recipe):
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
    privacy_margin: float | None = None
    """Each face's cosine to its own original, as phi sees it, is pushed below this; None: no push."""
    privacy_weight: float = 1.0
    """Weight of that push."""
    normalize: bool = True
    """Whether phi's features are L2-normalised before they are compared."""
    relation_scale: str = "balanced"
    """`balanced`: beta stands for a batch of 256 faces; `paper`: beta as it is at any batch size."""
    view_shift: int = 0
    """Phi sees both faces shifted by up to so many pixels of 112, the same way."""
    view_blur: float = 0.0
    """Phi sees both faces blurred by a Gaussian of up to this sigma in pixels, the same way."""
    view_augment: float = 0.0
    """How far phi sees both faces moved, turned, zoomed, lit and hidden by squares, the same way, in [0, 1]."""
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

    _choices = {  # noqa: RUF012
        "loss": ("irm", "mse", "mixed"),
        "relation_scale": ("balanced", "paper"),
        "weights_dtype": ("float32", "float16"),
    }
    _at_least_zero = (
        "beta", "instance_weight", "pixel_weight", "privacy_weight", "view_shift", "view_blur", "view_augment",
        "warmup", "weight_decay",
    )  # fmt: skip
    _above_zero = ("epochs", "batch_size", "lr", "clip", "validation")
    _below_one = ("beta1", "beta2")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss != "mse" and not (self.instance_weight or self.beta):
            raise UsageError("recipe: instance_weight and beta are both 0, so phi teaches nothing; say loss: mse")
        if self.view_augment > 1:
            raise UsageError(f"recipe view_augment: {self.view_augment} must be in [0, 1]")
        if self.privacy_margin is not None:
            if self.loss == "mse":
                raise UsageError("recipe: privacy_margin is judged by phi, which loss: mse does not use")
            if not -1 <= self.privacy_margin < 1:
                raise UsageError(f"recipe privacy_margin: {self.privacy_margin} is a cosine, in [-1, 1)")
        count_to_hide(self.strategy, self.ratio)

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


@dataclass(frozen=True)
class RecognizerRecipe(Recipe):
    """The fields of a recogniser card's `recipe`, of a `--recipe` file and of the flags of `facemae train-recognizer`.

    The defaults are the paper's (arXiv 2205.11090, section 4.1) where the paper gives one.
    """

    margin: str = "arcface"
    """`arcface` adds m to the angle to the own centre, `cosface` takes m off its cosine, `none` uses no labels."""
    scale: float = 64.0
    m: float | None = None
    """The margin, an angle in radians (arcface) or a cosine; None is 0.5 for arcface and 0.4 for cosface."""
    margin_warmup: float = 0.0
    """Epochs in which m grows from 0, for small networks and small data."""
    sample_rate: float = 1.0
    """Share of the classes compared with in a step (PartialFC, arXiv 2010.05222); those of the batch always are."""
    teacher_weight: float = 1.0
    """Weight of the cosine distance to a teacher's features."""
    schedule: str = "steps"
    """After warm-up: `steps` divides lr by 10 at each milestone, `poly` is (1 - t)^power, or `cosine`."""
    milestones: tuple[float, ...] = (20, 28, 32)
    """Epochs, for `steps`. Where a later layer changes `epochs` alone they move in proportion."""
    power: float = 2.0
    epochs: int = 34
    warmup: float = 1.0
    """Epochs of linear warm-up."""
    batch_size: int = 512
    """Faces a step, over all ranks."""
    lr: float = 0.1
    """Learning rate for 512 faces a step; what is used is lr * batch_size / 512."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 5.0
    """Largest norm of the network's gradient."""
    flip: bool = True
    """Half of the faces mirrored."""
    augment: float = 0.0
    """How far faces are moved, turned, zoomed, lit and hidden by squares, in [0, 1]; 0 leaves them as they are."""
    seed: int = 0
    validation: int = 0
    """About how many faces of held-out identities are verified after each epoch; 0 trains on everybody."""
    weights_dtype: str = "float32"
    """What `weights.safetensors` is written in."""

    _choices = {  # noqa: RUF012
        "margin": ("arcface", "cosface", "none"),
        "schedule": ("steps", "poly", "cosine"),
        "weights_dtype": ("float32", "float16"),
    }
    _at_least_zero = ("augment", "margin_warmup", "teacher_weight", "warmup", "weight_decay", "validation")
    _above_zero = ("scale", "sample_rate", "power", "epochs", "batch_size", "lr", "clip")
    _below_one = ("momentum",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample_rate > 1:
            raise UsageError(f"recipe sample_rate: {self.sample_rate} must be at most 1, all classes")
        if self.augment > 1:
            raise UsageError(f"recipe augment: {self.augment} must be in [0, 1]")
        if self.batch_size < 2:
            raise UsageError(f"recipe batch_size: {self.batch_size} must be 2 or more, batch norm needs company")
        if self.m is not None and not 0 <= self.m < 1.5:
            raise UsageError(f"recipe m: {self.m} must be in [0, 1.5)")
        if list(self.milestones) != sorted(self.milestones) or min(self.milestones, default=1) <= 0:
            raise UsageError(f"recipe milestones: {list(self.milestones)} must be epochs above 0 that rise")

    @classmethod
    def of(cls, *layers: Mapping[str, Any] | None) -> Self:
        """As `Recipe.of`; milestones keep their place in the run where a layer gives `epochs` without them."""
        moved: list[Mapping[str, Any]] = []
        for layer in layers:
            known = super().of(*moved)
            said = {name: value for name, value in (layer or {}).items() if value is not None}
            epochs = said.get("epochs")
            if isinstance(epochs, int) and epochs > 0 and "milestones" not in said:
                said["milestones"] = tuple(at * epochs / known.epochs for at in known.milestones)
            moved.append(said)
        return super().of(*moved)

    @property
    def margin_m(self) -> float:
        """The margin that is used."""
        return self.m if self.m is not None else {"arcface": 0.5, "cosface": 0.4, "none": 0.0}[self.margin]


def _check_type(name: str, value: object, declared: str) -> None:
    """Raise UsageError unless `value` is of the declared type; an int does for a float, a bool never for a number."""
    if declared.startswith("tuple"):
        if not isinstance(value, tuple):
            raise UsageError(f"recipe {name}: {value!r} is not a list of numbers")
        for item in value:
            _check_type(name, item, "float")
        return
    wrong = (
        not isinstance(value, bool)
        if declared == "bool"
        else (isinstance(value, bool) or not isinstance(value, _TYPES[declared]))
    )
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"recipe {name}: {value!r} is not a {declared.replace(' | None', '')}")
