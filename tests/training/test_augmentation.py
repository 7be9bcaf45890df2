"""Views that a recogniser is shown: the same for a face and epoch anywhere, and no further from it than they say."""

from __future__ import annotations

import pytest
import torch

from facemae_cli.training.augmentation import ERASED, SHIFT, augment


def faces(count: int, size: int = 56) -> torch.Tensor:
    """Smooth images between 0.25 and 0.75."""
    at = torch.linspace(0, 6, size)
    waves = torch.stack([torch.sin(at[None] + index) * torch.cos(at[:, None]) for index in range(count)])
    return 0.5 + 0.25 * waves[:, None].repeat(1, 3, 1, 1)


def test_a_view_follows_from_seed_epoch_and_sample_alone() -> None:
    images, samples = faces(6), torch.arange(6)
    whole = augment(images, samples, 1.0, 3, 5)
    assert torch.equal(augment(images[2:4], samples[2:4], 1.0, 3, 5), whole[2:4])
    assert not torch.allclose(augment(images, samples, 1.0, 3, 6), whole)
    assert not torch.allclose(augment(images, samples, 1.0, 4, 5), whole)


def test_strength_0_changes_nothing() -> None:
    images = faces(3)
    assert torch.allclose(augment(images, torch.arange(3), 0.0, 0, 0), images, atol=1e-5)


def test_views_stay_in_range_and_near_in_proportion_to_the_strength() -> None:
    images, samples = faces(64), torch.arange(64)
    weak, strong = (augment(images, samples, strength, 0, 1) for strength in (0.1, 1.0))
    assert float(strong.min()) >= 0
    assert float(strong.max()) <= 1
    assert 0 < float((weak - images).abs().mean()) < 0.3 * float((strong - images).abs().mean())


def test_faces_move_no_further_than_the_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facemae_cli.training.augmentation.TURN", 0.0)
    monkeypatch.setattr("facemae_cli.training.augmentation.ZOOM", 0.0)
    monkeypatch.setattr("facemae_cli.training.augmentation.ERASED", 0.0)
    size = 100
    images = torch.zeros(200, 3, size, size)
    images[:, :, 48:52, 48:52] = 1
    views = augment(images, torch.arange(200), 1.0, 0, 0).mean(1)
    weight = views / views.sum((1, 2), keepdim=True)
    at = torch.arange(size) + 0.5
    x, y = (weight * at[None, None]).sum((1, 2)) - 50, (weight * at[None, :, None]).sum((1, 2)) - 50
    for moved in (x, y):
        assert float(moved.abs().max()) <= SHIFT * size + 0.1
        assert float(moved.abs().max()) > 0.9 * SHIFT * size
        assert abs(float(moved.mean())) < 1.5


def test_about_so_many_faces_lose_a_square() -> None:
    images, samples = torch.ones(2000, 3, 16, 16), torch.arange(2000)
    hidden = (augment(images, samples, 1.0, 0, 0) == 0.5).flatten(1).any(1)
    assert abs(float(hidden.float().mean()) - ERASED) < 0.1
