"""The paper's tables and figures from any faces: one command runs, resumes and prints each.

    python tests/benchmarks/paper.py table1 --public public --private private --pairs lfw.bin \
        --phi mobilefacenet.onnx --attacker attacker/ --scale tests/benchmarks/scales/cpu.yaml [--seeds 3] [--forecast]

Tables 1 to 8, `margins` (the privacy margin beside the paper's loss), `tradeoff` (utility against leakage over ratios,
of both models) and `curves` (figures 3 and 5: leakage against people). Every step is a facemae command, printed as it
starts, `--jobs` of them at a time; a stopped run goes on where it was. `--forecast` prints the commands that are left
and how long each takes by the rates of like steps, in this or another `--rates` folder.
Utility is the share of the originals' accuracy above chance that is kept, paired over seeds; the error ratio is the
paper's, that to the originals'. Leakage is at K = 2, by attacker, with other photos of a person and with the very one.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from people import RULES, Rule, gather
from steps import Lab, Step
from tables import MSE, TABLES, Faces, Paper, Row, Scale

from facemae_cli.data.open import open_source


def part(path: Path, out: Path, wanted: Rule, most: int | None = None) -> Faces:
    """Some people of a dataset, written once."""
    if not out.exists():
        gather(out, [(path, wanted)], most)
    return Faces(out.stem, out, len(open_source(out)))


def accuracies(lab: Lab, row: Row, pack: str) -> list[float]:
    """In percent, one a seed."""
    return [100 * lab.run(step)["packs"][pack]["accuracy"] for step in row.utility]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.2f}" + (f" +- {stdev(values):.2f}" if len(values) > 1 else "")


def risk(found: dict[str, Any], attack: str, attacker: str, photo: str = "other", k: int = 2) -> dict[str, Any] | None:
    """That of one attacker with all people; None where it was not measured."""
    wanted = {"attack": attack, "attacker": attacker, "photo": photo, "k": k, "all_identities": True}
    for result in found["results"]:
        if wanted == {key: result[key] for key in wanted}:
            return dict(result)
    return None


def percent(found: dict[str, Any] | None) -> str:
    """A risk with its interval."""
    if found is None:
        return "-"
    low, high = found["interval"]
    return f"{100 * found['risk']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def table(paper: Paper, rows: Sequence[Row]) -> Iterator[str]:
    """Runs what is left of a table, then gives it as Markdown, row by row."""
    lab, packs = paper.lab, [pack.stem for pack in paper.packs]
    audits = {row.title: lab.run(row.leakage) for row in rows if row.leakage}
    attackers = list(dict.fromkeys(found["attacker"] for audit in audits.values() for found in audit["results"]))
    columns = [column for pack in packs for column in (pack, "kept", "error ratio")]
    columns += [f"{attacker}, {photo}" for attacker in attackers for photo in ("other photos", "the very photo")]
    yield "| trained on | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    originals = {pack: accuracies(lab, rows[0], pack) for pack in packs}
    for row in rows:
        cells = [row.title]
        for pack in packs:
            found, best = accuracies(lab, row, pack), originals[pack]
            kept = [100 * (one - 50) / (other - 50) for one, other in zip(found, best, strict=True)]
            ratio = [(100 - one) / max(100 - other, 1e-9) for one, other in zip(found, best, strict=True)]
            cells += [spread(found), f"{spread(kept)} %", spread(ratio)]
        attack = "real_to_released" if row.leakage else "real_to_real"
        audit = audits.get(row.title) or next(iter(audits.values()), None)  # the originals are in every audit
        for attacker in attackers:
            cells += [percent(audit and risk(audit, attack, attacker, photo)) for photo in ("other", "same")]
        yield "| " + " | ".join(cells) + " |"


def curve_audits(paper: Paper, people: str) -> dict[str, Step]:
    """Figures 3 and 5: the audits of both releases over numbers of people, each imitated by both models."""
    models = {"MAE": paper.mae(paper.public, 0, **MSE), "FaceMAE": paper.mae(paper.public, 0, **paper.best)}
    imitating = [text for model in models.values() for text in ("--imitation-model", paper.model(model))]
    masked = paper.masked(paper.private)
    return {
        title: paper.audited(
            paper.private, paper.released(model, masked), "--identities", people, "--trials", "3", *imitating
        )
        for title, model in models.items()
    }


def curves(paper: Paper, people: str) -> Iterator[str]:
    """Each figure's points as a Markdown table: the mean over draws of people."""
    yield "| release | attack | attacker | K | people | risk | chance |"
    yield "|---|---|---|---|---|---|---|"
    for title, step in curve_audits(paper, people).items():
        for result in paper.lab.run(step)["results"]:
            if result["photo"] == "other":
                attack = result["attack"].replace("_to_", " -> ").replace("_", " ")
                by = f" by {result['model']}" if result["model"] else ""
                yield (
                    f"| {title} | {attack}{by} | {result['attacker']} | {result['k']} | {result['identities']} "
                    f"| {percent(result)} | {100 * result['chance']:.2f} % |"
                )


def forecast(lab: Lab, steps: Sequence[Step]) -> Iterator[str]:
    """The commands that are left, each with its time."""
    total = 0.0
    for step, seconds in lab.forecast(steps):
        total += seconds or 0.0
        time = "unknown" if seconds is None else f"{seconds / 60:.1f} min"
        yield f"{time:>10}  facemae {shlex.join(lab.command(step))}"
    yield f"{total / 3600:.1f} h in all"


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*TABLES, "curves"])
    parser.add_argument("--public", type=Path, required=True, help="people to fit on")
    parser.add_argument("--private", type=Path, required=True, help="people to release")
    parser.add_argument("--pairs", type=Path, action="append", required=True)
    parser.add_argument("--phi", action="append", required=True, help="the embedders that teach FaceMAE")
    parser.add_argument("--attacker", action="append", required=True)
    parser.add_argument("--scale", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--faces", type=int, help="of --private, whole people from its start")
    parser.add_argument("--skip", action="append", default=[], help="rows whose title matches this pattern")
    parser.add_argument("--people", default="100,300,1000,all", help="of the curves")
    parser.add_argument("--work", type=Path, default=Path("runs/paper"))
    parser.add_argument("--rates", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="steps at a time, which share the cores")
    parser.add_argument("--forecast", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Runs, or forecasts."""
    given = parsed(arguments)
    given.work.mkdir(parents=True, exist_ok=True)
    datasets = given.work / "data"
    datasets.mkdir(exist_ok=True)
    private = Faces("private", given.private, len(open_source(given.private)))
    if given.faces:
        private = part(given.private, datasets / f"private{given.faces}.rec", RULES[""], given.faces)
    halves = [part(private.place, datasets / f"{private.name}-{rule}.rec", RULES[rule]) for rule in ("even", "odd")]
    paper = Paper(
        lab=Lab(given.work, given.rates),
        scale=Scale.load(given.scale),
        public=Faces("public", given.public, len(open_source(given.public))),
        private=private,
        halves=(halves[0], halves[1]),
        packs=given.pairs,
        phi=given.phi,
        attackers=given.attacker,
        seeds=range(given.seeds),
    )
    audits = list(curve_audits(paper, given.people).values())
    rows = [] if given.what == "curves" else paper.rows(given.what)
    rows = [row for row in rows if not any(re.search(pattern, row.title) for pattern in given.skip)]
    steps = [step for row in rows for step in (*row.utility, *([row.leakage] if row.leakage else []))] or audits
    if given.forecast:
        lines = forecast(paper.lab, steps)
    else:
        paper.lab.run_all(steps, given.jobs)
        lines = curves(paper, given.people) if given.what == "curves" else table(paper, rows)
    for line in list(lines):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
