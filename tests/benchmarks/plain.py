"""What training looks like where one writes it with PyTorch alone: the sides that facemae's training is held against.

Faces are files in a folder, a DataLoader's workers decode them with Pillow, networks are contiguous NCHW, optimizers
are torch's with its defaults; with `bf16` the forward passes run under autocast.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from timing import cores
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from facemae_cli.networks.architectures.mae import MaskedAutoencoder


class Folder(Dataset[tuple[Tensor, int]]):
    """The images under a folder of a folder a person: (3, H, W) in [0, 1], and the person's number."""

    def __init__(self, root: Path, flip: bool = True) -> None:
        self.files = sorted(root.glob("*/*.jpg"))
        people = sorted({file.parent.name for file in self.files})
        self.number = {name: at for at, name in enumerate(people)}
        self.flip = flip

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        file = self.files[index]
        image = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1).float() / 255
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(2)
        return image, self.number[file.parent.name]


def loader(root: Path, batch: int, device: str) -> DataLoader[Any]:
    """Shuffled full batches, decoded by one worker a core."""
    workers: dict[str, Any] = {"num_workers": cores(), "persistent_workers": True}
    return DataLoader(Folder(root), batch, shuffle=True, drop_last=True, pin_memory=device != "cpu", **workers)


def batches(source: DataLoader[Any], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """So many, over as many epochs as that takes."""
    given = 0
    while True:
        for images, people in source:
            if given == count:
                return
            given += 1
            yield images, people


def autoencode(network: MaskedAutoencoder, images: Tensor, index: Tensor) -> Tensor:
    """As the MAE authors' code goes: every patch embedded, the visible ones taken, mask tokens put between them.

    images: (N, 3, S, S) in [0, 1]; index: (N, V) visible patches; returns (N, 3, S, S). The weights are facemae's.
    """
    n, p = len(images), network.patch
    patches = (images * 2 - 1).reshape(n, 3, 14, p, 14, p).permute(0, 2, 4, 3, 5, 1).reshape(n, 196, -1)
    where = index.unsqueeze(-1)
    tokens = network.embed(patches) + network.positions
    tokens = torch.gather(tokens, 1, where.expand(-1, -1, tokens.shape[-1]))
    for block in network.encoder:
        tokens = block(tokens)
    tokens = network.decoder_embed(network.encoder_norm(tokens))
    full = network.mask_token.to(tokens.dtype).repeat(n, 196, 1)
    full = torch.scatter(full, 1, where.expand(-1, -1, full.shape[-1]), tokens) + network.decoder_positions
    for block in network.decoder:
        full = block(full)
    made = network.head(network.decoder_norm(full)).reshape(n, 14, 14, p, p, 3)
    return network.seam(made.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, 14 * p, 14 * p)) / 2 + 0.5


def matching_loss(
    network: MaskedAutoencoder, phi: nn.Module, images: Tensor, index: Tensor, pixel_weight: float, bf16: bool
) -> Tensor:
    """FaceMAE's Eq. 2 on L2-normalised features of `phi`, which takes images in [-1, 1], and the pixel error."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        made = autoencode(network, images, index).float()
        with torch.no_grad():
            wanted = phi(images * 2 - 1)
        got = phi(made * 2 - 1)
    wanted, got = F.normalize(wanted.float()), F.normalize(got.float())
    instance = ((wanted - got).square().sum(1) + 1e-12).sqrt().mean()
    relation = ((wanted @ wanted.T - got @ got.T).square().sum(1) + 1e-12).sqrt().mean()
    return instance + (256 / len(images)) ** 0.5 * relation + pixel_weight * F.mse_loss(made, images)


class ArcFace(nn.Module):
    """Softmax over all classes with an angular margin, as most repositories write it."""

    def __init__(self, dim: int, classes: int, scale: float, margin: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim) * 0.01)
        self.scale, self.margin = scale, margin

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        cosine = F.linear(F.normalize(features), F.normalize(self.weight)).clamp(-1 + 1e-6, 1 - 1e-6)
        turned = torch.cos(torch.acos(cosine) + self.margin)
        logits = torch.where(F.one_hot(labels, cosine.shape[1]).bool(), turned, cosine)
        return F.cross_entropy(self.scale * logits, labels)
