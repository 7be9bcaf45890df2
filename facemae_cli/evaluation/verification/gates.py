"""Gates on the accuracy: how they are written, and whether they passed. Nothing heavy is imported for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facemae_cli.errors import UsageError
from facemae_cli.reports.text import exact_percent
from facemae_cli.runtime.choices import check_batch_size

ROUNDING = 1e-12  # a mean of folds' accuracies may fall short of the decimal it is by as much


@dataclass(frozen=True)
class AccuracyGate:
    """The least `accuracy`, in [0, 1], that a pack must reach; and what was reached, None where nothing could be."""

    pack: str
    minimum: float
    accuracy: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the accuracy is there and high enough."""
        return self.accuracy is not None and self.accuracy >= self.minimum - ROUNDING

    def __str__(self) -> str:
        if self.accuracy is None:
            return f"{self.pack}: no accuracy could be measured, minimum {exact_percent(self.minimum)}: failed"
        reached = f"accuracy {100 * self.accuracy:.6g} %, minimum {exact_percent(self.minimum)}"
        return f"{self.pack}: {reached}: {'passed' if self.passed else 'failed'}"

    def as_json(self) -> dict[str, Any]:
        """The gate and its outcome as JSON types."""
        return {"pack": self.pack, "minimum": self.minimum, "accuracy": self.accuracy, "passed": self.passed}


def parse_gates(texts: Iterable[str], packs: Sequence[str]) -> list[AccuracyGate]:
    """Gates from `0.99`, for all `packs`, and `lfw=0.99`, for one of them, which wins; in the order of `packs`.

    Raises UsageError for what is not a proportion, for a pack that is not there, and for two gates of one kind.
    """
    minimums = parse_minimums(texts)
    for pack, minimum in minimums.items():
        if pack is not None and pack not in packs:
            raise UsageError(
                f"--min-accuracy {pack}={minimum:g}: there is no pack {pack!r}; there are {', '.join(packs)}"
            )
    return [
        AccuracyGate(pack, minimums.get(pack, minimums.get(None, 0.0)))
        for pack in packs
        if {pack, None} & minimums.keys()
    ]


def parse_minimums(texts: Iterable[str]) -> dict[str | None, float]:
    """The proportion for each pack that is named, None: for all. Raises UsageError for what is none, and for two of one
    kind; whether there is such a pack is not known yet."""
    minimums: dict[str | None, float] = {}
    for text in texts:
        head, equals, minimum = text.rpartition("=")
        pack = head.strip() if equals else None
        if pack in minimums:
            raise UsageError(f"--min-accuracy {text}: a second one for {pack or 'all packs'}; give one")
        minimums[pack] = _parse_minimum(text, minimum)
    return minimums


def _parse_minimum(text: str, minimum: str) -> float:
    try:
        value = float(minimum)
    except ValueError:
        value = math.nan
    if 1 < value <= 100:
        raise UsageError(
            f"--min-accuracy {text} is over 1: accuracy is a proportion, so write {value / 100:g} for {value:g} %"
        )
    if not 0 <= value <= 1:
        raise UsageError(f"--min-accuracy {text!r} is not a proportion from 0 to 1; give 0.99, or PACK=0.99")
    return value


def listed_gates(given: float | str | Mapping[str, float] | Sequence[str | float] | None) -> Sequence[str]:
    """Gates as the command line lists them."""
    if isinstance(given, Mapping):
        return [f"{pack}={least}" for pack, least in given.items()]
    if given is None:
        return ()
    return [str(given)] if isinstance(given, str) or not isinstance(given, Iterable) else [str(each) for each in given]


def check_options(options: Mapping[str, Any]) -> None:
    """Raises UsageError for what, among the options of `verify` by parameter name, no data could make right."""
    if options["model"] is None and options["write_pack"] is not None:
        for name in ("min_accuracy", "report", "cache", "trained_on", "groups"):
            if options[name]:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} needs an embedder: give --model too, or leave it out")
    if options["write_pack"] is not None and options["write_pack"].suffix.lower() != ".bin":
        raise UsageError(f"--write-pack {options['write_pack']} must end in .bin")
    parse_minimums(listed_gates(options["min_accuracy"]))
    check_batch_size(options["batch_size"])
