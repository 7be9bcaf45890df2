"""The fitting objective: masks that depend on nothing else, phi's views, and the loss of a whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.sources import memory_source
from torch import Tensor, nn

from facemae_cli.networks.architectures.mae import MaskedAutoencoder, patchify, select
from facemae_cli.training import relation_losses
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.mae_objective import MaeObjective, _blur, _shift, sample_masks
from facemae_cli.training.recipes import FitRecipe

SMALL = {"width": 16, "depth": 1, "heads": 2, "decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2}


class Phi(nn.Module):
    """Sixteen features: mean colours of a 4 x 4 grid, mixed."""

    def forward(self, images: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(images, 4).flatten(1)
        return means @ torch.linspace(-1, 1, 48 * 16).reshape(48, 16)


def objective(phi: nn.Module | None = None, **fields: object) -> MaeObjective:
    torch.manual_seed(0)
    recipe = FitRecipe.of({"loss": "mixed", "batch_size": 4, **fields})
    held = FaceLoader(memory_source(6, 1), range(6), size=112, batch_size=1, seed=0)
    return MaeObjective(MaskedAutoencoder(**SMALL), phi, recipe, held, torch.device("cpu"), "fp32")  # type: ignore[arg-type]


def batch(first: int = 0, count: int = 4) -> Batch:
    loader = FaceLoader(memory_source(8, 1), range(8), size=112, batch_size=1, seed=0)
    return loader.load(range(first, first + count))


def test_masks_follow_from_seed_epoch_sample_and_view_alone() -> None:
    recipe = FitRecipe()
    index, flips = sample_masks(recipe, 3, torch.tensor([5, 6, 7]))
    assert index.shape == (3, 49)
    assert all((np.diff(row) > 0).all() and row[0] >= 0 and row[-1] < 196 for row in index)
    alone, flip = sample_masks(recipe, 3, torch.tensor([6]))
    assert np.array_equal(alone[0], index[1])
    assert flip[0] == flips[1]
    for other in (
        sample_masks(recipe, 4, torch.tensor([6])),
        sample_masks(recipe, 3, torch.tensor([6]), view=1),
        sample_masks(FitRecipe(seed=1), 3, torch.tensor([6])),
    ):
        assert not np.array_equal(other[0], alone)


def test_every_patch_is_shown_about_a_quarter_of_the_time() -> None:
    index, flips = sample_masks(FitRecipe(), 0, torch.arange(2000))
    shown = np.bincount(index.ravel(), minlength=196) / 2000
    assert abs(shown - 0.25).max() < 0.05  # five standard errors of sqrt(0.25 * 0.75 / 2000)
    assert abs(flips.mean() - 0.5) < 0.06


def test_strategy_and_ratio_are_those_of_the_recipe() -> None:
    index, _ = sample_masks(FitRecipe(strategy="eyes", ratio=0.5), 0, torch.arange(20))
    assert index.shape == (20, 98)
    assert not np.isin(index, [row * 14 + column for row in range(5, 8) for column in range(3, 11)]).any()


def test_loss_is_the_weighted_sum_over_the_batch() -> None:
    phi = Phi()
    fit = objective(phi, flip=False, beta=0.5, pixel_weight=3.0, instance_weight=2.0)
    faces = batch()
    terms = fit.loss(fit.network, faces, 0, 0)
    index = torch.from_numpy(sample_masks(fit.recipe, 0, faces.samples)[0])
    real = faces.images.float() / 255
    made = fit.network(select(patchify(real, 8), index), index)
    f, g = (F.normalize(phi(x), dim=1) for x in (real, made))
    im, rm, pixel = (
        relation_losses.instance_matching(f, g),
        relation_losses.relation_matching(f, g),
        relation_losses.pixel_error(real, made),
    )
    assert terms["im"].item() == pytest.approx(im.item(), rel=1e-5)
    assert terms["rm"].item() == pytest.approx(rm.item(), rel=1e-5)
    # beta stands for 256 rows, so four rows count sqrt(256 / 4) = 8 times
    assert terms["loss"].item() == pytest.approx((2 * im + 0.5 * 8 * rm + 3 * pixel).item(), rel=1e-5)
    terms["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fit.network.parameters())


def test_a_privacy_margin_adds_its_push() -> None:
    plain, pushed = objective(Phi()), objective(Phi(), privacy_margin=-0.5, privacy_weight=3.0)
    without, terms = (fit.loss(plain.network, batch(), 0, 0) for fit in (plain, pushed))
    assert "privacy" not in without
    assert terms["privacy"] > 0
    assert terms["loss"].item() == pytest.approx((without["loss"] + 3 * terms["privacy"]).item(), rel=1e-5)


def test_mse_needs_no_embedder_and_irm_counts_no_pixel() -> None:
    mse = objective(None, loss="mse").loss(objective().network, batch(), 0, 0)
    assert set(mse) == {"loss", "pixel"}
    assert mse["loss"].item() == mse["pixel"].item()
    fit = objective(Phi(), loss="irm", relation_scale="paper")
    irm = fit.loss(fit.network, batch(), 0, 0)
    assert irm["loss"].item() == pytest.approx((irm["im"] + irm["rm"]).item(), rel=1e-6)


def test_a_second_view_doubles_the_rows_under_other_masks() -> None:
    rows: list[int] = []

    class Counting(Phi):
        def forward(self, images: Tensor) -> Tensor:
            rows.append(len(images))
            return super().forward(images)

    fit = objective(Counting(), second_view=True)
    fit.loss(fit.network, batch(), 0, 0)
    assert rows == [8, 8]


def test_phi_sees_both_faces_shifted_alike() -> None:
    images = torch.arange(2 * 3 * 112 * 112.0).reshape(2, 3, 112, 112)
    assert torch.equal(_shift(images, 4, 4, 4), images)
    moved = _shift(images, 4, 7, 2)  # three to the left, two down
    assert torch.equal(moved[:, :, 2:, :-3], images[:, :, :-2, 3:])
    fit = objective(Phi(), view_shift=4, view_blur=1.5)
    real, made = fit._phi_views(images, images.clone(), torch.arange(2), step=3)
    assert torch.equal(real, made)
    assert not torch.equal(real, images)


def test_phi_sees_each_face_augmented_in_its_own_way_and_otherwise_at_each_step() -> None:
    images = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0)).repeat(2, 1, 1, 1)
    fit = objective(Phi(), view_augment=0.5)
    real, made = fit._phi_views(images, images.clone(), torch.tensor([5, 9]), step=3)
    assert torch.equal(real, made)
    assert not torch.equal(real[0], real[1])
    assert not torch.equal(real, fit._phi_views(images, images, torch.tensor([5, 9]), step=4)[0])
    images.requires_grad_()
    fit._phi_views(images, images, torch.tensor([5, 9]), step=3)[1].sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_blur_keeps_flat_colour_and_total_light_and_spreads_by_sigma() -> None:
    assert torch.allclose(_blur(torch.full((1, 3, 112, 112), 0.3), 1.5), torch.tensor(0.3), atol=1e-6)
    point = torch.zeros(1, 3, 112, 112)
    point[..., 56, 56] = 1
    spread = _blur(point, 2.0)[0, 0]
    at = torch.arange(112.0) - 56
    assert float(spread.sum()) == pytest.approx(1, abs=1e-5)
    assert float((spread.sum(0) * at.square()).sum()) == pytest.approx(4.0, rel=0.05)


def test_validation_is_the_same_each_time_and_by_hand() -> None:
    fit = objective(Phi())
    figures = fit.validate()
    assert figures == fit.validate()
    assert set(figures) == {"psnr", "cosine", "im", "rm"}
    real, _, made = fit._held(range(6))
    error = (real - made.clamp(0, 1)).square().mean(dim=(1, 2, 3))
    assert figures["psnr"] == pytest.approx((-10 * error.log10()).mean().item(), abs=1e-4)
    assert set(objective(None, loss="mse").validate()) == {"psnr"}


def test_pictures_are_written(tmp_path: Path) -> None:
    objective().picture(
        tmp_path, [{"epoch": 1, "step": 1, "lr": 0.1, "loss": 1.0, "val_psnr": 10.0}], [{"step": 1, "loss": 1.0}]
    )
    samples = tmp_path.with_name(tmp_path.name + ".samples.png")
    assert samples.stat().st_size > 1000
    assert samples.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "curves.png").stat().st_size > 1000
