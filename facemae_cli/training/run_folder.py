"""A training run: its folder, claimed by one process and never overwritten by surprise, and what it comes from."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from facemae_cli.data.faces import FaceSource, fingerprint
from facemae_cli.data.files import (
    disk_errors,
    is_aside,
    is_inside,
    make_folder,
    remove_tree,
    require_writable,
    sync_folder,
    whole_of,
    write_whole,
)
from facemae_cli.data.output.staging import SUFFIX, Staging, check_staging
from facemae_cli.data.side_files import SideFile
from facemae_cli.errors import UsageError
from facemae_cli.networks.card import CARD_NAME, WEIGHTS_NAME, Card, Model, card_text, lineage_of
from facemae_cli.networks.zoo import resolve
from facemae_cli.runtime import distributed
from facemae_cli.runtime.mounts import mount_within
from facemae_cli.runtime.progress import Progress

LOCK = ".lock"


def write_model(folder: Path, network: nn.Module, card: Card, dtype: str) -> None:
    """Write `network` as a model folder, its numbers as `dtype` (float32 or float16). Raises OutputError.

    Weights first, then the card: a folder is a model only when both are there and whole.
    """
    number = torch.float16 if dtype == "float16" else torch.float32
    state = {
        name: (value.to(number) if value.is_floating_point() else value).detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    write_whole(folder / WEIGHTS_NAME, save(state))
    write_whole(folder / CARD_NAME, card_text(card))


def ancestor(name: str | None, kind: str, progress: Progress) -> Model | None:
    """The model a run learns from, if one is said; an assumed card is remarked on. Raises UsageError, InputError."""
    if name is None:
        return None
    found = resolve(name, kind)
    if found.warning:
        progress.notice(found.warning)
    return found


def same_to_resume(
    recipe: dict[str, Any], card: Card, source: FaceSource, precision: str, ancestors: Mapping[str, Model | None]
) -> dict[str, Any]:
    """What must be equal for a run to go on."""
    return {
        "recipe": recipe,
        "architecture": dict(card.architecture or {}),
        "data": fingerprint(source),
        "precision": precision,
        **{name: model.digest if model else None for name, model in ancestors.items()},
    }


def child_card(card: Card, ancestors: Sequence[Model | None], *, steps: int, data: dict[str, Any], **made: Any) -> Card:
    """The card of what was made of `card`'s architecture: nothing that was said of other weights stays."""
    known = [model for model in ancestors if model is not None]
    licences = [f"{model.name}: {model.card.license}" for model in known if model.card.license]
    return replace(
        card,
        name=None,
        weights=None,
        data={**data, "trained": date.today().isoformat()},
        lineage=lineage_of(known),
        notes={"steps": steps, "ancestors": [model.name for model in known]},
        source=None,
        license="; ".join("made of " + each for each in licences) or None,
        assumed=False,
        **made,
    )


def samples_beside(folder: Path) -> Path:
    """Where pictures of faces go that belong to the run in `folder`: not in it, since it is made to be published."""
    return folder.with_name(folder.name + ".samples.png")


class RunFolder:
    """The folder of a training run, never overwritten by surprise; `own` are the names of files a run may write there.

    A run works in its folder, or, where it replaces an older one, in a staging folder beside it: the older one stays
    until all of the new one is there. `--resume` goes on in the one or the other.
    """

    def __init__(
        self, folder: Path, own: Sequence[str], *, resume: bool, overwrite: bool, shows_faces: bool = False
    ) -> None:
        """`shows_faces`: the run leaves pictures of faces, as `samples`."""
        self.given, self.own, self.resume, self.overwrite = folder, own, resume, overwrite
        self.shows_faces = shows_faces
        self.folder = folder.resolve()
        self._aside = self.folder.with_name(self.folder.name + SUFFIX)

    @property
    def samples(self) -> Path:
        """Where the run leaves pictures of faces."""
        return samples_beside(self.given)

    def check(self, *inputs: Path) -> None:
        """Raises UsageError where the run may not work or stand there; makes and changes nothing.

        That is where the folder holds a run and neither `resume` nor `overwrite` is said, where it holds something
        else, is a mount and to be replaced, or lies inside one of the `inputs`, and where a stopped run waits;
        OutputError where nothing can be written there.
        """
        distributed.on_rank_zero(lambda: self._check(inputs))

    def _check(self, inputs: Sequence[Path]) -> None:
        for place in inputs:
            if is_inside(self.folder, whole_of(place)):
                raise UsageError(f"--out {self.given} lies inside the input {place}; give a folder outside of it")
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise UsageError(f"--out {self.given} is a file; give a folder that is new")
        check_staging(self._aside)
        waits, present = os.path.lexists(self._aside), self._present()
        if not (self.resume or self.overwrite):
            if waits:
                raise UsageError(
                    f"{self._aside} is left from a stopped run; use --resume to go on with it or --overwrite to start"
                    " again"
                )
            if present:
                raise UsageError(
                    f"--out {self.given} holds a run; use --resume to go on with it or --overwrite to start again"
                )
        if self._replaces() and (mount := mount_within(self.folder)):
            raise UsageError(f"--out {self.given}: {mount} is a mount point, which is not replaced: name a place in it")
        with disk_errors(self.given, "then run again"):
            require_writable(self.folder.parent if self._replaces() else self.folder)
        if self.shows_faces:
            earlier = self.overwrite or (self.resume and (waits or bool(present)))
            SideFile(self.samples, "--out", "picture").check(overwrite=earlier, parents=True)

    def _present(self) -> list[str]:
        """The files of an earlier run. Raises UsageError where there is anything else."""
        if not self.folder.is_dir():
            return []
        names = sorted(path.name for path in self.folder.iterdir() if path.name != LOCK and not is_aside(path.name))
        strange = [name for name in names if name.removesuffix(".part") not in self.own]
        if strange:
            raise UsageError(f"--out {self.given} holds {strange[0]!r}, which is of no run; give a folder that is new")
        return names

    def _replaces(self) -> bool:
        """Whether the run works beside its folder: it replaces an older run, or is one that went to and was stopped."""
        return os.path.lexists(self._aside) or (self.overwrite and not self.resume and bool(self._present()))

    @contextmanager
    def claim(self) -> Iterator[Path]:
        """Hold the folder for one run while the context lasts; gives the folder to work in, on every rank.

        What it replaces is replaced on leaving, unless an error is raised: then what is done waits for `--resume`.
        Raises UsageError where another process works there, OutputError where the disk fails.
        """
        with ExitStack() as stack:
            yield distributed.on_rank_zero(lambda: stack.enter_context(self._claim()))

    @contextmanager
    def _claim(self) -> Iterator[Path]:
        with disk_errors(self.given, "then run again with --resume"):
            if self._replaces():
                with self._beside() as work:
                    yield work
            else:
                with _held(self.folder, self.given):
                    _tidy(self.folder)
                    yield self.folder

    @contextmanager
    def _beside(self) -> Iterator[Path]:
        staging = Staging(self._aside)
        try:
            _require_idle(self.folder, self.given)
            header, sealed = staging.look()
            if sealed:
                self._put_in_place(staging)
            if sealed and self.resume:  # it was done, and goes on from where it stands now
                with _held(self.folder, self.given):
                    yield self.folder
                return
            work = staging.folder / "run"
            if header is None or sealed or not self.resume:
                staging.begin({"tool": "facemae", "run": True})
            work.mkdir(exist_ok=True)
            _tidy(work)
            yield work
            self._present()  # nothing foreign came to stand there
            staging.append({"sealed": True})
            self._put_in_place(staging)
        finally:
            _forget_empty(staging)
            staging.close()

    def _put_in_place(self, staging: Staging) -> None:
        """Moves the run that is done to its folder, the older one aside first; begun and stopped, it goes on there."""
        work = staging.folder / "run"
        if work.is_dir():
            if self.folder.is_dir():
                self._present()
                os.rename(self.folder, staging.old)
            if samples_beside(work).is_file():
                os.replace(samples_beside(work), samples_beside(self.folder))
            os.rename(work, self.folder)
            sync_folder(self.folder.parent)
        remove_tree(staging.old)
        staging.clear()


@contextmanager
def _held(folder: Path, given: Path) -> Iterator[None]:
    """A run's folder, made if it is missing and locked; an empty one that was made for it goes again."""
    made = make_folder(folder)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        _lock(lock, given)
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
            with suppress(OSError):  # where the run left something, or another process did
                for empty in made:
                    empty.rmdir()
    finally:
        os.close(lock)


def _lock(lock: int, given: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(f"--out {given}: another process works there; wait for it, or give another") from None


def _require_idle(folder: Path, given: Path) -> None:
    """Raises UsageError where a process works in `folder` itself."""
    with suppress(FileNotFoundError, NotADirectoryError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _lock(lock, given)
        finally:
            os.close(lock)


def _tidy(folder: Path) -> None:
    """Removes what a killed run left half written, and pictures of faces that an older version put there."""
    for path in folder.iterdir():
        if is_aside(path.name) or path.name == "samples.png":
            path.unlink()


def _forget_empty(staging: Staging) -> None:
    """Of a run that came to nothing, nothing is left to be gone on with."""
    with suppress(OSError):
        if not any((staging.folder / "run").iterdir()):
            staging.clear()
