"""Linkability within a release and inference of attributes, against plain loops and cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, rate_by_looping

from facemae_cli.data.attributes import Column
from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage import linkability
from facemae_cli.evaluation.leakage.linkability import Inference, gains, infer, link_released
from facemae_cli.evaluation.leakage.statistics import Clusters
from facemae_cli.inference.embed import normalised


def unit(rows: np.ndarray) -> np.ndarray:
    return normalised(np.asarray(rows, np.float32))[0]


@pytest.mark.parametrize("k", [1, 3])
def test_released_faces_ask_for_each_other(k: int) -> None:
    people = np.random.default_rng(0).integers(0, 12, 40)
    faces = unit(faces_of(people, 6, 0.7, 1))
    gallery = [(int(person), face) for person, face in zip(people, faces, strict=True)]
    risk, chance, asked, alone = rate_by_looping([(*each, at) for at, each in enumerate(gallery)], gallery, k)
    got = link_released(faces, people, k, attacker="a").found
    assert (got.risk, got.chance) == (pytest.approx(risk, abs=1e-9), pytest.approx(chance, abs=1e-9))
    assert (got.queries, got.left_out) == (asked, alone)
    with pytest.raises(InputError, match="none of 12 query photos has another face"):
        link_released(faces[:12], np.arange(12), k, attacker="a")


def said_by_looping(faces, codes, values: int, taught: list[int], asked: list[int], strength: float) -> list[int]:
    x = np.array([faces[row].astype(float) for row in taught])
    y = np.array([[float(codes[row] == value) for value in range(values)] for row in taught])
    x0, y0 = x.mean(axis=0), y.mean(axis=0)
    penalty = strength * ((x - x0) ** 2).sum() / x.shape[1]
    tall = np.concatenate([x - x0, np.sqrt(penalty) * np.eye(x.shape[1])])
    weights = np.linalg.lstsq(tall, np.concatenate([y - y0, np.zeros((x.shape[1], values))]), rcond=None)[0]
    return [int(np.argmax((faces[row].astype(float) - x0) @ weights + y0)) for row in asked]


def inferred_by_looping(faces: np.ndarray, people: np.ndarray, codes: np.ndarray, values: int) -> list[float]:
    order = np.random.default_rng([0, linkability.INFERRING]).permutation(np.unique(people[codes >= 0]))
    fold_of = {int(person): at % 5 for at, person in enumerate(order)}
    folds = [[row for row in range(len(faces)) if codes[row] >= 0 and fold_of[int(people[row])] == f] for f in range(5)]
    right = {}
    for fold in range(5):
        held, best, most = folds[(fold + 1) % 5], 0.0, -1.0
        first = [row for f in range(5) if f not in (fold, (fold + 1) % 5) for row in folds[f]]
        for strength in (100.0, 10.0, 1.0, 0.1):
            said = said_by_looping(faces, codes, values, sorted(first), held, strength)
            score = sum(value == codes[row] for value, row in zip(said, held, strict=True)) / len(held)
            if score > most:
                best, most = strength, score
        taught = sorted(row for f in range(5) if f != fold for row in folds[f])
        said = said_by_looping(faces, codes, values, taught, folds[fold], best)
        right.update({row: float(value == codes[row]) for value, row in zip(said, folds[fold], strict=True)})
    return [right[row] for row in sorted(right)]


def test_attributes_are_inferred_as_plain_loops_do() -> None:
    random = np.random.default_rng(2)
    people = np.repeat(np.arange(30), 3)
    of_person = random.integers(-1, 3, 30)
    codes = of_person[people]
    faces = unit(faces_of(people, 7, 0.5, 3) + 1.5 * np.eye(7)[np.clip(codes, 0, 3)])
    right = inferred_by_looping(faces, people, codes, 3)
    usual = max(sum(code == value for code in codes) for value in range(3)) / sum(code >= 0 for code in codes)
    got = infer(faces, people, Column("age", ("a", "b", "c"), codes), attacker="a", real=(faces, people, codes))
    known = codes >= 0
    assert got.accuracy == pytest.approx(np.mean(right), abs=1e-9)
    assert got.base_rate == pytest.approx(usual, abs=1e-9)
    assert got.gain == pytest.approx((np.mean(right) - usual) / (1 - usual), abs=1e-9)
    assert got.interval == Clusters.of(np.array(right), people[known]).interval()[0]
    assert (got.photos, got.people, got.values) == (known.sum(), len(set(people[known].tolist())), 3)
    assert got.real == got.accuracy
    low, high = got.gain_interval or (1, 0)
    assert low < (got.gain or 0) < high


def test_what_a_face_shows_is_gained_and_what_it_does_not_is_not() -> None:
    random = np.random.default_rng(4)
    people = np.repeat(np.arange(300), 2)
    shown, hidden = random.integers(0, 2, 300)[people], (random.random(300) < 0.8).astype(np.int64)[people]
    faces = unit(random.normal(size=(600, 8)) + 4.0 * np.eye(8)[shown])
    clear = infer(faces, people, Column("sex", ("f", "m"), shown), attacker="a")
    nothing = infer(faces, people, Column("rich", ("n", "y"), hidden), attacker="a")
    assert (clear.gain or 0) > 0.8
    low, high = nothing.gain_interval or (1, 1)
    assert low <= 0 <= high
    assert nothing.base_rate == pytest.approx(0.8, abs=0.06)
    for seed in range(10, 18):  # equally common values that nothing shows: nothing is gained, nor much lost
        coin = np.random.default_rng(seed).integers(0, 2, 300)[people]
        low, _ = infer(faces, people, Column("coin", ("h", "t"), coin), attacker="a").gain_interval or (1, 1)
        assert low < 0
    assert gains([nothing, clear]) == [clear, nothing]
    assert clear.as_json()["attribute"] == "sex"


def test_too_little_to_infer_from() -> None:
    people = np.arange(30)
    faces = unit(np.random.default_rng(0).normal(size=(30, 4)))
    with pytest.raises(InputError, match="19 people with 2 values are known; 20 people and 2 values are the least"):
        infer(faces, people, Column("x", ("a", "b"), np.r_[np.arange(19) % 2, np.full(11, -1)]), attacker="a")
    with pytest.raises(InputError, match="30 people with 1 values"):
        infer(faces, people, Column("x", ("a",), np.zeros(30, np.int64)), attacker="a")
    assert Inference("a", "x", 1, 9, 9, 1.0, (0.7, 1.0), 1.0).gain is None
