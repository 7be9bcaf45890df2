"""What may be said of a dataset: from its manifest, its model's card, and the figures of audits and verifications."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from facemae_cli.data.manifest import Manifest
from facemae_cli.errors import InputError, UsageError

MAX_BYTES = 2**26
Format = Literal["folder", "rec", "parquet"]
_UNSAFE = re.compile(r"[^\w .,:;+()@%'-]")  # what is no word of a name: it could be markup


@dataclass(frozen=True)
class ModelFacts:
    """The model that made the images: its sha256 and, where known, its name, licence and what it learnt from."""

    sha256: str
    name: str | None = None
    license: str | None = None
    data: str | None = None

    @classmethod
    def of(
        cls, manifest: Manifest, name: str | None = None, license: str | None = None, data: Any = None
    ) -> ModelFacts | None:
        """The model that `manifest` tells of, with the `name` of one that is known, and what its card says."""
        sha256 = (manifest.model or {}).get("sha256")
        if not sha256:
            return None
        said = data.get("sets") if isinstance(data, Mapping) else data
        return cls(str(sha256), name, license, None if said is None else " ".join(str(said).split()))


@dataclass(frozen=True)
class Figure:
    """One measured figure: `value` and `interval` are proportions in [0, 1]; `chance`: what a guess would reach."""

    what: str
    value: float
    interval: tuple[float, float] | None
    chance: float | None = None

    def __str__(self) -> str:
        spread = (
            f" (95 % interval {_percent(self.interval[0])} to {_percent(self.interval[1])})" if self.interval else ""
        )
        guess = f"; by chance {_percent(self.chance)}" if self.chance is not None else ""
        return f"{self.what}: {_percent(self.value)}{spread}{guess}"


@dataclass(frozen=True)
class Figures:
    """What audits and verifications measured: `risks`, `utility`, and `remarks` in words."""

    risks: Sequence[Figure] = ()
    utility: Sequence[Figure] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """All that is said of a dataset in `format`, whose images are files of `suffix` (`.jpg`); `people`: whether it says
    who is on them; `elsewhere`: what was measured of another dataset that was protected alike, as a sentence."""

    manifest: Manifest
    format: Format
    suffix: str
    people: bool = True
    model: ModelFacts | None = None
    figures: Figures = Figures()
    elsewhere: str | None = None

    @property
    def faces(self) -> int:
        """Images in it."""
        return int(self.manifest.counts["out"])

    @property
    def reconstructed(self) -> bool:
        """Whether a model made the images; else they are copies of photos, or masked ones."""
        return self.manifest.model is not None and self.manifest.model.get("kind") == "mae"

    @property
    def masked(self) -> bool:
        """Whether parts of the images are hidden."""
        return self.manifest.mask_ratio is not None and not self.reconstructed

    @property
    def mixed_people(self) -> int:
        """Of how many people each face was mixed; 0 where it is of one."""
        return self.manifest.mixed_people


def read_figures(paths: Iterable[Path], manifest: Manifest) -> Figures:
    """The figures of the JSON that `leakage --json` and `verify --json` printed into the files `paths`.

    Raises InputError for what is not such a file, UsageError for an audit of what another model made.
    """
    risks: list[Figure] = []
    utility: list[Figure] = []
    remarks: list[str] = []
    for path in paths:
        found = _load(path)
        try:
            if found.get("command") == "leakage":
                _require_same_model(path, found, manifest)
                risks += _risks(found)
                remarks += _verdict(found)
            elif found.get("command") == "verify":
                utility += _accuracies(found)
            else:
                raise InputError(
                    f"--audit {path}: its command is {str(found.get('command'))[:40]!r}, not leakage or verify"
                )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"--audit {path}: not the JSON of leakage or verify as this version prints it") from error
    return Figures(risks, utility, remarks)


def require_same_faces(paths: Iterable[Path], digest: Callable[[], str]) -> None:
    """Raises UsageError where an audit was of other faces than those of which `digest` makes the digest."""
    audited = {path: _load(path).get("digests", {}).get("released") for path in paths}
    ours = digest() if any(audited.values()) else ""  # it reads every face
    for path, theirs in audited.items():
        if theirs and theirs != ours:
            raise UsageError(
                f"--audit {path} is of other faces (digest {str(theirs)[:12]}..., here {ours[:12]}...), such as those "
                "before a withdrawal: audit these"
            )


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        found = json.loads(data) if len(data) <= MAX_BYTES else None
    except OSError as error:
        raise InputError(f"--audit {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(f"--audit {path} is not the JSON that `facemae leakage --json` or `verify --json` prints")
    return found


def _require_same_model(path: Path, found: Mapping[str, Any], manifest: Manifest) -> None:
    audited, ours = found["digests"].get("model of the release"), (manifest.model or {}).get("sha256")
    if audited and ours and audited != ours:
        raise UsageError(
            f"--audit {path} is of a release by another model ({str(audited)[:12]}..., here {str(ours)[:12]}...): "
            "audit this one"
        )


def _risks(found: Mapping[str, Any]) -> list[Figure]:
    """The strongest attacker's rates against other photos and the very photo, what it finds among real faces, and
    how well it tells who is in the dataset."""
    figures = []
    for attack, photo, words in (
        ("real_to_released", "other", "real photos that find their person by other photos of them"),
        ("real_to_released", "same", "real photos that find the face made of that very photo"),
        ("real_to_real", "other", "for comparison, real photos that find their person among the real faces"),
    ):
        rows = [row for row in found["results"] if (row["attack"], row["photo"]) == (attack, photo)]
        if rows:
            widest = max((row["all_identities"], row["identities"], row["k"]) for row in rows)
            row = max(
                (row for row in rows if (row["all_identities"], row["identities"], row["k"]) == widest),
                key=lambda row: float(row["risk"]),
            )
            among = f"among the {int(row['k'])} nearest of {int(row['identities'])} people"
            who = f"{words}, {among}, by {_safe(row['attacker'])}"
            figures.append(Figure(who, float(row["risk"]), _interval(row["interval"]), float(row["chance"])))
    if found.get("membership"):
        members = found["membership"]
        words = "telling who is in the dataset and who is not, area under the curve (50 % is a guess)"
        figures.append(Figure(words, float(members["auc"]), _interval(members["auc_interval"])))
    return figures


def _verdict(found: Mapping[str, Any]) -> list[str]:
    verdict = found["verdict"]
    limits = [f"{_safe(gate['option'])} {float(gate['limit']):g}" for gate in verdict["gates"]]
    under = f", by the limits {', '.join(limits)}" if limits else ""
    remarks = [f"The audit's verdict: {_safe(verdict['status'])}{under}."]
    remarks += [f"Without a limit: {_safe(line)}." for line in verdict["not_gated"]] if limits else []
    if found["digests"].get("released"):
        remarks.append(f"The audit was of the faces with the digest {_safe(found['digests']['released'])[:64]}.")
    return remarks


def _accuracies(found: Mapping[str, Any]) -> list[Figure]:
    """Those of one recogniser, which is named: whether it learnt from this dataset is for its owner to say."""
    who = f"the recogniser {_safe(found['model'])} (sha256 {_safe(found['model_sha256'])[:12]})"
    return [
        Figure(
            f"accuracy of {who} on {_safe(name)} ({int(pack['pairs'])} pairs)",
            float(pack["accuracy"]),
            _interval(pack["interval"]),
        )
        for name, pack in found["packs"].items()
        if pack["accuracy"] is not None
    ]


def _interval(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _safe(text: Any) -> str:
    """A name out of a file, as plain words."""
    return _UNSAFE.sub("_", str(text))[:80]
