"""A recipe: every choice a network is trained with, typed, checked and readable from YAML."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from facemae_cli.data.reading import unreadable
from facemae_cli.data.safe_yaml import load_mapping
from facemae_cli.errors import UsageError
from facemae_cli.masking.patches import count_to_hide


@dataclass(frozen=True)
class Within:
    """The numbers a field may hold: from `low` to `high`, either of which belongs to them unless it is `open`."""

    low: float = -math.inf
    high: float = math.inf
    open: Literal["", "low", "high"] = ""

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open == "low" else value >= self.low
        return above and (value < self.high if self.open == "high" else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open == "low" else f"{self.low:g} or more"
        left, right = "(" if self.open == "low" else "[", ")" if self.open == "high" else "]"
        low, high = (str(end) if isinstance(end, int) else f"{end:g}" for end in (self.low, self.high))
        return f"in {left}{low}, {high}{right}"


Weight = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Within(0, open="low")]
Count = Annotated[int, Within(1)]
Momentum = Annotated[float, Within(0, 1, open="high")]
Seed = Annotated[int, Within(0, 2**63 - 1)]


@dataclass(frozen=True)
class Recipe:
    """What all recipes have in common: layers of fields, each held to its declared type and bounds."""

    def __post_init__(self) -> None:
        for name, declared in get_type_hints(type(self), include_extras=True).items():
            _check(name, getattr(self, name), declared)

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

    loss: Literal["irm", "mse", "mixed"] = "irm"
    beta: Weight = 1.0
    """Weight of relation matching, as in Eq. 2 (scaled with the batch: see `relation_scale`)."""
    instance_weight: Weight = 1.0
    """Weight of instance matching."""
    pixel_weight: Weight = 10.0
    """Weight of the mean squared pixel error, pixels in [0, 1]; only `mixed` uses it."""
    privacy_margin: Annotated[float, Within(-1, 1, open="high")] | None = None
    """Each face's cosine to its own original, as phi sees it, is pushed below this; None: no push."""
    privacy_weight: Weight = 1.0
    """Weight of that push."""
    normalize: bool = True
    """Whether phi's features are L2-normalised before they are compared."""
    relation_scale: Literal["balanced", "paper"] = "balanced"
    """`balanced`: beta stands for a batch of 256 faces; `paper`: beta as it is at any batch size."""
    view_shift: Annotated[int, Within(0, 112)] = 0
    """Phi sees both faces shifted by up to so many pixels of 112, the same way."""
    view_blur: Annotated[float, Within(0, 112)] = 0.0
    """Phi sees both faces blurred by a Gaussian of up to this sigma in pixels of 112, the same way."""
    view_augment: Share = 0.0
    """How far phi sees both faces moved, turned, zoomed, lit and hidden by squares, the same way, in [0, 1]."""
    second_view: bool = False
    """Each photo twice in a batch under two masks: same-person edges where people have one photo."""
    strategy: str = "random"
    ratio: float | None = None
    """Share of the patches hidden; None is the strategy's own (0.75)."""
    flip: bool = True
    """Half of the faces mirrored."""
    epochs: Annotated[int, Within(0)] = 200
    """0: nothing is learnt; what `--init` gives is measured and written."""
    warmup: Weight = 40.0
    """Epochs of linear warm-up."""
    schedule: Literal["cosine", "wsd"] = "cosine"
    """After warm-up: a `cosine` to zero; `wsd` stays level and falls in the last `cooldown` epochs alone, so that a
    run can be made longer (`--resume` with more epochs) as if it had been meant to be."""
    cooldown: Weight = 0.0
    """Epochs at the end in which the rate of `wsd` falls to zero."""
    batch_size: Count = 256
    """Faces a step, over all ranks."""
    lr: Positive = 1.5e-4
    """Base learning rate for 256 faces a step; what is used is lr * batch_size / 256."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` steps the matrices of the transformer by Muon, all else by AdamW, both at the same rate."""
    weight_decay: Weight = 0.05
    beta1: Momentum = 0.9
    """Of AdamW, as beta2."""
    beta2: Momentum = 0.95
    ema: Momentum = 0.0
    """Share of the moving average of the weights that each step keeps; the average is measured and saved. 0: none."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    seed: Seed = 0
    validation: Count = 512
    """About how many faces of held-out identities are measured after each epoch."""
    weights_dtype: Literal["float32", "float16"] = "float32"
    """What `weights.safetensors` is written in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss != "mse" and not (self.instance_weight or self.beta):
            raise UsageError("recipe: instance_weight and beta are both 0, so phi teaches nothing; say loss: mse")
        if self.privacy_margin is not None and self.loss == "mse":
            raise UsageError("recipe: privacy_margin is judged by phi, which loss: mse does not use")
        self._check_schedule()
        count_to_hide(self.strategy, self.ratio)

    def _check_schedule(self) -> None:
        if self.schedule != "wsd" and self.cooldown:
            raise UsageError(f"recipe cooldown: {self.cooldown} is of schedule: wsd; say that, or cooldown: 0")
        if self.schedule == "wsd" and self.epochs and self.warmup + self.cooldown > self.epochs:
            raise UsageError(
                f"recipe: warmup {self.warmup} and cooldown {self.cooldown} are more than the {self.epochs} epochs; "
                "shorten them, or say more epochs"
            )

    def fixed(self) -> dict[str, Any]:
        """All fields that a run keeps to its end; `wsd` lets its length be changed."""
        free = {"epochs", "cooldown"} if self.schedule == "wsd" else set()
        return {name: value for name, value in self.as_dict().items() if name not in free}

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

    margin: Literal["arcface", "cosface", "none"] = "arcface"
    """`arcface` adds m to the angle to the own centre, `cosface` takes m off its cosine, `none` uses no labels."""
    scale: Positive = 64.0
    m: Annotated[float, Within(0, 1.5, open="high")] | None = None
    """The margin, an angle in radians (arcface) or a cosine; None is 0.5 for arcface and 0.4 for cosface."""
    margin_warmup: Weight = 0.0
    """Epochs in which m grows from 0, for small networks and small data."""
    sample_rate: Annotated[float, Within(0, 1, open="low")] = 1.0
    """Share of the classes compared with in a step (PartialFC, arXiv 2010.05222); those of the batch always are."""
    teacher_weight: Weight = 1.0
    """Weight of the cosine distance to a teacher's features."""
    schedule: Literal["steps", "poly", "cosine"] = "steps"
    """After warm-up: `steps` divides lr by 10 at each milestone, `poly` is (1 - t)^power, or `cosine`."""
    milestones: tuple[float, ...] = (20, 28, 32)
    """Epochs, for `steps`. Where a later layer changes `epochs` alone they move in proportion."""
    power: Positive = 2.0
    epochs: Count = 34
    warmup: Weight = 1.0
    """Epochs of linear warm-up."""
    batch_size: Annotated[int, Within(2)] = 512
    """Faces a step, over all ranks; 2 at least, since batch norm compares them."""
    lr: Positive = 0.1
    """Learning rate for 512 faces a step; what is used is lr * batch_size / 512."""
    momentum: Momentum = 0.9
    weight_decay: Weight = 5e-4
    clip: Positive = 5.0
    """Largest norm of the network's gradient."""
    flip: bool = True
    """Half of the faces mirrored."""
    augment: Share = 0.0
    """How far faces are moved, turned, zoomed, lit and hidden by squares, in [0, 1]; 0 leaves them as they are."""
    seed: Seed = 0
    validation: Annotated[int, Within(0)] = 0
    """About how many faces of held-out identities are verified after each epoch; 0 trains on everybody."""
    weights_dtype: Literal["float32", "float16"] = "float32"
    """What `weights.safetensors` is written in."""

    def __post_init__(self) -> None:
        super().__post_init__()
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


def read_recipe(path: Path | None) -> dict[str, Any] | None:
    """The fields in the file of `--recipe`, a layer of `Recipe.of`; None where no file is said. Raises InputError."""
    if path is None:
        return None
    try:
        return load_mapping(path)
    except OSError as error:
        raise unreadable(f"--recipe {path}", error, "name a YAML file with fields of a recipe") from error


def _check(name: str, value: Any, declared: Any, within: Within | None = None) -> None:
    """Raises UsageError unless `value` is of the declared type, and `within` the bounds that are declared with it.

    An int does for a float, a bool never for a number.
    """
    origin, parts = get_origin(declared), get_args(declared)
    if origin is Annotated:
        _check(name, value, parts[0], parts[1])
    elif origin is UnionType or origin is Union:
        if value is not None:
            _check(name, value, next(part for part in parts if part is not NoneType))
    elif origin is Literal:
        if value not in parts:
            raise UsageError(f"recipe {name}: {value!r} is not known; say {' or '.join(parts)}")
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise UsageError(f"recipe {name}: {value!r} is not a list of numbers")
        for item in value:
            _check(name, item, parts[0])
    else:
        _check_plain(name, value, declared)
        if within is not None and value not in within:
            raise UsageError(f"recipe {name}: {value} must be {within}")


def _check_plain(name: str, value: Any, declared: type) -> None:
    wanted = (int, float) if declared is float else (declared,)
    wrong = not isinstance(value, wanted) or (isinstance(value, bool) and declared is not bool)
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise UsageError(f"recipe {name}: {value!r} is not {'an' if declared is int else 'a'} {declared.__name__}")
