"""What ends a command before its time: signals, a full or closed disk, an input that goes, another process.

Each time there is one clear line and the right exit code, nothing stands half-written in the output's place, and
`--resume` ends in the bytes of an unbroken run.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from crash.cases import CASES, checkpoint_is_whole
from crash.kills import files, finished, prepared, start

from facemae_cli.data.output.output import Output
from facemae_cli.training.mae_objective import MaeObjective
from facemae_cli.training.trainer import Trainer

FIT = CASES["fit"].line.replace("--loss mixed", "--loss mse").replace("--epochs 6", "--epochs 2").split()
COMMANDS = {
    "mask": "mask --in raw --key ../facemae.key --workers 1 --out out",
    "mask-rec": "mask --in raw --key ../facemae.key --workers 1 --out out/train.rec",
    "convert": "convert --in raw --out out.rec --workers 1",
    "reconstruct": CASES["reconstruct-folder"].line,
}
RUN = list(COMMANDS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with prepared(tmp_path_factory.mktemp("inputs")) as folder:
        yield folder


class Work:
    """A working folder with a `raw` of its own, and commands run in it."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder, self.answer = root / name, root / f"{name}.out"
        shutil.copytree(root / "raw", self.folder / "raw")

    def begin(self, words: list[str], first: Callable[[], object] = lambda: None) -> int:
        return start(words, self.folder, self.answer, first)

    def run(self, words: list[str], first: Callable[[], object] = lambda: None) -> int:
        return finished(self.begin(words, first))

    def said(self) -> str:
        """The last line on stderr, which must be the only one that tells of an error."""
        lines = self.answer.with_suffix(".err").read_text().splitlines()
        assert [line for line in lines if "error:" in line] == lines[-1:]
        return lines[-1]

    def made(self) -> dict[str, bytes]:
        return {name: data for name, data in files(self.folder).items() if not name.startswith("raw/")}

    def in_place(self) -> list[str]:
        """What stands there beside the staged part and the input."""
        return [name for name in self.made() if ".facemae-part" not in name]


@pytest.fixture
def work(root: Path, request: pytest.FixtureRequest) -> Iterator[Work]:
    made = Work(root, "work")
    yield made
    shutil.rmtree(made.folder)


def whole(root: Path, words: list[str]) -> dict[str, bytes]:
    made = Work(root, "whole")
    assert made.run(words) == 0
    found = made.made()
    shutil.rmtree(made.folder)
    return found


def after_a_unit(act: Callable[[], object]) -> Callable[[], None]:
    """Does `act` when the first unit was journaled, in the process that works."""

    def first() -> None:
        real = Output.commit

        def commit(self: Output, *arguments: object) -> None:
            real(self, *arguments)  # type: ignore[arg-type]
            if self.units_done == 1:
                act()

        Output.commit = commit  # type: ignore[method-assign,assignment]

    return first


def resumed(root: Path, work: Work, words: list[str]) -> None:
    assert work.run([*words, "--resume"]) == 0
    assert work.made() == whole(root, words)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("command", ["mask", "reconstruct"])
def test_a_signal(root: Path, work: Work, command: str, number: signal.Signals) -> None:
    words = COMMANDS[command].split()
    assert work.run(words, after_a_unit(lambda: os.kill(os.getpid(), number))) == 128 + number
    assert work.said() == (
        f"facemae: error: stopped by {number.name}; the same command with --resume continues from here"
    )
    assert work.in_place() == []
    resumed(root, work, words)


def without_pictures() -> None:
    """Curves take most of the time of a small run."""
    MaeObjective.picture = lambda *arguments: None  # type: ignore[method-assign,assignment]


@pytest.fixture(scope="module")
def trained(root: Path) -> dict[str, bytes]:
    """What a run of `FIT` makes that nothing ended."""
    other = Work(root, "trained")
    assert other.run(FIT, without_pictures) == 0
    found = other.made()
    shutil.rmtree(other.folder)
    return found


def trained_on(work: Work, trained: dict[str, bytes]) -> None:
    """Resumed, a run of `FIT` ends as one that nothing ended."""
    assert work.run([*FIT, "--resume"], without_pictures) == 0
    assert work.made() == trained


def test_a_signal_while_training_leaves_a_checkpoint(work: Work, trained: dict[str, bytes]) -> None:
    def first() -> None:
        without_pictures()
        real = Trainer._step

        def step(self: Trainer, *arguments: object) -> object:
            if self.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)
            return real(self, *arguments)  # type: ignore[arg-type]

        Trainer._step = step  # type: ignore[method-assign,assignment]

    assert work.run(FIT, first) == 143
    assert work.said().endswith("stopped by SIGTERM; the same command with --resume continues from here")
    assert "out/checkpoint.safetensors" in work.made()
    assert "out/model.yaml" not in work.made()
    checkpoint_is_whole(work.folder)
    trained_on(work, trained)


def limit_files(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(("command", "size"), [("mask", 2500), ("mask-rec", 30_000), ("convert", 60_000)])
def test_a_disk_that_takes_no_more(root: Path, work: Work, command: str, size: int) -> None:
    words = COMMANDS[command].split()
    assert work.run(words, limit_files(size)) == 4
    assert "file too large: raise the limit on the size of files" in work.said()
    assert work.said().endswith("then run again with --resume")
    assert work.in_place() == []
    resumed(root, work, words)


def test_a_disk_that_takes_no_checkpoint(work: Work, trained: dict[str, bytes]) -> None:
    assert work.run(FIT, limit_files(10_000)) == 4
    assert work.said().endswith("free space, then --resume")
    assert "out/checkpoint.safetensors" not in work.made()
    trained_on(work, trained)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="needs a place where nobody may write")
@pytest.mark.parametrize("out", ["/sys/kernel/out", "/sys/kernel/out.rec"])
def test_a_place_where_nobody_may_write(work: Work, out: str) -> None:
    assert work.run(["mask", "--in", "raw", "--key", "../facemae.key", "--out", out]) == 4
    assert "allow writing there or choose another place" in work.said()
    assert work.made() == {}


def test_an_input_that_goes_while_it_is_read(root: Path, work: Work) -> None:
    words, raw = COMMANDS["mask"].split(), work.folder / "raw"
    assert work.run(words, after_a_unit(lambda: raw.rename(raw.with_name("gone")))) == 4
    assert work.said() == "facemae: error: raw is gone, all of it: bring it back, then go on"
    assert [name for name in work.in_place() if not name.startswith("gone/")] == []
    raw.with_name("gone").rename(raw)
    resumed(root, work, words)


def test_photos_that_change_while_they_are_read(work: Work) -> None:
    """Half written, replaced and removed ones after the first unit: refused or taken as they are, never in part."""
    raw = work.folder / "raw"

    def change() -> None:
        for number, photo in enumerate(sorted(raw.rglob("*.png"))):
            if number % 3 == 0:
                photo.write_bytes(photo.read_bytes()[:700])
            elif number % 3 == 1:
                photo.unlink()

    assert work.run([*COMMANDS["mask"].split(), "--json"], after_a_unit(change)) == 3
    told = work.answer.read_text()
    assert '"vanished"' in told
    assert '"truncated"' in told
    found = [data for name, data in work.made().items() if name.startswith("out/") and name.endswith(".png")]
    assert 4 <= len(found) < 24
    assert all(data.endswith(b"IEND\xaeB`\x82") for data in found)


def test_a_rec_that_is_cut_while_it_is_read_and_is_another_when_resumed(work: Work) -> None:
    assert work.run(["convert", "--in", "raw", "--out", "in.rec"]) == 0
    rec, words = work.folder / "in.rec", ["convert", "--in", "in.rec", "--out", "out", "--workers", "1"]
    data = rec.read_bytes()
    assert work.run(words, after_a_unit(lambda: os.truncate(rec, len(data) // 2))) == 3
    assert "truncated-record" in work.answer.with_suffix(".err").read_text()
    rec.write_bytes(data)
    stop = after_a_unit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert work.run([*words, "--overwrite"], stop) == -signal.SIGKILL
    rec.write_bytes(data[: len(data) // 2])
    assert work.run([*words, "--resume"]) == 2
    assert "--resume: the stopped run had faces = 24, and now it is" in work.said()


def test_two_processes_on_one_output(root: Path, work: Work) -> None:
    """The second is turned away at once; killed, the first holds nothing any more."""
    words = COMMANDS["mask"].split()
    other = work.begin(words, after_a_unit(lambda: os.kill(os.getpid(), signal.SIGSTOP)))
    os.waitpid(other, os.WUNTRACED)
    for more in ([], ["--resume"], ["--overwrite"]):
        begun = time.monotonic()
        assert work.run([*words, *more]) == 2
        assert "is in use by another process: wait for it, or choose another --out" in work.said()
        assert time.monotonic() - begun < 20
    os.kill(other, signal.SIGKILL)
    assert finished(other) == -signal.SIGKILL
    resumed(root, work, words)
