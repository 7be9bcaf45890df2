"""Steps of `facemae train-recognizer` beside a plain PyTorch loop with ArcFace over all classes.

    python tests/benchmarks/train.py [--models probe mbf r18] [--classes 10000] [--sample-rate 0.1] [--batch 64]

A step is everything from files to new weights. The plain loop is that of `plain.py`: a DataLoader, the same network in
plain memory order, one softmax over all classes, torch's SGD. facemae is measured with all classes too, and with the
share of them that --sample-rate draws a step (PartialFC). Labels are random, so that there may be as many classes as a
head is to have. Both losses of one batch are compared first. The floor is that of the step with all classes.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import plain
import torch
from drawings import write_faces
from timing import Bench, as_the_system_does, begin, work_floor
from torch import Tensor, nn

from facemae_cli.data.images.codec import decode_visible
from facemae_cli.data.open import open_source
from facemae_cli.networks.card import Card
from facemae_cli.networks.loading import build_embedder
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime.device import Precision, choose_precision
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.training.loader import Batch, FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.recipes import RecognizerRecipe
from facemae_cli.training.recognizer_objective import RecognizerObjective, build_centres, trainable
from facemae_cli.training.trainer import Trainer

RATE, MOMENTUM, DECAY, CLIP = 0.01, 0.9, 5e-4, 5.0


def plain_loss(network: nn.Module, head: nn.Module, card: Card, images: Tensor, labels: Tensor, bf16: bool) -> Tensor:
    """images: (N, 3, S, S) in [0, 1]."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (card.input.mean, card.input.std))
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        features = network((images - mean) / std)
    loss: Tensor = head(features.float(), labels)
    return loss


def plain_steps(
    network: nn.Module, head: nn.Module, card: Card, optimizer: Any, loader: Any, steps: int, bf16: bool, device: str
) -> None:
    """The loop one would write; whose photo it is does not matter here, so labels are drawn as facemae's are."""
    as_the_system_does()
    network.train()
    classes = head.weight.shape[0]
    for images, people in plain.batches(loader, steps):
        labels = (people * 7919 % classes).to(device, non_blocking=True)
        loss = plain_loss(network, head, card, images.to(device, non_blocking=True), labels, bf16)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        loss.item()


def our_trainer(card: Any, source: Path, options: argparse.Namespace, rate: float, precision: Precision) -> Trainer:
    """What `train-recognizer` makes of a card, but for labels that follow from the photo's number."""
    faces, device = open_source(source), torch.device(options.device)
    recipe = RecognizerRecipe(sample_rate=rate, batch_size=options.batch, momentum=MOMENTUM, weight_decay=DECAY)
    loader = FaceLoader(
        faces, range(len(faces)), size=card.card.input.size, batch_size=options.batch, seed=0, decode=decode_visible
    )
    embedder = trainable(card, None, None, 0, device)
    centres = build_centres(recipe, options.classes, embedder.dim, device)
    labels = np.arange(len(faces), dtype=np.int64) * 7919 % options.classes
    objective = RecognizerObjective(embedder, centres, labels, None, recipe, loader.steps, {}, device, precision)
    learnt = [parameter for parameter in objective.network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(learnt, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = LrSchedule(10**6, loader.steps, RATE, 1, CLIP)
    objective.network.train()
    return Trainer(objective, loader, schedule, optimizer, source.parent, device, {})


def our_steps(trainer: Trainer, steps: int) -> None:
    """As the trainer goes through an epoch, without what it does after one."""
    keep_freed_memory()
    given = islice(trainer.loader.batches(trainer.step), steps)
    trainer._count([trainer._step(trainer.objective.network, batch, 0) for batch in given])


def same_loss(trainer: Trainer, network: nn.Module, head: Any, card: Card, batch: Batch) -> None:
    """Both sides make the same of one batch, with the same weights and nothing mirrored, in fp32."""
    ours: Any = copy.deepcopy(trainer.objective)
    ours.recipe, ours.precision = RecognizerRecipe(flip=False), "fp32"
    theirs, head = copy.deepcopy(network).train(), copy.deepcopy(head)
    theirs.load_state_dict(ours.network.state_dict())
    head.weight.data.copy_(ours.centres.weight)
    labels = ours.labels[batch.samples].to(trainer.device)
    images = batch.images.to(trainer.device).float() / 255
    with torch.no_grad():
        here = ours.loss(ours.network, batch, 0, 0)["loss"]
        there = plain_loss(theirs, head, card, images, labels, False)
    np.testing.assert_allclose(float(here), float(there), rtol=2e-3 if trainer.device.type == "cpu" else 2e-2)


def measure(bench: Bench, options: argparse.Namespace, root: Path, name: str, precision: Precision) -> None:
    """The plain loop, facemae with all classes, and with some of them."""
    card, device = resolve(name, "embedder"), bench.device
    network = build_embedder(card.card).to(device).train()
    trainers = [our_trainer(card, root / "faces.rec", options, rate, precision) for rate in (1.0, options.sample_rate)]
    batch = trainers[0].loader.load(range(options.batch))
    dim: int = trainers[0].objective.embedder.dim  # type: ignore[attr-defined]
    head = plain.ArcFace(dim, options.classes, 64.0, 0.5).to(device)
    same_loss(trainers[0], network, head, card.card, batch)
    learnt = [*filter(lambda weight: weight.requires_grad, network.parameters()), *head.parameters()]
    optimizer = torch.optim.SGD(learnt, lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    loader, bf16 = plain.loader(root / "faces", options.batch, device), precision == "bf16"
    steps = options.steps
    sides = {
        "plain PyTorch loop": partial(plain_steps, network, head, card.card, optimizer, loader, steps, bf16, device),
        "facemae": partial(our_steps, trainers[0], steps),
        f"facemae, --sample-rate {options.sample_rate}": partial(our_steps, trainers[1], steps),
    }
    step = partial(trainers[0]._step, trainers[0].objective.network, batch, 0)
    floor = work_floor(step, steps, device, precision)
    how = f"{options.classes:,} classes, {options.batch} faces per step, {precision}"
    bench.compare(f"train-recognizer {name}: {how}", sides, steps * options.batch, floor)


def main(argv: list[str] | None = None) -> None:
    """Each network in fp32, and in bf16 where the device computes in it."""
    parser = argparse.ArgumentParser("train.py", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["probe", "mbf", "r18"], help="architectures of the zoo")
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--sample-rate", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8, help="of a round")
    options, bench = begin(parser, argv)
    if bench is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for out in ("faces", "faces.rec"):
            write_faces(root / out, options.batch * options.steps)
        for name in options.models:
            for precision in dict.fromkeys(("fp32", choose_precision("auto", torch.device(bench.device)))):
                measure(bench, options, root, name, precision)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
