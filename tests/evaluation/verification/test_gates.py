"""Gates on the accuracy as they are written, and options of `verify` that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facemae_cli.errors import UsageError
from facemae_cli.evaluation.verification.gates import AccuracyGate, check_options, listed_gates, parse_gates


def test_gates_are_for_all_or_for_one_and_the_one_wins() -> None:
    assert parse_gates([], ["lfw"]) == []
    assert parse_gates(["0.9"], ["lfw", "cfp"]) == [AccuracyGate("lfw", 0.9), AccuracyGate("cfp", 0.9)]
    assert parse_gates(["cfp=0.8", "0.9"], ["lfw", "cfp"]) == [AccuracyGate("lfw", 0.9), AccuracyGate("cfp", 0.8)]
    assert parse_gates(["a=b=1e-1"], ["lfw", "a=b"]) == [AccuracyGate("a=b", 0.1)]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["99"], "is over 1: accuracy is a proportion, so write 0.99 for 99 %"),
        (["lfw=99.5"], "so write 0.995 for 99.5 %"),
        (["high"], "'high' is not a proportion from 0 to 1; give 0.99, or PACK=0.99"),
        (["nan"], "not a proportion"),
        (["inf"], "not a proportion"),
        (["-0.1"], "not a proportion"),
        (["lfw="], "not a proportion"),
        (["agedb=0.9"], "there is no pack 'agedb'; there are lfw, cfp"),
        (["0.9", "0.8"], "a second one for all packs"),
        (["lfw=0.9", "lfw=0.8"], "a second one for lfw"),
    ],
)
def test_gates_that_are_none(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gates(texts, ["lfw", "cfp"])
    assert message in str(caught.value)


def test_a_gate_passes_at_its_minimum_and_not_below() -> None:
    assert AccuracyGate("lfw", 0.99, float(np.mean([0.985, 0.995] * 5))).passed
    failed = AccuracyGate("lfw", 0.99, 0.98999)
    assert not failed.passed
    assert str(failed) == "lfw: accuracy 98.999 %, minimum 99 %: failed"
    assert failed.as_json() == {"pack": "lfw", "minimum": 0.99, "accuracy": 0.98999, "passed": False}


@pytest.mark.parametrize("given", [0.5, "0.5", ["0.5"], [0.5], np.float32(0.5)])
def test_a_minimum_may_be_given_in_any_form(given: Any) -> None:
    (gate,) = parse_gates(listed_gates(given), ["lfw"])
    assert (gate.pack, gate.minimum) == ("lfw", 0.5)
    assert listed_gates({"lfw": 0.5}) == ["lfw=0.5"]
    assert not listed_gates(None)


@pytest.mark.parametrize("given", [True, False, [True], {"lfw": True}])
def test_yes_and_no_are_no_minimums(given: Any) -> None:
    with pytest.raises(UsageError, match="is not a proportion from 0 to 1"):
        parse_gates(listed_gates(given), ["lfw"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": None, "min_accuracy": [0.9]}, "--min-accuracy needs an embedder"),
        ({"model": None, "trained_on": Path("raw")}, "--trained-on needs an embedder"),
        ({"write_pack": Path("x.rec")}, "--write-pack x.rec must end in .bin"),
        ({"min_accuracy": 99}, "so write 0.99 for 99 %"),
        ({"min_accuracy": {"lfw": 2}}, "--min-accuracy lfw=2 is over 1"),
        ({"batch_size": "many"}, "--batch-size 'many'"),
    ],
)
def test_options_that_no_data_could_make_right(options: dict[str, Any], told: str) -> None:
    right = dict.fromkeys(("min_accuracy", "report", "cache", "trained_on", "groups"))
    right |= {"model": "phi", "write_pack": Path("x.bin"), "batch_size": 8}
    check_options(right)
    with pytest.raises(UsageError) as caught:
        check_options(right | options)
    assert told in str(caught.value)
