"""Steps of `facemae fit` beside a plain PyTorch loop over the same autoencoder, embedder and loss.

    python tests/benchmarks/fit.py [--model facemae-tiny] [--phi r18] [--onnx] [--batch 64] [--steps 8]

A step is everything from files to new weights: decoding, masks, both passes, phi on both faces, clipping, AdamW. The
plain loop is that of `plain.py`; with --onnx, phi is a file, which facemae interprets itself and the plain loop gives
to onnx2torch where that is installed. Weights are random. Views before phi are left out on both sides. Both losses of
one batch are compared first. The floor is the step's multiplications over the rate of one large product.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import plain
import torch
from drawings import write_faces
from random_models import as_a_user_loads, write_folder, write_onnx
from timing import Bench, as_the_system_does, begin, work_floor
from torch import Tensor, nn

from facemae_cli.data.open import open_source
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.loading import build_mae, load_embedder
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import Precision, choose_precision
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.mae_objective import MaeObjective, sample_masks
from facemae_cli.training.optimizers import parameter_groups
from facemae_cli.training.recipes import FitRecipe
from facemae_cli.training.trainer import Trainer

RATE, DECAY, BETAS, CLIP = 1e-4, 0.05, (0.9, 0.95), 1.0


def plain_steps(
    network: MaskedAutoencoder, phi: nn.Module, optimizer: Any, loader: Any, steps: int, bf16: bool, device: str
) -> None:
    """The loop one would write."""
    as_the_system_does()
    for images, _ in plain.batches(loader, steps):
        images = images.to(device, non_blocking=True)
        index = torch.rand(len(images), 196, device=device).argsort(1)[:, :49]
        loss = plain.matching_loss(network, phi, images, index, 10.0, bf16)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        loss.item()


def our_steps(trainer: Trainer, steps: int) -> None:
    """As the trainer goes through an epoch, without what it does after one."""
    keep_freed_memory()
    given = islice(trainer.loader.batches(trainer.step), steps)
    trainer._count([trainer._step(trainer.objective.network, batch, 0) for batch in given])


def our_trainer(
    network: MaskedAutoencoder, phi: nn.Module, source: Path, folder: Path, batch: int, device: str, precision: str
) -> Trainer:
    faces, seen = open_source(source), torch.device(device)
    recipe = FitRecipe(loss="mixed", pixel_weight=10.0, flip=True, batch_size=batch, lr=RATE)
    loader = FaceLoader(faces, range(len(faces)), size=network.size, batch_size=batch, seed=0)
    optimizer = torch.optim.AdamW(parameter_groups(network.parameters(), DECAY), lr=RATE, betas=BETAS)
    objective = MaeObjective(network, phi, recipe, loader, seen, choose_precision(precision, seen))
    schedule = LrSchedule(10**6, loader.steps, RATE, 1, CLIP)
    return Trainer(objective, loader, schedule, optimizer, folder, seen, {})


def same_loss(trainer: Trainer, phi: nn.Module, batch: Batch) -> None:
    """Both sides make the same of one batch, with the same masks and nothing mirrored, in fp32."""
    ours: Any = copy.copy(trainer.objective)
    ours.recipe, ours.precision = replace(ours.recipe, flip=False), "fp32"
    index = torch.from_numpy(sample_masks(ours.recipe, 0, batch.samples)[0])
    images = batch.images.to(trainer.device).float() / 255
    with torch.no_grad():
        here: Tensor = ours.loss(ours.network, batch, 0, 0)["loss"]
        there = plain.matching_loss(ours.network, phi, images, index.to(trainer.device), 10.0, False)
    np.testing.assert_allclose(float(here), float(there), rtol=2e-3 if trainer.device.type == "cpu" else 2e-2)


def measure(bench: Bench, options: argparse.Namespace, root: Path, precision: Precision) -> None:
    """Both sides at a precision, from the same weights."""
    device, card = bench.device, resolve(options.phi, "embedder").card
    torch.manual_seed(0)
    network = build_mae(resolve(options.model, "mae").card)
    networks = [copy.deepcopy(network).to(device).train() for _ in range(2)]
    place = root / f"phi-{precision}"
    model = write_onnx(card, place.with_suffix(".onnx")) if options.onnx else write_folder(card, place)
    theirs, ours = as_a_user_loads(model, card).to(device), load_embedder(model, torch.device(device))
    trainer = our_trainer(networks[1], ours, root / "faces.rec", root, options.batch, device, precision)
    same_loss(trainer, theirs, trainer.loader.load(range(options.batch)))
    optimizer = torch.optim.AdamW(networks[0].parameters(), lr=RATE, weight_decay=DECAY, betas=BETAS)
    loader, bf16 = plain.loader(root / "faces", options.batch, device), precision == "bf16"
    batch = trainer.loader.load(range(options.batch))
    sides = {
        "plain PyTorch loop": partial(plain_steps, networks[0], theirs, optimizer, loader, options.steps, bf16, device),
        "facemae fit": partial(our_steps, trainer, options.steps),
    }
    floor = work_floor(lambda: trainer._step(networks[1], batch, 0), options.steps, device, precision)
    how = f"phi {options.phi}{' by .onnx' if options.onnx else ''}, {options.batch} faces per step, {precision}"
    bench.compare(f"fit {options.model}: {how}", sides, options.steps * options.batch, floor)


def main(argv: list[str] | None = None) -> None:
    """fp32, and bf16 where the device computes in it."""
    parser = argparse.ArgumentParser("fit.py", description=__doc__)
    parser.add_argument("--model", default="facemae-tiny")
    parser.add_argument("--phi", default="r18", help="an architecture of the zoo")
    parser.add_argument("--onnx", action="store_true", help="phi by an .onnx file")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="of a round")
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for out in ("faces", "faces.rec"):
            write_faces(root / out, options.batch * options.steps)
        for precision in dict.fromkeys(("fp32", choose_precision("auto", torch.device(bench.device)))):
            measure(bench, options, root, precision)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
