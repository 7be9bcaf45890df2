"""Any release on the plane of utility against leakage, beside the line that a plain MAE draws over mask ratios.

    python tests/benchmarks/frontier.py mixed=mixed.rec margin=margin.rec --original odd.rec \
        --pairs even.bin --pairs lfw.bin --attacker edgeface/ --adapt even.rec \
        --scale tests/benchmarks/scales/cpu.yaml --seeds 3 --jobs 2 [--forecast]

Each release keeps the originals' names (`mask --keep-names`). A recogniser of each seed learns from it; `leakage`
attacks it by the attackers given and those always there, with `--adapt` also once they have learnt from faces of their
own, with other photos of a person and with the very one, at K = 2. Prints, as Markdown: the points; every attacker;
each release less MAE at each ratio, paired over seeds and people; and each beside MAE's line at equal utility on the
first pack, where it gives away less only by twice the standard error. Everything resumes; a release that changed is
measured anew.

Of a release whose faces are made of several people (`mask --protect`), `--sources TITLE=FILE` says of whom, and names
are its own; who leads to any of them is found. A release that another model than the line's made is attacked by it:
`--model TITLE=MODEL`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from paired import Attackers, called
from paper import accuracies, forecast, spread
from plane import PHOTOS, Point, gap, leakage_difference, utility_difference
from steps import Lab, Step
from tables import Faces, Row, Scale, Setup

from facemae_cli.data.open import open_source
from facemae_cli.evaluation.leakage.datasets import match_people, open_datasets
from facemae_cli.evaluation.leakage.statistics import Clusters

RATIOS = "75,80,85,90"
K = 2
EQUAL = 1e-9  # how far two counts of one attack may differ, as shares
TITLES = {"other": "other photos", "same": "the very photo"}


@dataclass(frozen=True)
class Frontier:
    """What is measured and how; `model`, a plain MAE, draws the line at `ratios`. Where there is `adapt`, attackers
    imitate a release and learn by that model, or by the one that `makers` has for its title."""

    setup: Setup
    model: str
    ratios: Sequence[float]
    adapt: Path | None
    sources: Mapping[str, Path]
    makers: Mapping[str, str] = field(default_factory=dict)

    def row(self, title: str, data: Step | Faces) -> Row:
        """A release's fits, and its audit."""
        how = ("--imitations", "0")
        if self.adapt is not None:
            how = ("--adapt", str(self.adapt), "--imitation-model", self._maker(title))
        if title in self.sources:
            how += ("--sources", str(self.sources[title]))
        setup = self.setup
        return Row(
            title, tuple(setup.taught(data, seed) for seed in setup.seeds), setup.audited(setup.private, data, *how)
        )

    def _maker(self, title: str) -> str:
        return self.makers.get(title, self.model)

    def line(self) -> list[Row]:
        """The plain MAE's, most hidden last."""
        return [
            self.row(
                f"MAE, {100 * ratio:g} %", self.setup.released(self.model, self.setup.masked(self.setup.private, ratio))
            )
            for ratio in self.ratios
        ]

    def point(self, row: Row) -> Point:
        """What was measured of a row. Raises SystemExit where the audit and the pairing do not find the same."""
        assert row.leakage is not None
        lab, audit = self.setup.lab, self.setup.lab.run(row.leakage)
        found = self._found(row, row.leakage, Path(audit["released"]))
        for result in audit["results"]:
            label = called(result["attack"], result["attacker"], result["model"]), result["photo"]
            wanted = result["k"] == K and result["attack"] != "real_to_real"
            if wanted and abs(result["risk"] - found[label].rate) > EQUAL:
                raise SystemExit(f"{row.title}: {label} is {result['risk']} in the audit, {found[label].rate} here")
        packs = [pack.stem for pack in self.setup.packs]
        return Point(row.title, {pack: accuracies(lab, row, pack) for pack in packs}, found)

    def _found(self, row: Row, step: Step, released: Path) -> dict[tuple[str, str], Clusters]:
        """Who is found, kept in the work folder."""
        setup = self.setup
        path = setup.lab.work / "found" / f"{Path(step.name).name}.json"
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["stamp"] == step.stamp:
                return {tuple(label): _clusters(found) for label, found in kept["found"]}
        models = () if self.adapt is None else (self._maker(row.title),)
        attackers = Attackers(setup.attackers, K, setup.lab.work / "cache", self.adapt, models)
        print(f"who is found in {released}", flush=True)
        found = attackers.find(setup.private.place, released, self.sources.get(row.title))
        path.parent.mkdir(exist_ok=True)
        lists = [(label, {key: value.tolist() for key, value in asdict(each).items()}) for label, each in found.items()]
        path.write_text(json.dumps({"stamp": step.stamp, "found": lists}))
        return found


def _clusters(lists: Mapping[str, Any]) -> Clusters:
    return Clusters(
        **{key: np.array(value, np.int64 if key == "people" else np.float64) for key, value in lists.items()}
    )


def given(path: Path, title: str) -> Faces:
    """A dataset by its title and what is in it, so that another under the same title is another."""
    source, digest = open_source(path), hashlib.sha256()
    for at in range(len(source)):
        digest.update(repr(source.name(at)).encode())
        digest.update(source.read(at))
    return Faces(f"{re.sub(r'[^A-Za-z0-9._=-]+', '-', title)}-{digest.hexdigest()[:8]}", path, len(source))


def points(found: Sequence[Point], packs: Sequence[str]) -> Iterator[str]:
    """Utility, and leakage by the attacker who is strongest, with its 95 % interval."""
    yield "| release | " + " | ".join([*packs, *(f"{TITLES[photo]} | by" for photo in PHOTOS)]) + " |"
    yield "|---" * (1 + len(packs) + 2 * len(PHOTOS)) + "|"
    for point in found:
        cells = [point.title, *(spread(point.utility[pack]) for pack in packs)]
        for photo in PHOTOS:
            attacker, counted = point.strongest(photo)
            low, high = counted.interval()[0]
            cells += [f"{100 * counted.rate:.1f} ({100 * low:.1f} to {100 * high:.1f})", attacker]
        yield "| " + " | ".join(cells) + " |"


def by_attacker(found: Sequence[Point]) -> Iterator[str]:
    """Other photos / the very photo, by every attacker."""
    yield "| attacker | " + " | ".join(point.title for point in found) + " |"
    yield "|---" * (1 + len(found)) + "|"
    for attacker in dict.fromkeys(attacker for point in found for attacker, _ in point.found):
        cells = [
            " / ".join(
                f"{100 * point.found[attacker, photo].rate:.1f}" if (attacker, photo) in point.found else "-"
                for photo in PHOTOS
            )
            for point in found
        ]
        yield f"| {attacker} | " + " | ".join(cells) + " |"


def beside(found: Sequence[Point], line: Sequence[Point], packs: Sequence[str]) -> Iterator[str]:
    """Each release less MAE at each ratio: utility with its standard error, leakage with its 95 % interval."""
    yield "| release | less | " + " | ".join([*packs, *(TITLES[photo] for photo in PHOTOS)]) + " |"
    yield "|---" * (2 + len(packs) + len(PHOTOS)) + "|"
    for point in found:
        for other in line:
            cells = [point.title, other.title]
            for pack in packs:
                difference, error = utility_difference(point, other, pack)
                cells.append(f"{difference:+.2f}" + ("" if error is None else f" ({error:.2f})"))
            for photo in PHOTOS:
                paired = leakage_difference(point, other, photo)
                low, high = paired.difference_interval
                cells.append(f"{100 * paired.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
            yield "| " + " | ".join(cells) + " |"


def against_line(found: Sequence[Point], line: Sequence[Point], pack: str) -> Iterator[str]:
    """Each release beside the line at its own utility."""
    yield f"| release | photos | gives away | MAE's line at equal {pack} | difference | standard error | reading |"
    yield "|---" * 7 + "|"
    low, high = (pick(line, key=lambda each: each.accuracy(pack)) for pick in (min, max))
    for point in found:
        for photo in PHOTOS:
            off = gap(point, line, pack, photo)
            if off is None:
                end = (
                    f"less than {low.title}" if point.accuracy(pack) < low.accuracy(pack) else f"more than {high.title}"
                )
                rate = 100 * point.strongest(photo)[1].rate
                yield f"| {point.title} | {TITLES[photo]} | {rate:.1f} | - | - | - | off the line: it teaches {end} |"
                continue
            error = "-" if off.error is None else f"{off.error:.1f}"
            cells = [f"{off.release:.1f}", f"{off.line:.1f}", f"{off.difference:+.1f}", error, off.reading]
            yield f"| {point.title} | {TITLES[photo]} | " + " | ".join(cells) + " |"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="TITLE=DATASET")
    parser.add_argument("--original", type=Path, required=True, help="the real faces that were released")
    parser.add_argument(
        "--pairs", type=Path, action="append", required=True, help="the first pack is what is chosen by"
    )
    parser.add_argument("--attacker", action="append", default=[], help="an embedder beside those always there")
    parser.add_argument(
        "--adapt", type=Path, help="the attackers' own faces, on which they learn to see through releases"
    )
    parser.add_argument(
        "--sources", action="append", default=[], metavar="TITLE=FILE", help="of whom each face of a release was made"
    )
    parser.add_argument(
        "--model", action="append", default=[], metavar="TITLE=MODEL", help="what made a release, if not the line's"
    )
    parser.add_argument("--scale", type=Path, required=True)
    parser.add_argument("--line", default="mae-v1", metavar="MODEL", help="the plain MAE")
    parser.add_argument("--ratios", default=RATIOS, help=f"percent that it hides, default: {RATIOS}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--rates", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="steps at a time, which share the cores")
    parser.add_argument("--forecast", action="store_true")
    found = parser.parse_args(arguments)
    titles = [text.partition("=")[0] for text in found.releases]
    for text in found.releases:
        if not all(text.partition("=")):
            parser.error(f"{text}: a release is given as TITLE=DATASET")
    if len(set(titles)) < len(titles):
        parser.error(f"two releases have one title: {', '.join(titles)}")
    found.sources = {title: Path(file) for title, _, file in (text.partition("=") for text in found.sources)}
    found.model = {title: model for title, _, model in (text.partition("=") for text in found.model)}
    for option, titled in (("--sources", found.sources), ("--model", found.model)):
        if unknown := set(titled) - set(titles):
            parser.error(f"{option} {sorted(unknown)[0]}: no release has that title")
    if found.seeds < 1:
        parser.error(f"--seeds {found.seeds}: give 1 or more")
    return found


def check_names(original: Path, released: Path, sources: Path | None) -> None:
    """Raises SystemExit for a release whose photos do not join the originals: other photos could not be told."""
    matching, _ = match_people(open_datasets(original, released, None, None), None, sources)
    if not matching.names.photos_join:
        raise SystemExit(
            f"{released}: {matching.names.joined} of {matching.names.joinable} photos have the originals' names: "
            "give a release made from faces masked with --keep-names"
        )


def main(arguments: Sequence[str]) -> None:
    """Measures, or forecasts."""
    asked = parsed(arguments)
    releases = {title: Path(place) for title, _, place in (text.partition("=") for text in asked.releases)}
    for title, place in releases.items():
        check_names(asked.original, place, asked.sources.get(title))
    asked.work.mkdir(parents=True, exist_ok=True)
    lab, scale = Lab(asked.work, asked.rates), Scale.load(asked.scale)
    original = given(asked.original, asked.original.stem)
    setup = Setup(lab, scale, original, asked.pairs, asked.attacker, range(asked.seeds))
    frontier = Frontier(
        setup, asked.line, [float(text) / 100 for text in asked.ratios.split(",")], asked.adapt, asked.sources,
        asked.model,
    )  # fmt: skip
    line = frontier.line()
    rows = [frontier.row(title, given(place, title)) for title, place in releases.items()]
    steps = [step for row in (*line, *rows) for step in (*row.utility, row.leakage) if step is not None]
    if asked.forecast:
        print("\n".join(forecast(lab, steps)))
        return
    lab.run_all(steps, asked.jobs)
    drawn, found = ([frontier.point(row) for row in some] for some in (line, rows))
    packs = [pack.stem for pack in asked.pairs]
    for table in (
        points([*drawn, *found], packs),
        by_attacker([*drawn, *found]),
        beside(found, drawn, packs),
        against_line(found, drawn, packs[0]),
    ):
        print("\n".join(["", *table]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
