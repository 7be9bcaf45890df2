"""Who attacks a release, and whether a verdict may rest on them: strength, a card of their own, and independence.

An embedder that taught the model which made the release, or shares a teacher with it, may be blind to exactly what
that model learnt to hide from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import InputError, UsageError
from facemae_cli.evaluation.leakage.ensemble import ALWAYS, ENSEMBLE
from facemae_cli.evaluation.leakage.results import Adapted, Attacker
from facemae_cli.evaluation.leakage.thumbnails import Thumbnails
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import Model, ancestors
from facemae_cli.networks.zoo import ATTACKERS, names, resolve
from facemae_cli.reports.text import exact_percent, percent


@dataclass(frozen=True)
class Origin:
    """What is known of how a release was made: the `model` that reconstructed its faces, and its `sha256`, as the
    release's manifest says; `model` is None where it was not found, both where there was none or nothing is known.

    `has_manifest`: whether the release has a manifest.
    """

    sha256: str | None
    model: Model | None
    has_manifest: bool

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
            return () if self.has_manifest else None
        ours = ancestors(attacker)
        if self.model is None:
            return tuple(sorted(ours & {self.sha256})) or None
        return tuple(sorted(ours & ancestors(self.model)))


def bundled_autoencoders() -> list[Model]:
    """The bundled models that reconstruct masked faces, with which anybody can."""
    return [model for model in _bundled() if model.card.kind == "mae" and model.weights is not None]


def _bundled() -> Iterator[Model]:
    for name in names():
        try:
            yield resolve(name)
        except InputError:
            continue


def load_attackers(
    given: Sequence[str] | None, device: str, precision: str, backend: str = "auto", faces: int = 0
) -> dict[str, Recognizer]:
    """The bundled embedders and the `given` ones by their model's name, or name and digest where two have one name.

    `backend` and `faces` as `Recognizer.load` takes them. Raises UsageError where one is given twice, and InputError.
    """
    how = device, precision, backend, faces
    asked = [(f"--attacker {text}", Recognizer.load(text, *how)) for text in given or ()]
    ours = [("", Recognizer.load(text, *how)) for text in ATTACKERS]
    theirs = {each.digest for _, each in asked}
    loaded = [*((where, each) for where, each in ours if each.digest not in theirs), *asked]
    found: dict[str, Recognizer] = {}
    for where, each in loaded:
        alike = [other for _, other in loaded if other.model.name == each.model.name]
        taken = len(alike) > 1 or each.model.name in (ENSEMBLE, *ALWAYS)
        name = f"{each.model.name} {(each.model.digest or '')[:8]}" if taken else each.model.name
        if name in found:
            raise UsageError(f"{where}: the same embedder is given twice")
        found[name] = each
    return found


MAX_UNSEEN = 0.01  # of the faces that can be read: who sees fewer says nothing of the others


@dataclass(frozen=True)
class Trust:
    """On whom a verdict may rest: attackers whose real -> real reaches `min_attacker`, and who share no ancestor with
    the model of the release's `origin`, unless that is allowed."""

    origin: Origin
    min_attacker: float = 0.6
    allow_shared_ancestor: bool = False


def describe(
    name: str,
    attacker: Recognizer | Thumbnails | None,
    strength: float | None,
    trust: Trust,
    members: Sequence[Attacker] = (),
    adapted: Adapted | None = None,
    unseen: float = 0.0,
) -> Attacker:
    """The attacker as a result names it, with why no verdict rests on it alone, if so.

    `attacker` None: an ensemble of `members`. `strength`: its real -> real. `unseen`: the share of faces that can be
    read and of which it gives no feature.
    """
    reasons = list(_weak(strength, trust))
    if isinstance(attacker, Thumbnails):
        reasons.append("compares pictures, not people")
        return Attacker(name, None, "none needed", attacker.computed, (), strength, adapted, tuple(reasons))
    if attacker is None:
        if all(each.barred for each in members):
            reasons.append("has no member that counts")
        computed = f"of {', '.join(each.name for each in members)}"
        return Attacker(name, None, "none needed", computed, (), strength, adapted, tuple(reasons))
    shared = trust.origin.shared(attacker.model)
    reasons += _dependent(attacker, shared, trust)
    if unseen > MAX_UNSEEN:
        reasons.append(f"gives no feature for {percent(unseen)} of the faces, over {percent(MAX_UNSEEN)}")
    return Attacker(
        name, attacker.model.digest, attacker.card, str(attacker), shared, strength, adapted, tuple(reasons)
    )


def _weak(strength: float | None, trust: Trust) -> Iterator[str]:
    least = trust.min_attacker
    if strength is None:
        yield "has no measured strength: real -> real could not be measured"
    elif strength < least:
        yield f"is weak: real -> real is {percent(strength)}, under --min-attacker {exact_percent(least)}"


def _dependent(attacker: Recognizer, shared: tuple[str, ...] | None, trust: Trust) -> Iterator[str]:
    if attacker.model.card.assumed:
        yield "has no card: its card was assumed"
    if shared and not trust.allow_shared_ancestor:
        yield "shares an ancestor with the model that made the release (--allow-shared-ancestor takes it all the same)"
    if shared is None and trust.origin.has_manifest and not trust.allow_shared_ancestor:
        yield (
            "may share an ancestor with the model that made the release, which is not known: use --imitation-model "
            "with it, or --allow-shared-ancestor"
        )


def warning_lines(name: str, recognizer: Recognizer, origin: Origin) -> Iterator[str]:
    """What a person should know of an attacker before it starts, one line each."""
    yield from recognizer.notices()
    shared = origin.shared(recognizer.model)
    if shared:
        yield (
            f"{name} shares an ancestor (sha256 {shared[0][:12]}...) with the model that made the release: it may be "
            "blind to what that model hides from it; attack with another embedder as well"
        )
    if shared is None:
        known = "its model is none of the bundled or given ones" if origin.has_manifest else "it has no facemae.json"
        yield f"whether {name} is independent of the release cannot be told: {known}"
