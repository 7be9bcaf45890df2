"""Margins by hand; the shared softmax against the plain one; the same figures on any number of ranks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.ranks import run_ranks

from facemae_cli.runtime import distributed
from facemae_cli.training.margin_loss import NO_LABEL, ClassCentres, Margin

CLASSES, DIM, FACES = 11, 6, 12
CPU = torch.device("cpu")


def centres(rate: float = 1.0, kind: str = "arcface", m: float = 0.5, classes: int = CLASSES) -> ClassCentres:
    return ClassCentres(
        classes, DIM, Margin(kind, m),
        scale=16.0, sample_rate=rate, momentum=0.9, weight_decay=0.01, seed=3, device=CPU,
    )  # fmt: skip


def batch(step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(step)
    return torch.randn(FACES, DIM, generator=random), torch.randint(0, CLASSES, (FACES,), generator=random)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.5, 2.6])
def test_arcface_adds_to_the_angle(angle: float) -> None:
    got = Margin("arcface", 0.5).shifted(torch.tensor([math.cos(angle)], dtype=torch.float64))
    assert got.item() == pytest.approx(math.cos(angle + 0.5), abs=1e-12)


def test_arcface_stays_monotonic_past_pi() -> None:
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    for strength in (0.2, 1.0):
        shifted = Margin("arcface", 0.5).shifted(cosine, strength)
        assert (shifted.diff() > 0).all()
        assert (shifted <= cosine).all()


def test_cosface_takes_off_the_cosine_and_strength_scales_it() -> None:
    assert Margin("cosface", 0.4).shifted(torch.tensor(0.9)).item() == pytest.approx(0.5)
    assert Margin("cosface", 0.4).shifted(torch.tensor(0.9), 0.5).item() == pytest.approx(0.7)


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
def test_the_gradient_is_finite_where_a_face_is_its_centre_or_opposite(kind: str) -> None:
    found = centres(kind=kind)
    features = torch.stack([found.weight[0] * 50, -found.weight[1] * 50]).to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = found.loss(features, torch.tensor([0, 1]), 0)["margin"]
    assert loss.dtype == torch.float32
    loss.backward()
    assert torch.isfinite(loss)
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


def plain(weight: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, m: float = 0.5) -> torch.Tensor:
    """ArcFace as its paper writes it, its tail straight, with torch's own cross-entropy."""
    cosine = F.normalize(features) @ F.normalize(weight).T
    angle = torch.acos(cosine)
    shifted = torch.where(angle + m < math.pi, torch.cos(angle + m), cosine - m * math.sin(m))
    onehot = F.one_hot(labels, len(weight)).bool()
    return F.cross_entropy(16.0 * torch.where(onehot, shifted, cosine), labels)


def test_all_classes_are_the_plain_softmax_with_its_gradients_and_torchs_sgd() -> None:
    ours = centres()
    weight = torch.nn.Parameter(ours.weight.clone())
    sgd = torch.optim.SGD([weight], lr=1e-3, momentum=0.9, weight_decay=0.01)
    for step in range(4):
        features, labels = batch(step)
        mine, theirs = (features.clone().requires_grad_() for _ in range(2))
        got = ours.loss(mine, labels, step)
        wanted = plain(weight, theirs, labels)
        sgd.zero_grad()
        wanted.backward()
        sgd.step()
        got["margin"].backward()
        ours.update(1e-3)
        assert got["margin"].item() == pytest.approx(wanted.item(), abs=1e-5)
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.weight, weight.detach(), atol=1e-5, rtol=1e-4)


def test_seeds_and_steps_draw_other_classes() -> None:
    features, labels = batch()
    drawn = []
    for seed, step in ((3, 5), (3, 6), (4, 5)):
        found = centres(rate=0.5, classes=40)
        found.seed = seed
        found.loss(features, labels, step)
        assert found._index is not None
        drawn.append(tuple(found._index.tolist()))
    assert len(set(drawn)) == 3


def test_accuracy_counts_faces_nearest_to_their_own_centre() -> None:
    found = centres()
    features = F.normalize(found.weight)[:4]
    terms = found.loss(features, torch.tensor([0, 1, 3, NO_LABEL]), 0)
    assert terms["accuracy"].item() == pytest.approx(2 / 3)


def test_faces_without_a_label_count_for_nothing() -> None:
    features, labels = batch()
    half = labels.clone()
    half[6:] = NO_LABEL
    got = centres().loss(features, half, 0)["margin"]
    assert got.item() == pytest.approx(centres().loss(features[:6], labels[:6], 0)["margin"].item(), abs=1e-6)
    none = centres().loss(features, torch.full_like(labels, NO_LABEL), 0)["margin"]
    assert none.item() == 0.0


def test_a_sample_holds_the_batch_s_classes_and_leaves_the_others_as_they_are() -> None:
    found = centres(rate=0.3, classes=40)
    before = found.weight.clone()
    features, labels = batch()
    terms = found.loss(features, labels, 5)
    terms["margin"].backward()
    found.update(0.5)
    moved = (found.weight != before).any(1).nonzero().flatten()
    assert len(moved) == math.ceil(0.3 * 40)
    assert set(labels.tolist()) <= set(moved.tolist())
    again = centres(rate=0.3, classes=40)
    again.loss(features, labels, 5)["margin"].backward()
    again.update(0.5)
    torch.testing.assert_close(again.weight, found.weight, rtol=0, atol=0)


def test_a_sampled_loss_is_the_softmax_over_the_sample() -> None:
    found = centres(rate=0.3, classes=40)
    features, labels = batch()
    terms = found.loss(features, labels, 5)
    assert found._index is not None
    place = {int(c): at for at, c in enumerate(found._index)}
    wanted = plain(found.weight[found._index], features, torch.tensor([place[int(c)] for c in labels]))
    assert terms["margin"].item() == pytest.approx(wanted.item(), abs=1e-5)


def test_more_classes_in_a_batch_than_the_sample_are_all_taken() -> None:
    found = centres(rate=0.01)
    features, labels = batch()
    found.loss(features, labels, 0)
    assert found._index is not None
    assert set(found._index.tolist()) == set(labels.tolist())


@pytest.mark.parametrize("rate", [1.0, 0.4])
def test_ranks_give_what_one_gives(tmp_path: Path, rate: float) -> None:
    """Loss, gradient, centres after two steps; and a state of three ranks goes on with one."""

    def work(rank: int) -> dict[str, Any]:
        found = centres(rate)
        losses, grads = [], []
        for step in range(2):
            features, labels = batch(step)
            first, last = distributed.share(FACES)
            mine = features[first:last].clone().requires_grad_()
            terms = found.loss(mine, labels[first:last], step)
            terms["margin"].backward()
            found.update(0.3)
            losses.append([terms["margin"].item(), terms["accuracy"].item()])
            assert mine.grad is not None
            grads.append(mine.grad.numpy() / distributed.world())  # what DDP's mean makes of it
        state = {name: value.numpy() for name, value in found.state().items()}
        return {"losses": losses, "grads": grads, "state": state}

    alone = work(0)
    together = run_ranks(3, tmp_path, work)
    for part in together:
        np.testing.assert_allclose(part["losses"], alone["losses"], atol=1e-5)
    for step in range(2):
        joined = np.concatenate([part["grads"][step] for part in together])
        np.testing.assert_allclose(joined, alone["grads"][step], atol=1e-5)
    for name, value in alone["state"].items():
        np.testing.assert_allclose(together[0]["state"][name], value, atol=1e-5)
    assert len(together[1]["state"]["centres"]) == 0
    resumed = centres(rate)
    resumed.restore({name: torch.from_numpy(value) for name, value in together[0]["state"].items()})
    np.testing.assert_allclose(resumed.weight.numpy(), alone["state"]["centres"], atol=1e-5)


def test_ranks_that_hold_no_class_take_part(tmp_path: Path) -> None:
    features, labels = batch()

    def work(rank: int) -> float:
        found = centres(classes=2)
        first, last = distributed.share(FACES)
        terms = found.loss(features[first:last].clone().requires_grad_(), labels[first:last] % 2, 0)
        terms["margin"].backward()
        return terms["margin"].item()

    alone = work(0)
    assert run_ranks(3, tmp_path, work) == pytest.approx([alone] * 3, abs=1e-5)
