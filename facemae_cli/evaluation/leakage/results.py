"""What an audit finds, as values: rates of attacks, membership, people most exposed; and who attacked.

A person is called as the release calls them, so where it has pseudonyms no raw name gets in here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from facemae_cli.evaluation.leakage.membership import Membership
from facemae_cli.evaluation.leakage.risk import OverTrials, Risk, above_chance, interval_above_chance
from facemae_cli.evaluation.leakage.statistics import Paired
from facemae_cli.evaluation.metrics import Interval

AttackKind = Literal["real_to_released", "real_to_real", "imitated_to_released"]
Photo = Literal["other", "same"]
PHOTOS: dict[Photo, str] = {"other": "other photos", "same": "the very photo"}


@dataclass(frozen=True)
class Finding(OverTrials):
    """The leakage rate (Eq. 3) of one attack by one attacker at one K among so many people.

    `photo`: whether the attacker holds `other` photos of the person, or the `same`, the very one that was released.
    `model`: what an imitation was made by, None for the other attacks. `identities`: people in the gallery; `whole`:
    whether these are all, not a sample. `trials`: a Risk for each sample of people; the figures are means over
    them, the ends of the interval too. `compared`: against real_to_real on the same people, for the whole only.
    """

    attack: AttackKind
    photo: Photo
    attacker: str
    k: int
    identities: int
    whole: bool
    trials: tuple[Risk, ...]
    model: str | None = None
    compared: Paired | None = None

    @property
    def relative(self) -> float | None:
        """(risk - chance) / (1 - chance); None where chance is 1."""
        return above_chance(self.risk, self.chance)

    @property
    def relative_interval(self) -> Interval | None:
        """The ends of `interval`, each relative to chance; None where chance is 1."""
        return interval_above_chance(self.interval, self.chance)

    @property
    def leaking(self) -> float:
        """How many of the `people` at least one photo finds."""
        return fmean(trial.leaking for trial in self.trials)

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        relative = self.relative_interval
        return {
            "attack": self.attack,
            "photo": self.photo,
            "attacker": self.attacker,
            "model": self.model,
            "k": self.k,
            "identities": self.identities,
            "all_identities": self.whole,
            "identities_queried": self.people,
            "identities_leaking": self.leaking,
            "queries": self.queries,
            "queries_left_out": round(fmean(trial.left_out for trial in self.trials)),
            "queries_effective": fmean(trial.effective for trial in self.trials),
            "risk": self.risk,
            "interval": list(self.interval),
            "chance": self.chance,
            "relative": self.relative,
            "relative_interval": None if relative is None else list(relative),
            "relative_to_real": None if self.compared is None else asdict(self.compared),
            "trials": [trial.risk for trial in self.trials],
        }


@dataclass(frozen=True)
class MembershipFinding:
    """Whether an attacker can tell who is in the release.

    `photo`: as in `Finding`. `given`: whether the non-members were given, or are the half of the people whose faces
    were left out of the gallery.
    """

    attacker: str
    photo: Photo
    given: bool
    membership: Membership

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON types."""
        source = "given" if self.given else "half of the people left out"
        return {"attacker": self.attacker, "photo": self.photo, "non_members_are": source, **self.membership.as_json()}


@dataclass(frozen=True)
class Adapted:
    """What an adapted attacker learnt from: `faces` of its own, reconstructed by `model`; `dim` directions kept.

    `method`: which map of several; `held_out`: the share of faces left out of the learning that it found.
    """

    faces: int
    model: str
    dim: int
    method: str = "centred"
    held_out: float = 0.0


@dataclass(frozen=True)
class Attacker:
    """Who attacked: an embedder, thumbnails, or all as one; `sha256` is of an embedder's weights.

    `card`: given, assumed or none needed. `computed`: on what. `shared`: sha256 of the ancestors it has in common with
    the model that made the release; None where that model, or its ancestors, are not known. `strength`: its
    real_to_real risk at the headline's K, None where it could not be measured. `barred`: why no verdict rests on it
    alone, if so.
    """

    name: str
    sha256: str | None
    card: str
    computed: str
    shared: tuple[str, ...] | None
    strength: float | None = None
    adapted: Adapted | None = None
    barred: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The attacker as JSON types."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "card": self.card,
            "computed": self.computed,
            "shared_ancestors": None if self.shared is None else list(self.shared),
            "strength": self.strength,
            "adapted": None if self.adapted is None else asdict(self.adapted),
            "no_verdict_alone": list(self.barred),
        }


@dataclass(frozen=True)
class Exposed:
    """A person of the release and the released face of theirs that is nearest to a real one of theirs.

    `identity`, `released_photo`: names in the release. `similarity`: cosine in [-1, 1]. `same_photo`: whether that real
    photo is the one the released face was made of. `photos`: their real photos that asked with other photos of them
    in the release; `found`: how many of these find them among the K nearest (an expectation where ties are broken).
    `real`, `released`: numbers of both faces in their datasets.
    """

    identity: str
    released_photo: str
    similarity: float
    same_photo: bool
    photos: int
    found: float
    attacker: str
    real: int
    released: int

    def as_json(self) -> dict[str, Any]:
        """What names nobody but as the release does, as JSON types."""
        found = asdict(self)
        return {key: value for key, value in found.items() if key not in ("real", "released")}


@dataclass(frozen=True)
class Triplet:
    """Encoded images: a real photo, what the release made of it (None where that is not known), and the released face
    of the same person nearest to it; `identity` is the person's name in the release, `similarity` that of the nearest.
    """

    identity: str
    real: bytes
    own: bytes | None
    nearest: bytes
    similarity: float


def strongest(findings: Sequence[Finding], attack: AttackKind, photo: Photo) -> Finding | None:
    """The highest risk, each attacker judged by its `widest`; None where there is none."""
    found = (each for each in widest(findings) if (each.attack, each.photo) == (attack, photo))
    return max(found, key=lambda each: each.risk, default=None)


def widest(findings: Sequence[Finding]) -> list[Finding]:
    """Of each attacker and attack what was measured at the largest K among everyone, or, where that was not asked for,
    among the most people. What one attacker cannot see does not shield what another finds."""
    best: dict[tuple[str, str, str, str | None], Finding] = {}
    for each in findings:
        of = (each.attacker, each.attack, each.photo, each.model)
        if of not in best or _width(best[of]) < _width(each):
            best[of] = each
    return list(best.values())


def _width(finding: Finding) -> tuple[bool, int, int]:
    return finding.whole, finding.identities, finding.k
