"""Which of two releases of the same people gives away less: the difference of their leakage, paired over people.

    python tests/benchmarks/paired.py original.rec a.rec b.rec --attacker embedder-v1 --attacker probe-v1 [--k 2]

In percent, a less b, by each attacker with other photos of a person and with the very one, with the 95 % interval of
a bootstrap over people. The releases keep the original's names (`mask --keep-names`). Two intervals of two audits may
overlap where this one is far from 0: both releases are hard on the same people.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from facemae_cli.data.open import open_source
from facemae_cli.evaluation.leakage.attackers import load_attackers
from facemae_cli.evaluation.leakage.identification import FeatureSets, attacks, clusters
from facemae_cli.evaluation.leakage.matching import join
from facemae_cli.evaluation.leakage.statistics import Clusters, compare


def lines(original: Path, releases: Sequence[Path], attackers: Sequence[str], k: int, cache: Path) -> Iterator[str]:
    """A line for each attacker and kind of photo."""
    real, reconstructed = open_source(original), [open_source(released) for released in releases]
    matching = [join(real, faces, None) for faces in reconstructed]
    for name, attacker in load_attackers(attackers, "auto", "auto").items():
        seen = attacker.embed(real, cache=cache)
        found: list[dict[str, Clusters]] = []
        for faces, known in zip(reconstructed, matching, strict=True):
            attack = attacks(FeatureSets(name, seen, attacker.embed(faces, cache=cache)), known)
            asked = [each for each in attack if each.kind == "real_to_released"]
            found.append({each.photo: clusters(each.rank_queries(None, k, "cpu"), k) for each in asked})
        for photo, a in found[0].items():
            paired = compare(a, b := found[1][photo])
            low, high = (100 * end for end in paired.difference_interval)
            rates = f"{100 * a.rate:.1f} - {100 * b.rate:.1f} = {100 * paired.difference:+.1f}"
            yield f"{name}, {photo}: {rates} ({low:+.1f} to {high:+.1f}), {paired.people} people"


def main(arguments: Sequence[str]) -> None:
    """Compares two releases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original", type=Path)
    parser.add_argument("release", type=Path, nargs=2)
    parser.add_argument("--attacker", action="append", required=True)
    parser.add_argument("--k", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    given = parser.parse_args(arguments)
    for line in lines(given.original, given.release, given.attacker, given.k, given.cache):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
