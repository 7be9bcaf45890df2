"""A teacher of recognisers: an embedder's features of the faces to train on, as verification would compare them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from facemae_cli.data.faces import FaceSource
from facemae_cli.inference.embed import MirrorSum
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.runtime.device import autocast
from facemae_cli.runtime.progress import Progress

HELD = 2**31  # bytes of features that are computed before the first step and held; above, each step computes its own


class Teacher:
    """Features of a source's faces: f(x) + f(mirrored x), whatever view of a face its pupil is shown.

    They are held, embedded once, unless that takes more than `held` bytes. `cache` is that of `inference.embed.embed`.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        source: FaceSource,
        *,
        cache: Path | None,
        progress: Progress,
        held: int = HELD,
    ) -> None:
        self._recognizer = recognizer
        self._live = MirrorSum(recognizer.embedder).eval()
        self._features: Tensor | None = None
        if len(source) * self.dim * 4 <= held:
            embedded = recognizer.embed(source, cache=cache, label="teacher", progress=progress)
            self._features = torch.from_numpy(embedded.features)

    @property
    def dim(self) -> int:
        """Length of a feature."""
        return self._recognizer.embedder.dim

    @torch.no_grad()
    def features(self, images: Tensor, samples: Tensor) -> Tensor:
        """images: (n, 3, S, S) uint8 as stored, faces `samples` of the source -> (n, dim) float32, of any length."""
        device = self._recognizer.device
        if self._features is not None:
            return self._features[samples].to(device)
        with autocast(device, self._recognizer.precision):
            return self._live(images.permute(0, 2, 3, 1).to(device)).float()
