"""Outputs that appear whole or not at all, and go on after any kill.

Faces are written aside (`staging.py`) and journaled a unit at a time: `commit` returns when the unit is on disk.
`finish` completes the data, seals the journal and moves all of it into place; killed in between, `--resume` does the
rest.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from facemae_cli import __version__
from facemae_cli.data.faces import Name, Refusal, count_reasons
from facemae_cli.data.files import disk_errors, remove_tree, require_writable, sync_folder, write_whole
from facemae_cli.data.images.headers.header import limits_in_use
from facemae_cli.data.manifest import Manifest
from facemae_cli.data.names import one_line
from facemae_cli.data.output.place import Writer, check_free, check_fresh, check_place, writer_of
from facemae_cli.data.output.staging import DamagedJournal, Staging, check_staging
from facemae_cli.data.output.ways_out import WAYS_OUT, WaysOut
from facemae_cli.errors import AllRefused, FaceError, InputError, OutputError, UsageError

JOURNAL = 2  # what its lines hold


class Made(NamedTuple):
    """What became of one input that stands at `where`: a face called `name`, with sums for it; or why there is none."""

    where: str
    name: Name | None = None
    image: bytes = b""
    counts: Mapping[str, int] = {}
    error: FaceError | None = None


class Output:
    """A dataset being written. Use it as a context manager and call `finish`.

    Left without `finish`, what is journaled waits for `--resume` and the lock is free. `units_done`, `faces`, `refused`
    and `tally` say what an interrupted run had journaled: how many units and faces, which inputs it refused, and the
    sums of the counts given to `commit`. They keep growing: after the last commit they are those of the whole output.
    """

    def __init__(self, staging: Staging, writer: Writer, replaces: bool) -> None:
        self.units_done = 0
        self.faces = 0
        self.refused: list[Refusal] = []
        self.tally: Counter[str] = Counter()
        self._staging = staging
        self._writer = writer
        self.replaces = replaces
        self._sealed = False  # nothing more is written
        self._pending = 0  # faces written since the last commit
        self._open = True

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the staged part as it is and frees the lock."""
        self._open = False
        try:
            self._writer.close()
        finally:
            self._staging.close()

    def write(self, name: Name, image: bytes) -> None:
        """Stages one face, an encoded image; `name.photo` gets the suffix of what `image` holds.

        Raises FaceError where it cannot be in this output (`bad-name`, `same-name`, no image), which leaves the output
        as it was, and OutputError where the disk fails.
        """
        self._check_usable()
        try:
            self._writer.write(name, image)
        except (OSError, OutputError):
            with self._disk():
                raise
        self._pending += 1

    def write_unit(self, made: Iterable[Made], counts: Mapping[str, int] | None = None) -> list[Refusal]:
        """Writes what was made of a unit of inputs, notes what was refused, and commits; `out` counts the faces.

        `counts` are sums for the unit as a whole. Returns what was refused. Raises OutputError.
        """
        refused: list[Refusal] = []
        sums = Counter[str](counts or {})
        for each in made:
            try:
                if each.error is not None or each.name is None:
                    raise each.error or FaceError("no-name", "it has no name")
                self.write(each.name, each.image)
                for what, count in each.counts.items():
                    sums[what] += count
                sums["out"] += 1
            except FaceError as error:
                refused.append(Refusal(each.where, error.reason, error.detail))
        self.commit(refused, sums)
        return refused

    def commit(self, refused: Sequence[Refusal] = (), counts: Mapping[str, int] | None = None) -> None:
        """Ends a unit: all that was written since the last commit is on disk and in the journal on return.

        `refused` and `counts` (any sums the caller wants back) belong to the unit. Raises OutputError.
        """
        self._check_usable()
        with self._disk():
            entry = {
                "unit": self.units_done,
                "faces": self._pending,
                "mark": self._writer.flush(),
                "refused": [[item.where, item.reason, item.detail] for item in refused],
                "counts": dict(counts or {}),
            }
            self._staging.append(entry)
        self._pending = 0
        self._count(entry)

    def finish(
        self,
        manifest: Manifest,
        *,
        refused: Sequence[Refusal] = (),
        pairs: Callable[[], str] | None = None,
        beside: Mapping[str, str] | None = None,
        in_place: bool = True,
    ) -> None:
        """Completes the output with its sidecars and `facemae.json` and moves it into place, the old one aside first.

        `pairs`: gives the text of a `pairs.txt`, which makes a folder a verification pack. `beside`: texts for readers,
        by the names in `beside.BESIDE`. Not `in_place`, the last step is left to another call, or `end_stopped`.
        What was written after the last commit is committed first. After a resume from within `finish` the output is
        complete already, with the manifest it was given then. `refused`: all inputs that are not in the output.
        Raises OutputError, UsageError where something came to stand in the output's place meanwhile, and AllRefused
        where not one face is in the output and some were refused: then nothing is left behind.
        """
        if not self._open:
            raise RuntimeError("the output is closed")
        with self._disk():
            if not self._sealed:
                if self._pending:
                    self.commit()
                text = self._require_filled(refused or self.refused, pairs)
                check_free(self._writer, self.replaces)
                if text is not None:
                    write_whole(self._writer.moves[-1][0] / "pairs.txt", text, 0o666)
                for name, written in (beside or {}).items():
                    self._writer.add(name, written)
                self._writer.seal(manifest)
                left_out = [staged.name for staged, _ in self._writer.moves if not os.path.lexists(staged)]
                self._staging.append({"sealed": True, "without": left_out})
                self._sealed = True
            if not in_place:
                return
            _put_in_place(self._staging, self._writer, self.replaces)
        self.close()

    def _require_filled(self, refused: Sequence[Refusal], pairs: Callable[[], str] | None) -> str | None:
        """The text of a `pairs.txt`, where one is to be written; nothing is left staged where there is nothing to show.

        Raises AllRefused, and InputError as `pairs` does.
        """
        try:
            if refused and not self.faces:
                raise all_refused(refused)
            return pairs() if pairs is not None else None
        except InputError:
            self._writer.close()
            self._staging.clear()
            raise

    def go_on(self, sealed: bool) -> Output:
        """Takes in the journal of a stopped run and cuts the staged data back to it. Raises UsageError, OutputError."""
        self._sealed = sealed
        if not sealed:
            check_free(self._writer, self.replaces)
        _, *entries = self._staging.entries()  # less the header
        for entry in entries:
            if "sealed" not in entry:
                self._recall(entry)
        if not sealed:
            self._writer.restore()
        return self

    def _recall(self, entry: Mapping[str, Any]) -> None:
        try:
            if entry["unit"] != self.units_done:
                raise ValueError("a unit is missing")
            self._count(entry)
            self._writer.recall(entry["mark"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what, ways = f"in unit {self.units_done} ({error})", self._staging.ways
            raise DamagedJournal(self._staging.journal, what, ways) from error

    def _count(self, entry: Mapping[str, Any]) -> None:
        numbers = [entry["faces"], *entry["counts"].values()]
        texts = [text for item in entry["refused"] for text in item]
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            raise ValueError("counts of another form")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("refused inputs of another form")
        self.refused += [Refusal(*item) for item in entry["refused"]]
        self.units_done += 1
        self.faces += entry["faces"]
        self.tally.update(entry["counts"])

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Once the disk has failed nothing more is taken: what is journaled waits for --resume."""
        try:
            with disk_errors(self._writer.target, f"then {self._writer.ways.resume}"):
                yield
        except OutputError:
            self._open = False
            raise

    def _check_usable(self) -> None:
        if not self._open or self._sealed:
            raise RuntimeError("the output is closed, or complete and only to be finished")


def open_output(
    path: Path,
    *,
    plan: Mapping[str, Any],
    overwrite: bool = False,
    resume: bool = False,
    inputs: Sequence[Path] = (),
    ways: WaysOut = WAYS_OUT,
) -> Output:
    """Opens `path` for writing: `X.rec` and `X.parquet` as such files, anything else as a folder.

    `plan` is a JSON object of all that must be equal for `resume` to give the bytes of an unbroken run. With both
    `resume` and `overwrite`, a stopped run of the same plan goes on and one of another plan is started over.
    Raises UsageError as `check_output` does, where a stopped run left its part and neither option says what to do,
    where an option does not apply, and where another process writes `path`; OutputError where the disk refuses.
    """
    check_output(path, overwrite=overwrite, resume=resume, inputs=inputs, ways=ways)
    folder, writer = writer_of(path, ways)
    ours = {"journal": JOURNAL, "facemae": __version__, "max_pixels": limits_in_use().max_pixels}
    fixed: dict[str, Any] = json.loads(json.dumps({**ours, **plan}))
    with disk_errors(path):
        staging = Staging(folder, ways)
        try:
            return _enter(staging, writer, fixed, overwrite, resume)
        except BaseException:
            writer.close()
            staging.close()
            raise


def check_output(
    path: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    inputs: Sequence[Path] = (),
    ways: WaysOut = WAYS_OUT,
) -> None:
    """All that can be known before any work of whether `open_output` will take `path`; nothing is made or changed.

    Raises UsageError where `path` exists and may not be replaced, where its staging folder was not made by us, where
    a mount or another dataset's manifest is in the way, and where `path` and one of `inputs` contain each other;
    OutputError where the disk refuses.
    """
    folder, writer = writer_of(path, ways)
    with closing(writer):
        check_place(path, writer, inputs)
        with disk_errors(path):
            check_staging(folder, ways)
            if not os.path.lexists(folder):
                check_fresh(writer, overwrite, resume)
            require_writable(writer.target.parent)


def end_stopped(
    path: Path, command: str, wanted: Callable[[Mapping[str, Any]], bool], ways: WaysOut
) -> Mapping[str, Any] | None:
    """Ends what a run of `command` left beside `path`. Complete, with a plan that is `wanted`, or stopped while it was
    put in place, it is put in place, and its plan is returned; else it is removed.

    Raises UsageError where it is another command's, or another process is at it; OutputError where the disk refuses.
    """
    folder, writer = writer_of(path, ways)
    with closing(writer):
        if not os.path.lexists(folder):
            return None
        with disk_errors(path), closing(Staging(folder, ways)) as staging:
            header, sealed = _header(staging)
            plan: Mapping[str, Any] = header["plan"] if header else {"command": command}
            if plan.get("command") != command:
                was = one_line(str(plan.get("command")))
                raise UsageError(f"{folder} is left from a stopped facemae {was}: end that by --resume first")
            staged, final = writer.moves[-1]
            began = not (os.path.lexists(staged) and os.path.lexists(final)) or os.path.lexists(staging.old)
            if sealed and (began or wanted(plan)):
                _put_in_place(staging, writer, replaces=True)
                return plan
            staging.clear()
            return None


def all_refused(refused: Sequence[Refusal]) -> AllRefused:
    """What a command raises when no input is left."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in count_reasons(refused).items())
    return AllRefused(f"every input is refused ({reasons}), so nothing is written: see why above", refused)


def _enter(staging: Staging, writer: Writer, plan: dict[str, Any], overwrite: bool, resume: bool) -> Output:
    """The output in its locked staging folder: gone on with, or started."""
    try:
        header, sealed = _header(staging)
    except DamagedJournal:
        if not overwrite:
            raise
        header, sealed = None, False
    if header is None:
        staging.clear()  # what was stopped before it had a header
    else:
        if not overwrite and not resume:
            raise UsageError(
                f"{staging.folder} is left from a stopped run: --resume goes on with it, --overwrite starts over"
            )
        change = _difference(header["plan"], plan) if resume else None
        if change and not overwrite:
            raise UsageError(f"--resume: the stopped run had {change}: give that again, or --overwrite to start over")
        replaces = bool(header["replaces"]) or overwrite
        if resume and not change:
            return Output(staging, writer, replaces).go_on(sealed)
        if sealed:  # what it replaces may be half gone, and it is complete
            _put_in_place(staging, writer, replaces)
    check_fresh(writer, overwrite, resume)
    staging.begin({"tool": "facemae", "plan": plan, "replaces": overwrite})
    writer.begin()
    return Output(staging, writer, overwrite)


def _header(staging: Staging) -> tuple[dict[str, Any] | None, bool]:
    """The journal's header, which holds a plan, and whether it is sealed. Raises DamagedJournal."""
    header, sealed = staging.look()
    if header is not None and not (isinstance(header.get("plan"), dict) and isinstance(header.get("replaces"), bool)):
        raise DamagedJournal(staging.journal, "at byte 0", staging.ways)
    return header, sealed


def _put_in_place(staging: Staging, writer: Writer, replaces: bool) -> None:
    """Moves what is sealed to where it belongs; begun and stopped anywhere, it goes on from there.

    What is replaced goes first, and what completes the output comes last: at no time do an old and a new file stand
    together as if they were one output. Raises OSError.
    """
    staged, final = writer.moves[-1]
    if os.path.lexists(staged):
        if os.path.lexists(final):
            check_free(writer, replaces)
            os.rename(final, staging.old)
        without = _left_out(staging)
        for source, place in writer.moves[:-1]:
            if source.exists():
                os.replace(source, place)
            elif source.name in without:
                place.unlink(missing_ok=True)
        sync_folder(final.parent)
        os.rename(staged, final)
        sync_folder(final.parent)
    remove_tree(staging.old)
    staging.clear()


def _left_out(staging: Staging) -> list[str]:
    """What may stand with an output and does not with this one: of what it replaces it may still be there."""
    *_, sealed = staging.entries()
    names = sealed.get("without")
    return names if isinstance(names, list) else []


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first key, in sorted order, that two plans disagree on, with both values; None where they are equal."""
    for key in sorted({*before, *now}):
        if key not in before or key not in now or before[key] != now[key]:
            values = [json.dumps(plan[key])[:80] if key in plan else "nothing" for plan in (before, now)]
            return f"{one_line(key)} = {values[0]}, and now it is {values[1]}"
    return None
