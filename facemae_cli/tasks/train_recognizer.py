"""Train a face recogniser on any dataset: released, original, masked or synthetic faces (FaceMAE, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from facemae_cli.data.faces import FaceSource, NotRead, Refusal, once
from facemae_cli.data.images.codec import decode_visible
from facemae_cli.data.open import open_source
from facemae_cli.data.packs.people import names_in, shared_people
from facemae_cli.data.packs.source import open_packs
from facemae_cli.data.side_files import check_cache
from facemae_cli.errors import InputError, UsageError
from facemae_cli.inference.recognizer import Recognizer
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Model
from facemae_cli.networks.embedder import Embedder
from facemae_cli.networks.export import require_onnx, save_onnx, save_pth
from facemae_cli.networks.onnx_session import load_for_inference
from facemae_cli.networks.zoo import resolve
from facemae_cli.reports.text import counted
from facemae_cli.runtime import distributed
from facemae_cli.runtime.choices import texts
from facemae_cli.runtime.device import Precision, choose_device, choose_precision
from facemae_cli.runtime.memory import keep_freed_memory
from facemae_cli.runtime.paths import as_path, as_paths
from facemae_cli.runtime.progress import SILENT, Progress
from facemae_cli.training.checkpoint import FILE as CHECKPOINT
from facemae_cli.training.labels import LabelledFaces
from facemae_cli.training.loader import FaceLoader
from facemae_cli.training.lr_schedule import LrSchedule
from facemae_cli.training.memory import MemoryEstimate
from facemae_cli.training.recipes import RecognizerRecipe, read_recipe
from facemae_cli.training.recognizer_objective import Pack, RecognizerObjective, build_centres, trainable
from facemae_cli.training.run_folder import RunFolder, ancestor, child_card, same_to_resume, write_model
from facemae_cli.training.teacher import Teacher
from facemae_cli.training.trainer import HISTORY, Trainer

HELD_OUT = "held_out"
EXPORTS = {"onnx": "model.onnx", "pth": "model.pth"}
_OWN_FILES = (CARD_NAME, WEIGHTS_NAME, CHECKPOINT, HISTORY, "curves.png", *EXPORTS.values())


@dataclass(frozen=True)
class TrainRecognizerResult:
    """A recogniser's folder, what it was trained on, and its last figures; `unlabelled` faces taught no class."""

    out: Path
    epochs: int
    steps: int
    faces: int
    classes: int
    unlabelled: int
    held_out: int
    figures: dict[str, float]
    exported: list[str]
    refused: Sequence[Refusal] = field(default_factory=list)
    not_read: NotRead = field(default_factory=NotRead)

    def as_json(self) -> dict[str, Any]:
        """The result for machines; the refused inputs are listed by whoever shows it."""
        said = {name: value for name, value in vars(self).items() if name not in ("refused", "not_read")}
        return {"schema": 1, "command": "train-recognizer", **said, "out": str(self.out), **self.not_read.as_json()}

    def summary(self) -> list[tuple[str, str]]:
        """The result for a person."""
        people = f" of {self.classes} people" if self.classes else ""
        rows = [("trained on", f"{self.faces} faces{people}, {counted(self.epochs, 'epoch')}, {self.steps} steps")]
        if self.unlabelled:
            rows.append(("unlabelled", f"{self.unlabelled} faces, which taught no class"))
        if self.held_out:
            rows.append(("held out", f"{self.held_out} faces of other people"))
        rows += self.not_read.rows()
        rows += [(name.removeprefix("val_"), f"{value:.4f}") for name, value in self.figures.items()]
        return [*rows, ("model", str(self.out)), *(("exported", str(self.out / name)) for name in self.exported)]


def train_recognizer(
    *,
    data: str | Path = Path("released"),
    out: str | Path | None = None,
    model: str = "r50",
    pairs: str | Path | Sequence[str | Path] | None = None,
    teacher: str | None = None,
    recipe: str | Path | None = None,
    init: str | None = None,
    margin: str | None = None,
    m: float | None = None,
    scale: float | None = None,
    sample_rate: float | None = None,
    teacher_weight: float | None = None,
    schedule: str | None = None,
    epochs: int | None = None,
    warmup: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    validation: int | None = None,
    seed: int | None = None,
    export: str | Sequence[str] | None = None,
    cache: str | Path | None = None,
    precision: str = "auto",
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> TrainRecognizerResult:
    """Train the network that the card `model` describes to tell the people at `data` apart.

    Settings come from the card's recipe, then the YAML file `recipe`, then the other arguments; `RecognizerRecipe`
    explains them.

    data: the faces to learn, a folder of folders or a `.rec`; masked ones too.
    out: the model folder to write; None: `runs/<model>`.
    model: the card of what is built, a bundled name or a folder.
    pairs: verification packs, verified after each epoch; nothing is chosen by them. None: none.
    teacher: an embedder whose features are learnt too, and whose dimension is taken under "none"; None: none.
    recipe: a YAML file with fields of a recipe, which win over the card's; None: none.
    init: a model whose weights are started from; None: random weights.
    margin: "arcface", "cosface", or "none": the teacher's features alone. None: as in the card.
    m: the margin, an angle in radians (arcface) or a cosine (cosface). None: as in the card.
    scale: what cosines are multiplied by, above 0. None: as in the card.
    sample_rate: share of the classes compared with per step, in (0, 1]. None: as in the card.
    teacher_weight: weight of the cosine distance to the teacher's features. None: as in the card.
    schedule: of the learning rate after warm-up: "steps", "poly" or "cosine". None: as in the card.
    epochs: passes over the faces. None: as in the card.
    warmup: epochs in which the learning rate rises. None: as in the card.
    batch_size: faces per step, over all processes, 2 or more. None: as in the card.
    lr: learning rate for 512 faces per step. None: as in the card.
    validation: faces of held-out people verified after each epoch, about; 0: all are trained on. None: as in the card.
    seed: where all random choices come from. None: as in the card.
    export: forms to write the recogniser in too: "onnx" as `model.onnx`, "pth" as `model.pth`; None: neither.
    cache: a folder that keeps the teacher's features for another run; None: they are not kept.
    precision: what networks compute in: "fp32", "bf16" or "auto", bf16 if the hardware does.
    device: "cpu", "cuda", "cuda:N", or "auto": a GPU if there is one.
    resume: whether to continue from the checkpoint in `out`; False: start over.
    overwrite: whether a folder at `out` is replaced; False: it is refused.
    progress: what is told how far the work is; by default nobody.

    Raises UsageError and InputError for what cannot be trained, OutputError when the disk fails.
    """
    keep_freed_memory()
    data, out, recipe, cache = Path(data), as_path(out), as_path(recipe), as_path(cache)
    packs = as_paths(pairs) or []
    fields = read_recipe(recipe)
    card_model = resolve(model, "embedder")
    flags = {
        "margin": margin, "m": m, "scale": scale, "sample_rate": sample_rate, "teacher_weight": teacher_weight,
        "schedule": schedule, "epochs": epochs, "warmup": warmup, "batch_size": batch_size, "lr": lr,
        "validation": validation, "seed": seed,
    }  # fmt: skip
    chosen = RecognizerRecipe.of(card_model.card.recipe, fields, flags)
    if teacher is None and teacher_weight is not None:
        raise UsageError("--teacher-weight weighs the features of a teacher: give --teacher too, or leave it out")
    if chosen.margin == "none" and (m is not None or scale is not None):
        option = "--m" if scale is None else "--scale"
        raise UsageError(f"{option} is of a margin: give --margin arcface or cosface, or leave it out")
    wanted = texts(export)
    if unknown := set(wanted) - EXPORTS.keys():
        raise UsageError(f"--export {min(unknown)!r} is not known; say {' or '.join(EXPORTS)}")
    if "onnx" in wanted:
        require_onnx()
    run = _Run(card_model, chosen, out or card_model.run_folder, choose_device(device), precision, progress)
    place = RunFolder(run.folder, _OWN_FILES, resume=resume, overwrite=overwrite)
    if cache is not None:
        check_cache(cache, [data, run.folder, *packs])
    with distributed.process_group(run.device):
        place.check(data, *packs)
        return run.train(data, packs, [teacher, init], wanted, cache, place)


class _Run:
    """One call of `train_recognizer`: the choices made, turned into a trainer and then into a model folder."""

    def __init__(
        self,
        model: Model,
        recipe: RecognizerRecipe,
        folder: Path,
        device: torch.device,
        precision: str,
        progress: Progress,
    ) -> None:
        self.model, self.recipe, self.folder, self.device, self.progress = model, recipe, folder, device, progress
        self.precision: Precision = choose_precision(precision, device)

    def train(
        self,
        data: Path,
        pairs: Sequence[Path],
        parents: Sequence[str | None],
        export: Sequence[str],
        cache: Path | None,
        place: RunFolder,
    ) -> TrainRecognizerResult:
        teacher, parent = (ancestor(name, "embedder", self.progress) for name in parents)
        source = open_source(data)
        faces = LabelledFaces.of(source, self.recipe, with_teacher=teacher is not None)
        packs = self._packs(pairs, source)
        if faces.held:
            packs[HELD_OUT] = self._held_out(source, faces.held)
        size, seed = self.model.card.input.side, self.recipe.seed
        gpu = {"feeds_gpu": self.device.type == "cuda"}
        loader = FaceLoader(
            source, faces.members, size=size, batch_size=self.recipe.batch_size, seed=seed, decode=decode_visible, **gpu
        )
        taught = self._teacher(teacher, source, cache) if teacher else None
        objective = self._objective(taught, parent, faces, loader, packs)
        said = self.recipe.as_dict(), self.model.card, source, self.precision
        settings = same_to_resume(*said, {"teacher": teacher, "init": parent})
        if pairs:  # else the last figures would be told of other packs
            settings["pairs"] = {f"--pairs {name}": pack.digest for name, pack in packs.items() if name != HELD_OUT}
        trainer = self._trainer(objective, loader, settings)
        with place.claim() as trainer.folder:
            history = trainer.run(place.resume)
            found = distributed.gather_objects([*source.refused, *loader.refused, *objective.refused])
            refused = once(chain.from_iterable(found))
            faces = faces.without(source, refused)
            result = TrainRecognizerResult(
                out=self.folder,
                epochs=self.recipe.epochs,
                steps=trainer.step,
                faces=len(faces.members),
                classes=faces.classes,
                unlabelled=faces.unlabelled,
                held_out=len(faces.held),
                figures=_figures(history),
                exported=[EXPORTS[kind] for kind in EXPORTS if kind in export],
                refused=refused,
                not_read=NotRead.of(source),
            )
            if distributed.rank() == 0:
                self._write(objective.embedder, source, result, [teacher, parent], trainer.folder)
        return result

    def _objective(
        self,
        teacher: Teacher | None,
        parent: Model | None,
        faces: LabelledFaces,
        loader: FaceLoader,
        packs: dict[str, Pack],
    ) -> RecognizerObjective:
        """The network with what teaches it, once memory was found to do."""
        recipe = self.recipe
        embedder = trainable(self.model, teacher.dim if teacher else None, parent, recipe.seed, self.device)
        needs = MemoryEstimate.of(embedder, recipe.batch_size, faces.classes, self.precision)
        self.progress.notice(needs.require(self.device, recipe.sample_rate))
        centres = build_centres(recipe, faces.classes, embedder.dim, self.device)
        return RecognizerObjective(
            embedder, centres, faces.labels, teacher, recipe, loader.steps, packs, self.device, self.precision
        )

    def _teacher(self, model: Model, source: FaceSource, cache: Path | None) -> Teacher:
        embedder = load_for_inference(model, self.device, self.precision)
        recognizer = Recognizer(model, embedder, self.device, self.precision)
        return Teacher(recognizer, source, cache=cache, progress=self.progress)

    def _packs(self, paths: Sequence[Path], source: FaceSource) -> dict[str, Pack]:
        """The packs to verify on, with a warning where people of theirs are trained on."""
        packs = open_packs(paths) if paths else {}
        names = names_in(source) if packs else frozenset()
        for name, pack in packs.items():
            if count := shared_people(pack, names):
                self.progress.notice(
                    f"warning: {count} people of {name} are, by name, among those trained on, which inflates the figure"
                )
        return {name: Pack.of(pack) for name, pack in packs.items()}

    def _held_out(self, source: FaceSource, held: Sequence[int]) -> Pack:
        try:
            return Pack.held_out(source, held, self.recipe.seed)
        except InputError as error:
            raise InputError(
                f"--validation {self.recipe.validation} holds out {counted(len(held), 'face')}, a tenth at most: "
                f"{error} to --pairs, or leave --validation out"
            ) from error

    def _trainer(self, objective: RecognizerObjective, loader: FaceLoader, settings: dict[str, Any]) -> Trainer:
        recipe, rate = self.recipe, self.recipe.lr * self.recipe.batch_size / 512
        learnt = [parameter for parameter in objective.network.parameters() if parameter.requires_grad]
        sgd = partial(torch.optim.SGD, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
        return Trainer(
            objective=objective,
            loader=loader,
            schedule=LrSchedule(
                recipe.epochs, loader.steps, rate, recipe.warmup, recipe.clip,
                shape=recipe.schedule, milestones=recipe.milestones, power=recipe.power,
            ),
            optimizer=sgd(learnt, lr=rate),
            folder=self.folder,
            device=self.device,
            settings=settings,
            progress=self.progress,
        )  # fmt: skip

    def _write(
        self,
        embedder: Embedder,
        source: FaceSource,
        result: TrainRecognizerResult,
        parents: Sequence[Model | None],
        folder: Path,
    ) -> None:
        """Exports and weights, then the card: a folder is a model only when all are there and whole."""
        network = embedder.network.eval()
        for name in result.exported:
            if name == EXPORTS["onnx"]:
                save_onnx(network, embedder.spec.side, folder / name)
            else:
                save_pth(network, folder / name)
        card = child_card(
            self.model.card,
            parents,
            steps=result.steps,
            data={"kind": source.kind, "faces": result.faces, "people": result.classes},
            dim=embedder.dim,
            recipe=self.recipe.as_dict(),
            results=result.figures,
        )
        write_model(folder, network, card, self.recipe.weights_dtype)


def _figures(history: list[dict[str, Any]]) -> dict[str, float]:
    """What the last epoch says of learning, and of each pack."""
    last = history[-1] if history else {}
    return {name: last[name] for name in last if name.startswith("val_") or name in ("loss", "accuracy", "teacher")}
