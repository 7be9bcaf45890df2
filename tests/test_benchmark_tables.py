"""The paper's tables as steps: what each needs, and when it is done again."""

from __future__ import annotations

import dataclasses
import importlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from facemae_cli.data.safe_yaml import load_mapping
from facemae_cli.training.recipes import FitRecipe

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_steps_run_several_at_a_time_and_after_what_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = importlib.import_module("steps")
    lab, told = steps.Lab(tmp_path), []
    together = threading.Barrier(2, timeout=30)

    def run(step: Any) -> dict[str, Any]:
        if step.name in ("b", "c"):  # neither comes through without the other
            together.wait()
        told.append(step.name)
        (tmp_path / f"{step.name}.json").write_text('{"result": {}}')
        return {}

    monkeypatch.setattr(lab, "_run", run)
    first = steps.Step("a", ("x",))
    middle = [steps.Step(name, ("x",), (first,)) for name in ("b", "c")]
    lab.run_all([steps.Step("d", ("x",), tuple(middle))], jobs=2)
    assert told[0] == "a"
    assert sorted(told[1:3]) == ["b", "c"]
    assert told[3:] == ["d"]


def paper_of(scale: Any, lab: Any) -> Any:
    """The tables' plan, of faces nobody reads."""
    tables = importlib.import_module("tables")
    public, private, even, odd = (
        tables.Faces(name, Path(f"{name}.rec"), 64) for name in ("public", "private", "even", "odd")
    )
    measured = (lab, scale, private, [Path("lfw.bin")], ["probe-v1"], [0])
    return tables.Paper(*measured, public, (even, odd), ["phi.onnx"])


@pytest.mark.parametrize("scale", sorted((BENCHMARKS / "scales").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_fit_of_every_table_has_a_recipe_that_fit_takes(scale: Path, tmp_path: Path) -> None:
    tables, steps = importlib.import_module("tables"), importlib.import_module("steps")
    paper = paper_of(tables.Scale.load(scale), steps.Lab(tmp_path))
    for name in tables.TABLES:
        paper.rows(name)
    for step in importlib.import_module("paper").curve_audits(paper, "100,all").values():
        assert len(step.name) < 200  # a file's name, with what is added to it, has at most 255 bytes
    fits = list((tmp_path / "recipes").glob("fit-*.yaml"))
    assert len(fits) > 10  # a recipe is written as a row is made
    for path in fits:
        FitRecipe.of(load_mapping(path))


def test_given_models_stand_for_the_shipped_losses_alone(tmp_path: Path) -> None:
    tables, steps = importlib.import_module("tables"), importlib.import_module("steps")
    margin = {"privacy_margin": 0.1, "instance_weight": 0.0}
    scale = tables.Scale("facemae-tiny", "probe", facemae=margin, given={"mse": "plain", "facemae": "shipped"})
    paper = paper_of(scale, steps.Lab(tmp_path))
    released = {row.title: row.leakage.after[0].after for row in paper.rows("table1") if row.title.endswith("MAE")}
    assert [step.name for step in released["MAE"]] == ["masked/private-random-75-s0.rec"]
    assert paper.mae(paper.public, 0, **paper.best) == "shipped"
    for fields in (tables.FACEMAE, {**paper.best, "ratio": 0.9}):
        fitted = paper.mae(paper.public, 0, **fields)
        recipe = load_mapping(tmp_path / "recipes" / f"{fitted.name.replace('/', '-')}.yaml")
        assert recipe == fields
    assert paper.mae(paper.private, 0, **paper.best).name.startswith("fit/private-")


def test_recognisers_learn_from_the_teacher_of_a_scale(tmp_path: Path) -> None:
    tables, steps = importlib.import_module("tables"), importlib.import_module("steps")
    trained = {}
    for teacher in ("", "embedder-v1", "probe-v1"):
        paper = paper_of(tables.Scale("facemae-tiny", "probe", teacher=teacher), steps.Lab(tmp_path))
        (trained[teacher],) = paper.taught(paper.private, 0).after
    assert "--teacher" not in trained[""].arguments
    arguments = trained["embedder-v1"].arguments
    assert arguments[arguments.index("--teacher") + 1] == "embedder-v1"
    assert len({str(step.stamp) for step in trained.values()}) == 3  # what one taught does not stand for another


def test_another_recipe_or_teacher_is_another_fit(tmp_path: Path) -> None:
    tables, steps = importlib.import_module("tables"), importlib.import_module("steps")
    lab = steps.Lab(tmp_path)
    paper = paper_of(tables.Scale("facemae-tiny", "probe", fit={"epochs": 1}), lab)
    first = paper.mae(paper.public, 0, **paper.best)
    longer = paper_of(tables.Scale("facemae-tiny", "probe", fit={"epochs": 2}), lab)
    for other in (longer, dataclasses.replace(paper, phi=["other.onnx"])):
        again = other.mae(paper.public, 0, **paper.best)
        assert again.name == first.name
        assert again.stamp != first.stamp
        assert (
            other.released(again, paper.masked(paper.private)).stamp
            != paper.released(first, paper.masked(paper.private)).stamp
        )


def test_a_step_is_done_again_for_other_attackers_or_recipes_and_what_came_of_it_too(tmp_path: Path) -> None:
    steps = importlib.import_module("steps")
    lab = steps.Lab(tmp_path)
    trained = steps.Step("train", ("train-recognizer",), inputs=("epochs: 1",))
    verified = steps.Step("verify", ("verify",), (trained,), output=False, inputs=("even.bin",))
    for step in (trained, verified):
        kept = {"stamp": step.stamp, "result": {"of": step.name}}
        (tmp_path / f"{step.name}.json").write_text(json.dumps(kept))
    assert lab.known(verified) == {"of": "verify"}
    assert lab.known(dataclasses.replace(verified, inputs=("even.bin", "lfw.bin"))) is None
    longer = dataclasses.replace(trained, inputs=("epochs: 2",))
    assert lab.known(longer) is None
    assert lab.known(dataclasses.replace(verified, after=(longer,))) is None
    assert lab._again(longer) == ["--overwrite"]
    (tmp_path / "verify.json").write_text('{"result": {"of": "an earlier version"}}')
    assert lab.known(verified) == {"of": "an earlier version"}
