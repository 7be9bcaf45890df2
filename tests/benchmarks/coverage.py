"""How often the 95 % interval of a leakage rate holds the true one, on simulated people; prints a table.

    python tests/benchmarks/coverage.py [--runs 500] [--photos even,wide,skewed] [--alike 0,0.1,0.3,0.5] [--control]

The gallery is fixed: each run draws people, with a chance of being found that varies from person to person (beta, of
the given mean; `alike` is the correlation of two photos of one person), and their photos. Photos a person: `even` 10,
`wide` 2 to 20, `skewed` as in CelebA's people of two photos or more of which only a part was kept: mostly 2 to 5, with
one person in twelve of 10 to 30. Columns: how many people leak on average, coverage, and, where these are
at least 50 runs, coverage among the runs in which 20 people or more leak. 20 people is the smallest group that is
reported as such. Rates by group, of who knows some members, of links within a release and FNIR have this interval.

With `--control`: coverage of (attack - control) / (1 - control), of as many people in the release and not in it.
"""

from __future__ import annotations

import argparse

import numpy as np

from facemae_cli.evaluation.leakage.control import interval_above_control
from facemae_cli.evaluation.leakage.risk import above_chance
from facemae_cli.evaluation.leakage.statistics import Clusters

PEOPLE = (20, 30, 100, 1000)
RISKS = (0.001, 0.01, 0.05, 0.3)
CONTROLS = ((0.01, 0.01), (0.05, 0.01), (0.3, 0.01), (0.3, 0.1), (0.3, 0.3), (0.9, 0.3))  # attack and control
MANY = 20


def photos(kind: str, people: int, random: np.random.Generator) -> np.ndarray:
    """How many photos each of `people` has."""
    if kind == "even":
        return np.full(people, 10)
    if kind == "wide":
        return random.integers(2, 21, people)
    few = random.choice([2, 3, 4, 5], people, p=[0.58, 0.27, 0.11, 0.04])
    return np.where(random.random(people) < 1 / 12, random.integers(10, 31, people), few)


def audit(risk: float, people: int, kind: str, alike: float, random: np.random.Generator) -> Clusters:
    """The hits of one audit of people who are found with the mean chance `risk`."""
    count = photos(kind, people, random)
    spread = (1 - alike) / alike if alike else 0.0
    own = random.beta(risk * spread, (1 - risk) * spread, people) if alike else np.full(people, risk)
    hits = random.binomial(count, own)
    return Clusters(np.arange(people), hits.astype(float), count.astype(float), 1.0 * (hits > 0), 1.0 * (hits < count))


def run(risk: float, people: int, kind: str, alike: float, random: np.random.Generator) -> tuple[bool, int]:
    """Whether one audit's interval holds the true `risk`, and how many people leaked in it."""
    grouped = audit(risk, people, kind, alike, random)
    (low, high), _ = grouped.interval()
    return low <= risk <= high, int(grouped.leaking.sum())


def control_cell(attack: float, control: float, people: int, kind: str, alike: float, runs: int) -> float:
    """How often the interval of what is due to the release holds the true figure."""
    random = np.random.default_rng([people, int(attack * 1000), int(control * 1000), int(alike * 1000), len(kind)])
    true, held = above_chance(attack, control), 0
    for _ in range(runs):
        a, c = (audit(risk, people, kind, alike, random) for risk in (attack, control))
        ends = interval_above_control(a.rate, a.interval()[0], c.rate, c.interval()[0])
        held += ends is None or ends[0] <= (true or 0.0) <= ends[1]
    return held / runs


def cell(risk: float, people: int, kind: str, alike: float, runs: int) -> tuple[float, float | None, float]:
    """Coverage of `runs` audits, coverage among those in which many people leak, and how many leak on average."""
    random = np.random.default_rng([people, int(risk * 1000), int(alike * 1000), len(kind)])
    held, leaking = np.array([run(risk, people, kind, alike, random) for _ in range(runs)]).T
    many = leaking >= MANY
    return float(held.mean()), float(held[many].mean()) if many.sum() >= 50 else None, float(leaking.mean())


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--photos", default="even,wide,skewed")
    parser.add_argument("--alike", default="0,0.1,0.3,0.5")
    parser.add_argument("--control", action="store_true", help="of the control, not of a rate")
    options = parser.parse_args()
    for kind in options.photos.split(","):
        for alike in map(float, options.alike.split(",")):
            print(f"\nphotos {kind}, alike {alike:g}: coverage in % over {options.runs} runs (people leaking)")
            for people in PEOPLE:
                line = [f"{people:5d} people"]
                if options.control:
                    held_by = [control_cell(*rates, people, kind, alike, options.runs) for rates in CONTROLS]
                    cells = zip(CONTROLS, held_by, strict=True)
                    print("  ".join([*line, *(f"{a:g} over {c:g}: {100 * held:5.1f}" for (a, c), held in cells)]))
                    continue
                for risk in RISKS:
                    held, many, leaking = cell(risk, people, kind, alike, options.runs)
                    line.append(
                        f"{100 * held:6.1f} {'  -  ' if many is None else f'{100 * many:5.1f}'} ({leaking:5.1f})"
                    )
                print("  risk ".join([line[0], "  ".join(line[1:])]))


if __name__ == "__main__":
    main()
