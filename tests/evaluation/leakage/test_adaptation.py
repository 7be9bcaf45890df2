"""An attacker who learns sees through what was done to all faces alike."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, seen
from scipy.linalg import inv, sqrtm

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage.adaptation import FEWEST, METHODS, Centred, _found, _Pairs, learn

DIM = 12


def drawn_anew(rows: np.ndarray, seed: int) -> np.ndarray:
    """What a drawing does to features: turns them, moves all to one side, and drowns half of the directions."""
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, DIM)))[0]
    noise = np.random.default_rng(seed).normal(size=rows.shape) * np.where(np.arange(DIM) < DIM // 2, 0.1, 3.0)
    return (rows * np.where(np.arange(DIM) < DIM // 2, 1.0, 0.3) + noise) @ turn + 4


def found(real: np.ndarray, reconstructed: np.ndarray) -> float:
    """How many real faces have their own drawn one for the nearest."""
    return float(np.mean((real @ reconstructed.T).argmax(axis=1) == np.arange(len(real))))


def test_real_and_drawn_faces_of_other_people_meet() -> None:
    random = np.random.default_rng(0)
    own, others = random.normal(size=(400, DIM)), random.normal(size=(150, DIM))
    learnt = learn(seen(own), seen(drawn_anew(own, 1)))
    real, reconstructed = seen(others), seen(drawn_anew(others, 2))
    before = found(real.features, reconstructed.features)
    after = found(learnt.of_real(real).features, learnt.of_reconstructed(reconstructed).features)
    assert before < 0.1
    assert after > 0.5
    assert (learnt.faces, learnt.dim) == (400, DIM)


def test_faces_without_a_feature_teach_nothing_and_stay_without() -> None:
    rows = np.random.default_rng(1).normal(size=(60, DIM))
    made = drawn_anew(rows, 1)
    with_gaps, gaps = rows.copy(), made.copy()
    with_gaps[3], gaps[7] = 0, 0
    learnt = learn(seen(with_gaps), seen(gaps))
    kept = [at for at in range(60) if at not in (3, 7)]
    again = learn(seen(rows[kept]), seen(made[kept]))
    assert learnt.faces == 58
    np.testing.assert_array_equal(learnt.reconstructed_map, again.reconstructed_map)
    mapped = learnt.of_real(seen(with_gaps))
    assert np.flatnonzero(~mapped.valid).tolist() == [3]
    np.testing.assert_allclose(np.linalg.norm(mapped.features[kept], axis=1), 1, atol=1e-6)


def test_fewer_faces_than_dimensions_do() -> None:
    rows = np.random.default_rng(2).normal(size=(FEWEST, 40))
    learnt = learn(seen(rows), seen(rows))
    assert learnt.dim <= 40
    assert np.isfinite(learnt.of_reconstructed(seen(rows)).features).all()


def test_too_few_faces_teach_nothing() -> None:
    rows = np.eye(FEWEST)
    rows[0] = 0
    with pytest.raises(InputError, match="15 faces have a feature both real and reconstructed"):
        learn(seen(rows), seen(np.eye(FEWEST)))


def test_one_person_teaches_nothing_that_could_be_tried_on_another() -> None:
    people = np.repeat(np.arange(2), FEWEST)
    faces = faces_of(people, DIM, 0.3, 0)
    with pytest.raises(InputError, match="all faces to adapt to are of one person"):
        learn(seen(faces[:FEWEST]), seen(faces[:FEWEST]), people[:FEWEST])
    assert learn(seen(faces), seen(faces), people).faces == 2 * FEWEST


def test_left_out_people_choose_the_map_and_it_finds_others_by_other_photos() -> None:
    """Photos of a person differ most in a few directions, which say nothing of who it is."""

    def faces(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        people = np.repeat(np.arange(count), 3)
        spread = np.where(np.arange(DIM) < 4, 4.0, 0.2)
        real = random.normal(size=(count, DIM))[people] + spread * random.normal(size=(3 * count, DIM))
        return real, real + 0.5 * spread * random.normal(size=real.shape), people

    own, others = faces(120, 0), faces(60, 1)
    learnt = learn(seen(own[0]), seen(own[1]), own[2])
    assert learnt.method.startswith("within")
    plain = rate(seen(others[0]).features, seen(others[1]).features, others[2])
    mapped = learnt.of_real(seen(others[0])), learnt.of_reconstructed(seen(others[1]))
    adapted = rate(mapped[0].features, mapped[1].features, others[2])
    assert adapted > plain + 0.3
    assert learnt.held_out == pytest.approx(adapted, abs=0.15)


def rate(real: np.ndarray, reconstructed: np.ndarray, people: np.ndarray) -> float:
    """Photos with another of their person among the two nearest, by a plain loop."""
    found = []
    for at, face in enumerate(real):
        others = [other for other in range(len(people)) if other != at]
        nearest = sorted(others, key=lambda other: -float(face @ reconstructed[other]))[:2]
        found.append(any(people[other] == people[at] for other in nearest))
    return float(np.mean(found))


def mixed(real: np.ndarray, people: np.ndarray, copies: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mixtures of faces of three people each, every face first in so many, half of it its own; and what they are of."""
    random = np.random.default_rng(seed)
    first = np.tile(np.arange(len(real)), copies)
    others = np.stack([random.choice(np.flatnonzero(people != people[at]), 2, replace=False) for at in first])
    photos = np.concatenate([first[:, None], others], axis=1)
    return drawn_anew(np.einsum("mpd,p->md", real[photos], [0.5, 0.25, 0.25]), seed), photos


def test_mixtures_teach_whoever_is_told_of_which_photos_they_are() -> None:
    people = np.repeat(np.arange(130), 2)
    real = faces_of(people, DIM, 0.3, 0)
    made, photos = mixed(real, people, 3, 1)
    learnt = learn(seen(real), seen(made), people, photos)
    assert learnt.faces == 260
    others = np.repeat(np.arange(50), 2)
    asking = faces_of(others, DIM, 0.3, 5)
    gallery, shown = mixed(asking, others, 3, 6)

    def rate(real: np.ndarray, reconstructed: np.ndarray) -> float:
        return found_in_mixtures(real, reconstructed, shown, others)

    plain = rate(seen(asking).features, seen(gallery).features)
    adapted = rate(learnt.of_real(seen(asking)).features, learnt.of_reconstructed(seen(gallery)).features)
    assert adapted > plain + 0.1
    # Who takes each for the next photo's learns nothing of it.
    blind = learn(seen(real), seen(made), people, np.roll(photos, 7, axis=0))
    assert blind.held_out < learnt.held_out - 0.1


def found_in_mixtures(real: np.ndarray, made: np.ndarray, photos: np.ndarray, people: np.ndarray) -> float:
    """Photos with their person in one of the two nearest mixtures that do not show the photo itself, by a plain loop;
    of people without another photo, in any."""
    shown = {person: {int(at) for row in photos for at in row if people[at] == person} for person in set(people)}
    more = {person: len(own) > 1 for person, own in shown.items()}
    found = []
    for at in sorted({int(row[0]) for row in photos}):
        if any(more[people[row[0]]] for row in photos) and not more[people[at]]:
            continue
        there = [row for row in range(len(made)) if at not in photos[row] or not more[people[at]]]
        nearest = sorted(there, key=lambda row: -float(real[at] @ made[row]))[:2]
        found.append(any(people[photo] == people[at] for row in nearest for photo in photos[row]))
    return float(np.mean(found))


@pytest.mark.parametrize("alone", [False, True])
def test_what_left_out_mixtures_find_is_what_a_loop_finds(alone: bool) -> None:
    people = np.arange(24) if alone else np.concatenate([np.repeat(np.arange(8), 3), np.arange(8, 12)])
    real = seen(faces_of(people, DIM, 0.8, 2)).features
    made, photos = mixed(real, people, 2, 3)
    made = seen(made).features
    # Of some photos no mixture is a copy, and of some only one is there.
    photos, made = photos[5:], made[5:]
    pairs = _Pairs(real[photos[:, 0]].astype(float), made.astype(float), photos, people[photos])
    assert _found(pairs) == pytest.approx(found_in_mixtures(real, made, photos, people), abs=1e-9)


def test_one_photo_a_face_is_a_mixture_of_one() -> None:
    people = np.repeat(np.arange(40), 2)
    real = faces_of(people, DIM, 0.5, 4)
    made = drawn_anew(real, 1)
    plain, told = (learn(seen(real), seen(made), people, photos) for photos in (None, np.arange(80)[:, None]))
    assert plain.method == told.method
    np.testing.assert_array_equal(plain.reconstructed_map, told.reconstructed_map)


def by_other_solvers(
    method: str, x: np.ndarray, y: np.ndarray, whose: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Both maps of centred features; None where only what they find together is unique."""
    size = x.shape[1]
    if method == "centred":
        return np.eye(size), np.eye(size)
    if method.startswith("within"):
        return (root := within_by_looping(x, y, whose, float(method.split()[1]))), root
    strength = 0.1 * np.trace(y.T @ y / len(y)) / size
    tall, wanted = (
        np.concatenate([y, np.sqrt(len(y) * strength) * np.eye(size)]),
        np.concatenate([x, np.zeros((size, size))]),
    )
    straight = np.linalg.lstsq(tall, wanted, rcond=None)[0]
    if method == "map":
        return np.eye(size), straight
    if method == "map, within":
        return (root := within_by_looping(x, y @ straight, whose, 0.3)), straight @ root
    return None


def within_by_looping(x: np.ndarray, y: np.ndarray, whose: np.ndarray, ridge: float) -> np.ndarray:
    scatter = np.zeros((x.shape[1], x.shape[1]))
    for person in set(whose.tolist()):
        both = [face for side in (x, y) for face, own in zip(side, whose, strict=True) if own == person]
        middle = sum(both) / len(both)
        scatter += sum(np.outer(face - middle, face - middle) for face in both)
    scatter /= 2 * len(x)
    return np.asarray(inv(sqrtm(scatter + ridge * np.trace(scatter) / len(scatter) * np.eye(len(scatter))))).real


@pytest.mark.parametrize("method", METHODS)
def test_each_map_is_that_of_other_solvers_to_the_ninth_decimal(method: str) -> None:
    random = np.random.default_rng(3)
    whose = np.repeat(np.arange(20), 3)
    x = random.normal(size=(20, 5))[whose] + 0.5 * random.normal(size=(60, 5))
    y = drawn_anew(np.pad(x, ((0, 0), (0, DIM - 5))), 1)[:, :5]
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    found, expected = (
        METHODS[method](Centred(x, y, whose, (np.zeros(5), np.zeros(5)))),
        by_other_solvers(method, x, y, whose),
    )
    if expected is None:  # canonical correlation: its bilinear form, by regularised covariances and their square roots
        white = [
            inv(sqrtm(side.T @ side / 60 + 0.1 * np.trace(side.T @ side / 60) / 5 * np.eye(5))).real for side in (x, y)
        ]
        form = white[0] @ (white[0] @ (x.T @ y / 60) @ white[1]) @ white[1]
        np.testing.assert_allclose(found[0] @ found[1].T, form, rtol=0, atol=1e-9)
    else:
        for mine, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)
