"""Who attacks a release, and whether a verdict may rest on them: strength, a card of their own, and independence.

An embedder that taught the model which made the release, or shares a teacher with it, may be blind to exactly what
that model learnt to hide from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.results import Adapted, Attacker
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Model, ancestors
from facemae_cli.networks.zoo import ATTACKERS, names, resolve


@dataclass(frozen=True)
class Origin:
    """What is known of how a release was made: the `model` that drew its faces, and its `sha256`, as the release's
    manifest says; `model` is None where it was not found, both where no model drew it or nothing is known.

    `told`: whether the release has a manifest.
    """

    sha256: str | None
    model: Model | None
    told: bool

    @classmethod
    def of(cls, manifest: Manifest | None, given: Sequence[Model]) -> Origin:
        """By the manifest's digest, among the `given` models and the bundled ones."""
        said = (manifest.model or {}).get("sha256") if manifest else None
        sha256 = said if isinstance(said, str) else None
        if sha256 is None:
            return cls(None, None, manifest is not None)
        found = (model for model in (*given, *_bundled()) if model.digest == sha256)
        return cls(sha256, next(found, None), True)

    def shared(self, attacker: Model) -> tuple[str, ...] | None:
        """The ancestors an attacker has in common with the release's model; None where that is not known."""
        if self.sha256 is None:
            return () if self.told else None
        ours = ancestors(attacker)
        if self.model is None:
            return tuple(sorted(ours & {self.sha256})) or None
        return tuple(sorted(ours & ancestors(self.model)))


def _bundled() -> Iterator[Model]:
    for name in names():
        try:
            yield resolve(name)
        except InputError:
            continue


def load_attackers(given: Sequence[str] | None, device: str, precision: str) -> dict[str, Recognizer]:
    """The attackers (None: the bundled ones) by the name of their model, or name and digest where two have one name.

    Raises UsageError where one is given twice, and InputError.
    """
    texts = given or ATTACKERS
    loaded = [Recognizer.load(text, device, precision) for text in texts]
    found: dict[str, Recognizer] = {}
    for text, each in zip(texts, loaded, strict=True):
        alike = [other for other in loaded if other.model.name == each.model.name]
        name = each.model.name if len(alike) == 1 else f"{each.model.name} {(each.model.digest or '')[:8]}"
        if name in found:
            raise UsageError(f"--attacker {text}: the same embedder is given twice")
        found[name] = each
    return found


def describe(
    name: str,
    recognizer: Recognizer,
    origin: Origin,
    strength: float | None,
    *,
    min_attacker: float,
    allow_shared_ancestor: bool,
    adapted: Adapted | None = None,
) -> Attacker:
    """The attacker as a result names it, with why no verdict rests on it alone, if so."""
    shared = origin.shared(recognizer.model)
    reasons = []
    if strength is None:
        reasons.append("has no measured strength: real -> real could not be measured")
    elif strength < min_attacker:
        reasons.append(f"is weak: real -> real is {strength:.4g}, under --min-attacker {min_attacker:g}")
    if recognizer.model.card.assumed:
        reasons.append("has no card: its card was assumed")
    if shared and not allow_shared_ancestor:
        reasons.append(
            "shares an ancestor with the model that made the release (--allow-shared-ancestor takes it all the same)"
        )
    if shared is None and origin.told and not allow_shared_ancestor:
        reasons.append(
            "may share an ancestor with the model that made the release, which is not known: say --imitation-model "
            "with it, or --allow-shared-ancestor"
        )
    sha256 = recognizer.model.digest or ""
    return Attacker(name, sha256, recognizer.card, str(recognizer), shared, strength, adapted, tuple(reasons))


def warnings(name: str, recognizer: Recognizer, origin: Origin) -> Iterator[str]:
    """What a person should know of an attacker before it starts, one line each."""
    yield from recognizer.notices()
    shared = origin.shared(recognizer.model)
    if shared:
        yield (
            f"{name} shares an ancestor (sha256 {shared[0][:12]}...) with the model that made the release: it may be "
            "blind to what that model hides from it; attack with another embedder as well"
        )
    if shared is None:
        known = "its model is none of the bundled or given ones" if origin.told else "it has no facemae.json"
        yield f"whether {name} is independent of the release cannot be told: {known}"
