"""What a masked autoencoder is fitted towards: faces that an embedder places and relates like the real ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from facemae_cli.masking import patches
from facemae_cli.networks.architectures.mae import MaskedAutoencoder, patchify, select
from facemae_cli.reports import pictures
from facemae_cli.runtime import distributed
from facemae_cli.runtime.device import Precision, autocast
from facemae_cli.training import relation_losses
from facemae_cli.training.augmentation import augment
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.recipes import FitRecipe
from facemae_cli.training.run_folder import samples_beside
from facemae_cli.training.trainer import Objective

VALIDATION_EPOCH = 2**32 - 1  # no run gets there, so its masks are never fitted on
SHOWN = 8  # faces on samples.png


class MaeObjective(Objective):
    """The objective of `fit` (FaceMAE section 3.3): see `facemae_cli.training.trainer.Objective`.

    `phi` is a frozen embedder taking (N, 3, H, W) RGB in [0, 1], or None for a pixel loss without its figures.
    `validation`: the faces of people held out, which figures and samples are made of.
    """

    def __init__(
        self,
        network: MaskedAutoencoder,
        phi: nn.Module | None,
        recipe: FitRecipe,
        validation: FaceLoader,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.network: MaskedAutoencoder = network
        self.phi, self.recipe = phi, recipe
        self.validation, self.device, self.precision = validation, device, precision

    def loss(self, forward: Callable[..., Any], batch: Batch, epoch: int, step: int) -> dict[str, Tensor]:
        """Scalars `loss`, `pixel`, and with an embedder `im` and `rm`, over the batch of all ranks."""
        views = 2 if self.recipe.second_view else 1
        sampled = [sample_masks(self.recipe, epoch, batch.samples, view) for view in range(views)]
        real = self._floats(batch.images).repeat(views, 1, 1, 1)
        if self.recipe.flip:
            flips = torch.from_numpy(np.concatenate([flip for _, flip in sampled])).to(self.device)
            real = torch.where(flips[:, None, None, None], real.flip(3), real)
        index = torch.from_numpy(np.concatenate([index for index, _ in sampled])).to(self.device)
        made = self._reconstruct(forward, real, index)
        pixel = relation_losses.pixel_error(real, made)
        terms = {"pixel": pixel}
        total = self.recipe.effective_pixel_weight * pixel
        if self.recipe.uses_phi:
            wanted, got = self._features(*self._phi_views(real, made, batch.samples.repeat(views), step))
            terms["im"] = relation_losses.instance_matching(wanted, got)
            terms["rm"] = relation_losses.relation_matching(wanted, got)
            beta = self.recipe.beta * relation_losses.relation_scale(len(wanted), self.recipe.relation_scale)
            total = total + self.recipe.instance_weight * terms["im"] + beta * terms["rm"]
            if self.recipe.privacy_margin is not None:
                terms["privacy"] = relation_losses.privacy(wanted, got, self.recipe.privacy_margin)
                total = total + self.recipe.privacy_weight * terms["privacy"]
        return {"loss": total, **terms}

    def _floats(self, images: Tensor) -> Tensor:
        return images.to(self.device, non_blocking=True).float().div_(255)

    def _reconstruct(self, forward: Callable[..., Any], real: Tensor, index: Tensor) -> Tensor:
        with autocast(self.device, self.precision):
            made: Tensor = forward(select(patchify(real, self.network.patch), index), index)
        return made.float()

    def _phi_views(self, real: Tensor, made: Tensor, samples: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Both faces shifted, blurred and augmented alike, so that phi cannot be pleased by patterns of single pixels
        or by colours that no face has."""
        random = np.random.default_rng([self.recipe.seed, step])
        reach = round(self.recipe.view_shift * self.network.size / 112)
        if reach:
            dx, dy = (int(v) for v in random.integers(0, 2 * reach + 1, size=2))
            real, made = (_shift(image, reach, dx, dy) for image in (real, made))
        sigma = float(random.uniform(0, self.recipe.view_blur)) * self.network.size / 112
        if sigma > 0.2:  # narrower than this a sampled Gaussian is the identity to four digits
            real, made = (_blur(image, sigma) for image in (real, made))
        if strength := self.recipe.view_augment:
            real, made = (augment(image, samples, strength, self.recipe.seed, step) for image in (real, made))
        return real, made

    def _features(self, real: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
        """phi of both, (N, D) float32, over all ranks; only the second carries a gradient."""
        assert self.phi is not None
        with autocast(self.device, self.precision):
            with torch.no_grad():
                wanted = self.phi(real)
            got = self.phi(made)
        wanted, got = wanted.float(), got.float()
        if self.recipe.normalize:
            wanted, got = F.normalize(wanted, dim=1), F.normalize(got, dim=1)
        return distributed.gather_rows(wanted), distributed.gather_rows(got)

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """`psnr` (dB, mean over faces) and with an embedder `im`, `rm` (over all of them) and `cosine`."""
        psnr, wanted, got = [], [], []
        count = len(self.validation.members)
        for first in range(0, count, self.recipe.batch_size):
            real, _, made = self._held(range(first, min(first + self.recipe.batch_size, count)))
            error = (real - made.clamp(0, 1)).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
            psnr.append(-10 * error.log10())
            if self.phi is not None:
                with autocast(self.device, self.precision):
                    wanted.append(self.phi(real).float())
                    got.append(self.phi(made.clamp(0, 1)).float())
        figures = {"psnr": float(torch.cat(psnr).mean())}
        if self.phi is not None:
            f, g = torch.cat(wanted), torch.cat(got)
            figures["cosine"] = float(F.cosine_similarity(f, g).mean())
            if self.recipe.normalize:
                f, g = F.normalize(f, dim=1), F.normalize(g, dim=1)
            figures["im"] = float(relation_losses.instance_matching(f, g))
            figures["rm"] = float(relation_losses.relation_matching(f, g))
        return figures

    def _held(self, positions: Sequence[int]) -> tuple[Tensor, NDArray[np.int64], Tensor]:
        """Held-out faces, what is visible of them, and what the network makes of it."""
        batch = self.validation.load(positions)
        index, _ = sample_masks(self.recipe, VALIDATION_EPOCH, batch.samples)
        real = self._floats(batch.images)
        return real, index, self._reconstruct(self.network, real, torch.from_numpy(index).to(self.device))

    @torch.inference_mode()
    def picture(self, folder: Path, history: list[dict[str, Any]], steps: list[dict[str, float]]) -> None:
        """Write `curves.png`, and beside the folder, for its owner alone, original, masked and reconstructed faces."""
        real, index, made = self._held(range(min(SHOWN, len(self.validation.members))))
        rows = []
        for face, visible, face_made in zip(_bytes(real), index, _bytes(made), strict=True):
            mask = np.ones(patches.TOKENS, dtype=np.bool_)
            mask[visible] = False
            rows.append([face, patches.apply(face, mask), face_made])
        sheet = pictures.contact_sheet(rows, ["original", "masked", "reconstructed"])
        pictures.save_png(samples_beside(folder), sheet, 0o600)
        pictures.curves(history, folder / "curves.png", steps)


def sample_masks(
    recipe: FitRecipe, epoch: int, samples: Tensor, view: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which patches each sample shows, and whether it is mirrored: (n, V) token numbers ascending, (n,) bool.

    A function of (seed, epoch, sample, view) alone: the same on any rank, in any batch, at any restart.
    """
    index = np.empty((len(samples), patches.TOKENS - recipe.hidden), dtype=np.int64)
    flips = np.empty(len(samples), dtype=np.bool_)
    for row, sample in enumerate(samples.tolist()):
        random = np.random.Generator(np.random.Philox(key=[recipe.seed, sample], counter=[0, 0, epoch, view]))
        flips[row] = random.random() < 0.5
        hidden = patches.hidden(recipe.strategy, np.argsort(random.random(patches.TOKENS)), recipe.ratio)
        index[row] = np.flatnonzero(~hidden)
    return index, flips


def _shift(images: Tensor, reach: int, dx: int, dy: int) -> Tensor:
    """Crop at (dx, dy), each 0..2 * reach, from a copy whose edge is repeated outwards by `reach` pixels."""
    size = images.shape[-1]
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    return padded[:, :, dy : dy + size, dx : dx + size]


def _blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `sigma` pixels, edges repeated outwards."""
    reach = math.ceil(3 * sigma)
    at = torch.arange(-reach, reach + 1, dtype=torch.float32, device=images.device)
    kernel = torch.exp(-at.square() / (2 * sigma * sigma))
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.transpose(2, 3), groups=3)


def _bytes(images: Tensor) -> NDArray[np.uint8]:
    """(N, 3, S, S) in [0, 1] to (N, S, S, 3) uint8."""
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
