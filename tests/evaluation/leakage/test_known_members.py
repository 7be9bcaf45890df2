"""Known members against plain loops and other people's solvers, and releases that fall to them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.audits import faces_of, rate_by_looping
from scipy.linalg import inv, orthogonal_procrustes, sqrtm

from facemae_cli.errors import InputError
from facemae_cli.evaluation.leakage import known_members
from facemae_cli.evaluation.leakage.known_members import METHODS, Sides, attack_knowing, held_out_scores
from facemae_cli.inference.embed import normalised

DIM = 6


def unit(rows: np.ndarray) -> np.ndarray:
    return normalised(np.asarray(rows, np.float32))[0]


def release(people: int, photos: int, dim: int = DIM, noise: float = 0.4, seed: int = 0, turned: bool = False) -> Sides:
    """Real faces, and released ones that are noisier; `turned`: by a rotation and a shift of identity space."""
    whose = np.repeat(np.arange(people), photos)
    real = unit(faces_of(whose, dim, 0.3, seed)).astype(np.float64)
    random = np.random.default_rng(seed + 1)
    made = real + noise * random.normal(size=real.shape) / np.sqrt(dim)
    if turned:
        rotation, _ = np.linalg.qr(random.normal(size=(dim, dim)))
        made = made @ rotation + 0.5 * random.normal(size=dim)
    order = random.permutation(len(whose))
    same = np.argsort(order)
    return Sides(unit(real), unit(made[order]), whose, whose[order], same)


def without_photos(sides: Sides) -> Sides:
    """The same people, of whose photos none is known on both sides."""
    return Sides(sides.real, sides.released, sides.real_people, sides.released_people, np.full(len(sides.real), -1))


def pairs_by_looping(sides: Sides, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = [], []
    for row, person in enumerate(sides.real_people.tolist()):
        if person in people and sides.same_photo[row] >= 0:
            x.append(sides.real[row].astype(float))
            y.append(sides.released[sides.same_photo[row]].astype(float))
    if not x:
        for person in people.tolist():
            x.append(
                np.mean(
                    [f.astype(float) for f, p in zip(sides.real, sides.real_people, strict=True) if p == person], axis=0
                )
            )
            y.append(
                np.mean(
                    [
                        f.astype(float)
                        for f, p in zip(sides.released, sides.released_people, strict=True)
                        if p == person
                    ],
                    axis=0,
                )
            )
    return np.array(x), np.array(y)


def mapped_by_looping(sides: Sides, method: str, people: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All real and all released faces after `method`, learnt by other solvers."""
    x, y = pairs_by_looping(sides, people)
    x0, y0 = x.mean(axis=0), y.mean(axis=0)
    real, released = sides.real.astype(float), sides.released.astype(float)
    if method == "none":
        return list(real), list(released)
    if method.startswith("ridge"):
        strength = float(method.split()[1])
        penalty = strength * ((y - y0) ** 2).sum() / y.shape[1]
        tall = np.concatenate([y - y0, np.sqrt(penalty) * np.eye(y.shape[1])])
        wanted = np.concatenate([(x - x0) - (y - y0), np.zeros((y.shape[1], x.shape[1]))])
        change = np.linalg.lstsq(tall, wanted, rcond=None)[0]
        return [face - x0 for face in real], [(face - y0) + (face - y0) @ change for face in released]
    if method == "orthogonal":
        rotation, _ = orthogonal_procrustes(y - y0, x - x0)
        return [face - x0 for face in real], [(face - y0) @ rotation for face in released]
    both = ((real, sides.real_people), (released, sides.released_people))
    if method == "centroids":
        described = []
        for faces, whose in both:
            anchors = [
                np.mean([f for f, p in zip(faces, whose, strict=True) if p == person], axis=0)
                for person in people.tolist()
            ]
            middle = np.mean(anchors, axis=0)
            described.append(
                [
                    np.array(
                        [
                            float((face - middle) @ (a - middle))
                            / np.linalg.norm(face - middle)
                            / np.linalg.norm(a - middle)
                            for a in anchors
                        ]
                    )
                    for face in faces
                ]
            )
        return described[0], described[1]
    means = [np.mean([f for f, p in zip(faces, whose, strict=True) if p in people], axis=0) for faces, whose in both]
    scatter, count = np.zeros((y.shape[1], y.shape[1])), 0
    for person in people.tolist():
        own = [
            f - mean
            for (faces, whose), mean in zip(both, means, strict=True)
            for f, p in zip(faces, whose, strict=True)
            if p == person
        ]
        for face in own:
            off = face - np.mean(own, axis=0)
            scatter += np.outer(off, off)
            count += 1
    scatter /= count
    root = inv(sqrtm(scatter + float(method.split()[1]) * np.trace(scatter) / len(scatter) * np.eye(len(scatter)))).real
    return [(face - means[0]) @ root for face in real], [(face - means[1]) @ root for face in released]


def lengths_one(faces: list[np.ndarray]) -> np.ndarray:
    return np.array([face / np.linalg.norm(face) for face in faces])


@pytest.mark.parametrize("photo", ["other", "same"])
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("joined", [True, False])
def test_each_method_attacks_as_plain_loops_do(method, photo, joined, monkeypatch) -> None:
    sides = release(24, 3)
    if not joined:
        if photo == "same":
            return
        sides = without_photos(sides)
    monkeypatch.setattr(known_members, "METHODS", {"none": METHODS["none"], method: METHODS[method]})
    monkeypatch.setattr(known_members, "held_out_scores", lambda *args: {"none": 0.0, method: 1.0})
    found = attack_knowing(sides, 9, 2, attacker="a", photo=photo, resamples=20)
    people = np.random.default_rng([0, known_members.KNOWING, 0]).permutation(24)
    members, rest = np.sort(people[:9]), people[9:]
    for which, got in ((method, found.learnt), ("none", found.unlearnt)):
        real, released = (lengths_one(side) for side in mapped_by_looping(sides, which, members))
        kept = [row for row in range(len(released)) if sides.released_people[row] in rest]
        gallery = [(int(sides.released_people[row]), released[row]) for row in kept]
        queries = []
        for row in range(len(real)):
            if sides.real_people[row] in rest:
                own = sides.same_photo[row]
                without = kept.index(own) if photo == "other" and own >= 0 else -1
                queries.append((int(sides.real_people[row]), real[row], without))
        risk, chance, asked, _ = rate_by_looping(queries, gallery, 2)
        assert (got.risk, got.chance) == pytest.approx((risk, chance), abs=1e-9)
        assert got.queries == asked
    assert found.compared.difference == pytest.approx(found.risk - found.unlearnt.risk, abs=1e-9)


@pytest.mark.parametrize("photo", ["other", "same"])
def test_methods_are_chosen_by_people_left_out_of_the_learning(photo) -> None:
    sides, members = release(20, 3, seed=5), np.array([3, 1, 7, 12, 19, 0, 4, 11])
    got = held_out_scores(sides, members, photo)
    assert list(got) == list(METHODS)
    for method, score in got.items():
        ranks = []
        for fold in range(5):
            asking = members[fold::5]
            taught = np.sort([person for person in members if person not in asking])
            real, released = (lengths_one(side) for side in mapped_by_looping(sides, method, taught))
            for row in range(len(real)):
                if sides.real_people[row] not in asking:
                    continue
                skipped = sides.same_photo[row] if photo == "other" else -1
                scores = [float(real[row] @ face) for face in released]
                own = [
                    score
                    for at, score in enumerate(scores)
                    if sides.released_people[at] == sides.real_people[row] and at != skipped
                ]
                others = [s for at, s in enumerate(scores) if sides.released_people[at] != sides.real_people[row]]
                ranks.append(1 / (1 + sum(score > max(own) for score in others)))
        assert score == pytest.approx(np.mean(ranks), abs=1e-9), method


def test_a_release_that_turns_identity_space_falls_to_a_hundred_known_people() -> None:
    sides = release(300, 3, dim=64, noise=0.3, turned=True)
    ten, hundred = (attack_knowing(sides, known, 2, attacker="a", resamples=20) for known in (10, 100))
    assert hundred.unlearnt.risk < 0.05
    assert ten.risk < hundred.risk
    assert hundred.risk > 0.9
    assert hundred.method != "none"
    assert hundred.held_out["none"] < 0.1


def test_learning_is_left_where_it_does_not_help() -> None:
    whose = np.repeat(np.arange(60), 2)
    random = np.random.default_rng(1)
    noise = unit(random.normal(size=(120, 8))), unit(random.normal(size=(120, 8)))
    found = attack_knowing(Sides(*noise, whose, whose, np.arange(120)), 20, 2, attacker="a", resamples=20)
    low, high = found.interval
    assert low <= found.as_json()["chance"] <= high


def test_the_same_seed_gives_the_same_figures_and_more_known_people_hold_the_fewer() -> None:
    sides = release(30, 2)
    once, again = (attack_knowing(sides, 8, 1, attacker="a", resamples=20).as_json() for _ in range(2))
    assert once == again
    assert once["identities_attacked"] == 22
    assert (once["trials"], once["methods_by_trial"]) == ([once["risk"]], [once["method"]])
    other = attack_knowing(sides, 8, 1, attacker="a", seed=1, resamples=20).as_json()
    assert other["trials"] != once["trials"]


def test_constant_features_give_chance_and_nobody_left_is_an_error() -> None:
    whose = np.repeat(np.arange(20), 2)
    flat = unit(np.ones((40, 5)))
    found = attack_knowing(Sides(flat, flat, whose, whose, np.arange(40)), 8, 2, attacker="a", resamples=20)
    assert found.risk == pytest.approx(found.as_json()["chance"])
    with pytest.raises(InputError, match="0 photos to ask with and 0 faces"):
        attack_knowing(Sides(flat, flat, whose, whose, np.arange(40)), 20, 2, attacker="a")
