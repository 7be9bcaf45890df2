"""Fit a masked autoencoder on other people's faces (FaceMAE, arXiv 2205.11090, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facemae_cli.data.faces import FaceSource, NotRead, Refusal, once
from facemae_cli.data.open import open_source
from facemae_cli.errors import UsageError
from facemae_cli.networks.architectures.mae import MaskedAutoencoder
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Model
from facemae_cli.networks.embedder import Ensemble
from facemae_cli.networks.loading import build_mae, load_embedder, load_mae
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports.text import counted
from facemae_cli.runtime import distributed
from facemae_cli.runtime.choices import texts
from facemae_cli.runtime.device import Precision, choose_device, choose_precision
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.runtime.paths import as_path
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.training.checkpoint import FILE as CHECKPOINT
from facemae_cli.training.loader import FaceLoader, hold_out, readable
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.mae_objective import MaeObjective
from facemae_cli.training.optimizers import fit_optimizer
from facemae_cli.training.recipes import FitRecipe, read_recipe
from facemae_cli.training.run_folder import RunFolder, ancestor, child_card, same_to_resume, write_model
from facemae_cli.training.trainer import HISTORY, STABLE, Trainer
from facemae_cli.training.weight_average import WeightAverage, take_mean

_OWN_FILES = (CARD_NAME, WEIGHTS_NAME, CHECKPOINT, STABLE, HISTORY, "samples.png", "curves.png")


@dataclass(frozen=True)
class FitResult:
    """A fitted model's folder, what it was fitted on, and its last figures on held-out identities."""

    out: Path
    epochs: int
    steps: int
    faces: int
    held_out: int
    figures: dict[str, float]
    refused: Sequence[Refusal]
    samples: Path
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "command": "fit",
            "out": str(self.out),
            "epochs": self.epochs,
            "steps": self.steps,
            "faces": self.faces,
            "held_out": self.held_out,
            "figures": self.figures,
            "samples": str(self.samples),
            **self.not_read.as_json(),
        }

    def summary(self) -> list[tuple[str, str]]:
        rows = [
            ("fitted on", f"{self.faces} faces, {counted(self.epochs, 'epoch')}, {self.steps} steps"),
            ("held out", f"{self.held_out} faces of other people"),
        ]
        rows += self.not_read.rows()
        rows += [(name.removeprefix("val_"), f"{value:.4f}") for name, value in self.figures.items()]
        shown = f"{self.samples} shows faces of --data: beside the model, for its owner alone, not to be published"
        return [*rows, ("model", str(self.out)), ("samples", shown)]


def fit(
    *,
    data: str | Path = Path("public"),
    out: str | Path | None = None,
    model: str = "facemae-tiny",
    embedder: str | Sequence[str] | None = None,
    recipe: str | Path | None = None,
    init: str | Sequence[str] | None = None,
    loss: str | None = None,
    beta: float | None = None,
    pixel_weight: float | None = None,
    privacy_margin: float | None = None,
    view_shift: int | None = None,
    view_blur: float | None = None,
    ratio: float | None = None,
    epochs: int | None = None,
    warmup: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> FitResult:
    """Fit the autoencoder that the card `model` describes to the faces at `data`.

    Settings come from the card's recipe, then the YAML file `recipe`, then the other arguments; `FitRecipe` explains
    them. Samples, which show faces, go beside the folder.

    data: faces of other people than those to release, a folder or a `.rec`.
    out: the model folder to write, with history, curves and a checkpoint; None: `runs/<model>`.
    model: the card of what is built, a bundled name or a folder.
    embedder: the frozen embedders to match: names, paths or hub ids; of several the mean cosine counts; None: none.
    recipe: a YAML file with fields of a recipe, which win over the card's; None: none.
    init: models whose weights, of several their mean, are started from; None: random weights.
    loss: "irm", "mse" or "mixed". None: as in the card.
    beta: weight of relation matching, 0 or more. None: as in the card.
    pixel_weight: weight of the mean squared pixel error under "mixed", 0 or more. None: as in the card.
    privacy_margin: a cosine in [-1, 1), below which each face's to its own original is pushed. None: as in the card.
    view_shift: pixels of 112 by which what the embedder sees is shifted at most. None: as in the card.
    view_blur: largest sigma, in pixels of 112, by which what the embedder sees is blurred. None: as in the card.
    ratio: share of the patches hidden, in (0, 1). None: as in the card.
    epochs: passes over the faces; 0: none, so that what `init` gives is measured and written. None: as in the card.
    warmup: epochs in which the learning rate rises. None: as in the card.
    batch_size: faces per step, over all processes. None: as in the card.
    lr: learning rate for 256 faces per step. None: as in the card.
    seed: where all random choices come from. None: as in the card.
    precision: what networks compute in: "fp32", "bf16" or "auto", bf16 if the hardware does.
    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one.
    resume: continue from the checkpoint in `out`, under `schedule: wsd` with more epochs too; False: start over.
    overwrite: whether a folder at `out` is replaced, once all is done; False: it is refused.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError and InputError for what cannot be fitted, OutputError when the disk fails.
    """
    keep_freed_memory()
    data, out, recipe = Path(data), as_path(out), as_path(recipe)
    fields = read_recipe(recipe)
    card_model = resolve(model, "mae")
    flags = {
        "loss": loss, "beta": beta, "pixel_weight": pixel_weight,
        "privacy_margin": privacy_margin, "view_shift": view_shift, "view_blur": view_blur,
        "ratio": ratio, "epochs": epochs, "warmup": warmup, "batch_size": batch_size, "lr": lr, "seed": seed,
    }  # fmt: skip
    chosen = FitRecipe.of(card_model.card.recipe, fields, flags)
    unused = {"beta": beta, "pixel_weight": pixel_weight, "view_shift": view_shift, "view_blur": view_blur}
    if chosen.loss == "mse" and (given := [name for name, value in unused.items() if value is not None]):
        option = given[0].replace("_", "-")
        raise UsageError(f"--{option} is about features, which --loss mse does not compare: leave one of both out")
    if chosen.loss == "irm" and pixel_weight is not None:
        raise UsageError("--pixel-weight is of the pixel error, which --loss irm leaves out: give --loss mixed instead")
    run = _Run(card_model, chosen, out or card_model.run_folder, choose_device(device), precision, progress)
    place = RunFolder(run.folder, _OWN_FILES, resume=resume, overwrite=overwrite, shows_faces=True)
    with distributed.process_group(run.device):
        place.check(data)
        return run.fit(data, texts(embedder), texts(init), place)


class _Run:
    """One call of `fit`: the choices made, turned into a trainer and then into a model folder."""

    def __init__(
        self, model: Model, recipe: FitRecipe, folder: Path, device: torch.device, precision: str, progress: Progress
    ) -> None:
        self.model, self.recipe, self.folder, self.device, self.progress = model, recipe, folder, device, progress
        self.precision: Precision = choose_precision(precision, device)

    def fit(self, data: Path, embedders: Sequence[str], init: Sequence[str], place: RunFolder) -> FitResult:
        teachers, parents = self._teachers(embedders), self._parents(init)
        source = open_source(data)
        train, held = hold_out(source, self.recipe.validation, self.recipe.seed)
        size, gpu = self.model.card.input.side, self.device.type == "cuda"
        loaders = [
            FaceLoader(source, members, size=size, batch_size=batch, seed=self.recipe.seed, feeds_gpu=gpu)
            for members, batch in ((train, self.recipe.batch_size), (held, distributed.world()))
        ]
        loaded = [load_embedder(teacher, self.device) for teacher in teachers.values()]
        phi = Ensemble(loaded) if len(loaded) > 1 else next(iter(loaded), None)
        network = self._network(list(parents.values()))
        said = self.recipe.fixed(), self.model.card, source, self.precision
        trainer = self._trainer(network, phi, loaders, same_to_resume(*said, {**teachers, "init": None, **parents}))
        with place.claim() as trainer.folder:
            history = trainer.run(place.resume)
            found = distributed.gather_objects([*source.refused, *loaders[0].refused, *loaders[1].refused])
            refused = once(chain.from_iterable(found))
            learnt, measured = (len(readable(source, members, refused)) for members in (train, held))
            result = FitResult(
                self.folder, self.recipe.epochs, trainer.step, learnt if trainer.step else 0, measured,
                _figures(history), refused, place.samples, NotRead.of(source),
            )  # fmt: skip
            if distributed.rank() == 0:
                taught_by = teachers.values() if self.recipe.uses_phi else ()  # else it has only measured
                with trainer.averaged():
                    self._write(network, source, result, [*taught_by, *parents.values()], trainer.folder)
        return result

    def _teachers(self, embedders: Sequence[str]) -> dict[str, Model]:
        """The models of phi, by what `--resume` compares them under."""
        if not embedders and self.recipe.uses_phi:
            raise UsageError(
                f"--loss {self.recipe.loss} compares faces by an embedder: give --embedder NAME, .onnx, .pth "
                "or hf-hub:ID, or --loss mse"
            )
        models = filter(None, (ancestor(text, "embedder", self.progress) for text in embedders))
        return {f"embedder {number}" if number > 1 else "embedder": model for number, model in enumerate(models, 1)}

    def _parents(self, init: Sequence[str]) -> dict[str, Model]:
        """The models that are started from, as `_teachers` has its own."""
        if not init and not self.recipe.epochs:
            raise UsageError("--epochs 0 learns nothing, and there is no --init MODEL to write")
        models = [found for text in init if (found := ancestor(text, "mae", self.progress))]
        for model in models:
            if dict(model.card.architecture or {}) != dict(self.model.card.architecture or {}):
                raise UsageError(f"--init {model.name} has another architecture than --model {self.model.name}")
        return {f"init {number}" if number > 1 else "init": model for number, model in enumerate(models, 1)}

    def _network(self, parents: Sequence[Model]) -> MaskedAutoencoder:
        torch.manual_seed(self.recipe.seed)
        if not parents:
            return build_mae(self.model.card).to(self.device)
        first, *others = (load_mae(parent, self.device) for parent in parents)
        take_mean(first, others)
        return first

    def _trainer(
        self, network: MaskedAutoencoder, phi: nn.Module | None, loaders: list[FaceLoader], settings: dict[str, Any]
    ) -> Trainer:
        recipe = self.recipe
        rate = recipe.lr * recipe.batch_size / 256
        return Trainer(
            objective=MaeObjective(network, phi, recipe, loaders[1], self.device, self.precision),
            loader=loaders[0],
            schedule=LrSchedule(
                recipe.epochs, loaders[0].steps, rate, recipe.warmup, recipe.clip,
                shape=recipe.schedule, cooldown_epochs=recipe.cooldown,
            ),
            optimizer=fit_optimizer(network, network.hidden_matrices(), recipe),
            folder=self.folder,
            device=self.device,
            settings=settings,
            progress=self.progress,
            label="fitting",
            average=WeightAverage(network, recipe.ema) if recipe.ema else None,
        )  # fmt: skip

    def _write(
        self,
        network: nn.Module,
        source: FaceSource,
        result: FitResult,
        ancestors: Sequence[Model],
        folder: Path,
    ) -> None:
        card = child_card(
            self.model.card,
            ancestors,
            steps=result.steps,
            data={"kind": source.kind, "faces": result.faces},
            recipe=self.recipe.as_dict(),
            results={"held_out_faces": result.held_out, **result.figures},
        )
        write_model(folder, network, card, self.recipe.weights_dtype)


def _figures(history: list[dict[str, Any]]) -> dict[str, float]:
    return {name: value for name, value in history[-1].items() if name.startswith("val_")} if history else {}
