"""Which of two releases of the same people gives away less: the difference of their leakage, paired over people.

    python tests/benchmarks/paired.py original.rec a.rec b.rec --attacker attacker/ [--adapt others.rec] [--k 2]

In percent, a less b, by each attacker of an audit with other photos of a person and with the very one, with the 95 %
interval of a bootstrap over people. The releases keep the original's names (`mask --keep-names`). Two intervals of two
audits may overlap where this one is far from 0: both releases are hard on the same people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from facemae_cli.evaluation.leakage.attackers import Origin, load_attackers
from facemae_cli.evaluation.leakage.autoencoders import Autoencoders
from facemae_cli.evaluation.leakage.datasets import Datasets, match_people, open_datasets
from facemae_cli.evaluation.leakage.identification import attacks, clusters
from facemae_cli.evaluation.leakage.statistics import Clusters, compare
from facemae_cli.evaluation.leakage.views import AttackSettings, embed_all
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import choose_device, choose_precision
from facemae_cli.runtime.progress import SILENT
from facemae_cli.runtime.threads import cores

IMITATING = "imitating by"


def called(attack: str, attacker: str, model: str | None) -> str:
    """An attacker with what he does: as `attack`, `attacker` and `model` of a finding say it."""
    return f"{attacker} {IMITATING} {model}" if attack == "imitated_to_released" else attacker


@dataclass(frozen=True)
class Attackers:
    """Who attacks, at `k`: embedders by name beside those always there; what imitates, and what they adapt on."""

    embedders: Sequence[str]
    k: int
    cache: Path
    adapt: Path | None = None
    imitation_models: Sequence[str] = ()

    def find(self, original: Path, released: Path, sources: Path | None = None) -> dict[tuple[str, str], Clusters]:
        """Who is found in a release, by attacker and photo, as `facemae leakage` finds them; in a mixed one, as
        `sources` says."""
        data = open_datasets(original, released, None, self.adapt)
        matching, _ = match_people(data, None, sources)
        views = embed_all(data, matching, self._settings(data), "cpu", SILENT).views
        return {
            (called(attack.kind, view.sets.attacker, attack.model), attack.photo): clusters(
                attack.rank_queries(None, self.k, "cpu"), self.k
            )
            for view in views
            for attack in attacks(view.sets, matching)
            if attack.kind != "real_to_real"
        }

    def _settings(self, data: Datasets) -> AttackSettings:
        device = choose_device("auto")
        models = [resolve(name, "mae") for name in self.imitation_models]
        how = Autoencoders(models, choose_precision("auto", device), device)
        origin, embedders = Origin.of(data.manifest, models), load_attackers(self.embedders, "auto", "auto")
        imitators, _ = how.imitators(origin, data, imitations=len(models))
        return AttackSettings(
            embedders, imitators, how.rebuilders(data), 1, 0, "auto", cores(), self.cache, how.adapter(origin, data)
        )


def lines(original: Path, releases: Sequence[Path], attackers: Attackers) -> Iterator[str]:
    """A line for each attacker and kind of photo."""
    first, second = (attackers.find(original, released) for released in releases)
    for (name, photo), a in first.items():
        if (b := second.get((name, photo))) is None:
            continue
        paired = compare(a, b)
        low, high = (100 * end for end in paired.difference_interval)
        rates = f"{100 * a.rate:.1f} - {100 * b.rate:.1f} = {100 * paired.difference:+.1f}"
        yield f"{name}, {photo}: {rates} ({low:+.1f} to {high:+.1f}), {paired.people} people"


def main(arguments: Sequence[str]) -> None:
    """Compares two releases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("release", type=Path, nargs=2)
    parser.add_argument("--attacker", action="append", default=[])
    parser.add_argument("--adapt", type=Path, help="faces of the attacker's own, to learn from")
    parser.add_argument("--imitation-model", action="append", default=[])
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    given = parser.parse_args(arguments)
    attackers = Attackers(given.attacker, given.k, given.cache, given.adapt, given.imitation_model)
    for line in lines(given.original, given.release, attackers):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
