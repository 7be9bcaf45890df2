"""Options that name something to be written, on places where something is: nothing that existed may change.

    python tests/trust/places.py                    # every option of every command on every place, under all flags
    python tests/trust/places.py mask verify        # of these commands

Each command is asked to write where it must not; it has to end with 2 (or 4, where a disk would be in the way), before
any work, and all that stood there has to stand there unchanged. The exit code is 1 if anything differed. The tests run
one combination in twenty.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import typer

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from helpers.maskcases import encoded, pixels, put  # noqa: E402
from helpers.models import write_embedder, write_mae, write_recognizer  # noqa: E402
from helpers.packcases import write_lfw  # noqa: E402

from facemae_cli import app as module  # noqa: E402
from facemae_cli.app import main  # noqa: E402
from facemae_cli.commands.places import CACHE, SIDE_FILES  # noqa: E402
from facemae_cli.data.recordio.records import frame, pack_header  # noqa: E402

COMMANDS: dict[str, Any] = typer.main.get_command(module.app).commands  # type: ignore[attr-defined]
OUTPUTS = {"out", "write_pack"}
READ = {"input", "path", "data", "key", "recipe", "pairs", "trained_on", "groups", "original", "released", "detector"}
READ |= {"non_members", "adapt", "exclude", "audit", "attributes", "datasets", "people", "raw", "sources"}
LINES = {
    "align": "--in raw --out new --detector phi.onnx",
    "mask": "--in raw --out new --key facemae.key",
    "reconstruct": "--in masked --out new --model mae --device cpu",
    "convert": "--in raw.rec --out new",
    "fit": "--data raw --out new --model mae --loss mse --recipe recipe.yaml --device cpu",
    "train-recognizer": "--data raw --out new --model net --teacher phi.onnx --pairs lfw.bin --device cpu",
    "verify": "--pairs lfw --model phi.onnx --trained-on raw --device cpu",
    "leakage": "--original raw --released released --attacker phi.onnx --key facemae.key --device cpu",
    "inspect": "raw",
    "demo": "--out new",
    "names": "--in raw --out new.csv --key facemae.key",
    "withdraw": "masked --people notes.txt --key facemae.key",
}
# What stands there: photos, datasets of ours and of others, keys, models, packs, runs, links, files of every kind.
EXISTING = (
    *("raw", "raw/Ann", "raw/Ann/1.jpg", "masked", "masked/facemae.json", "released", "raw.rec", "raw.lst", "raw.idx"),
    *("facemae.key", "recipe.yaml", "mae", "mae/weights.safetensors", "phi.onnx", "phi.yaml", "net", "lfw", "lfw.bin"),
    *("lfw/pairs.txt", "run", "run/model.yaml", "photo.jpg", "sheet.png", "notes.txt", "empty", "foreign.bin"),
    *("link", "linked", "loose", "notes.rec", "insight", "insight/train.rec", "new.facemae-part"),
)
# What is not there, in places that belong to something.
INSIDE = ("raw/x", "raw/Ann/x.png", "masked/x", "released/x.png", "lfw/x.bin", "raw.facemae.json", "mae/x", "linked/x")
INSIDE += ("new/x", "new.facemae-part/x", "nowhere/x")
FLAGS = ([], ["--overwrite"], ["--resume"], ["--overwrite", "--resume"])


def hints(command: str) -> dict[str, Any]:
    return get_type_hints(inspect.unwrap(COMMANDS[command].callback))


def paths(command: str) -> set[str]:
    """The parameters of a command that are paths."""
    return {name for name, hint in hints(command).items() if "Path" in str(hint)}


def written(command: str) -> set[str]:
    return paths(command) & {*SIDE_FILES, CACHE, *OUTPUTS}


def prepare(root: Path) -> Path:
    """Everything that the commands take, and much that they must leave alone."""
    for number, name in enumerate(("Ann/1.jpg", "Ann/2.jpg", "Bob/1.jpg", "Bob/2.jpg")):
        put(root / "raw" / name, encoded(pixels(number)))
    write_mae(root / "mae", recipe={"lr": 0.01})
    write_recognizer(root / "net")
    write_embedder(root / "phi.onnx", dim=8)
    write_lfw(root / "lfw", people=12)
    for line in (
        f"mask --in {root}/raw --out {root}/masked --key {root}/facemae.key",
        f"convert --in {root}/raw --out {root}/raw.rec",
        f"convert --in {root}/lfw/pairs.txt --out {root}/lfw.bin",
        f"reconstruct --in {root}/masked --out {root}/released --model {root}/mae --device cpu",
    ):
        assert main(line.split()) == 0
    (root / "recipe.yaml").write_text("epochs: 1\n")
    put(root / "run" / "model.yaml", (root / "mae" / "model.yaml").read_bytes())
    put(root / "run" / "checkpoint.safetensors", b"years of work")
    put(root / "photo.jpg", encoded(pixels(5)))
    put(root / "sheet.png", encoded(pixels(6), ".png"))
    put(root / "notes.txt", b"words")
    put(root / "empty", b"")
    put(root / "foreign.bin", b"firmware")
    put(root / "notes.rec", b"words of a recording")
    put(root / "insight" / "train.rec", frame(pack_header(0, 1.0, 1) + encoded(pixels(7))))
    put(root / "insight" / "property", b"1,112,112\n")
    put(root / "new.facemae-part" / "letters.txt", b"mine")
    (root / "link").symlink_to("photo.jpg")
    (root / "linked").symlink_to("raw")
    (root / "loose").symlink_to("nowhere-at-all")
    return root


def state(root: Path) -> dict[str, tuple[Any, ...]]:
    """What stands below `root`: kind, mode, size, and when it was last changed."""
    found = {}
    for path in root.rglob("*"):
        said = path.lstat()
        found[str(path.relative_to(root))] = said.st_mode, said.st_size, said.st_mtime_ns, said.st_ino
    return found


def contents(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def allowed(command: str, option: str, place: str, flags: list[str], line: list[str]) -> bool:
    """Whether what is asked for is what a person may ask for: something new, or what facemae made before."""
    inputs = {Path(word) for word in line if not word.startswith("-")} - {Path("new")}
    is_file = option not in (CACHE, "out") or command == "names"
    if is_file and place in INSIDE and place not in ("new/x", "nowhere/x"):
        inside = Path("raw.rec") if place == "raw.facemae.json" else Path(place.replace("linked", "raw")).parents[-2]
        if inside == Path("new.facemae-part"):
            return "new" not in line
        if inside not in inputs:
            return True  # beside what this command has to do with
    if place == "new/x":
        return "new" not in line or option in (CACHE, "out", "write_pack")
    if place == "nowhere/x":
        return option in (CACHE, "out")
    if command == "names":
        return False
    if option == CACHE:
        return place in ("loose", *INSIDE) and Path(place).parent not in inputs
    if option == "out":
        return (
            place == "loose" or place in INSIDE or (bool(flags) and Path(place) not in inputs and ours(command, place))
        )
    if option == "write_pack":
        return bool(flags) and ours(command, place) and Path(place) not in inputs and place.endswith(".bin")
    kind = SIDE_FILES.get(option)
    if kind == "picture":  # under --resume it may be what the stopped run left
        return bool(flags) and place == "sheet.png"
    return "--overwrite" in flags and kind == "list" and place == "empty"


def ours(command: str, place: str) -> bool:
    """Whether `--overwrite` may replace it, or `--resume` go on with it."""
    if command in ("fit", "train-recognizer"):
        return place in ("run", "mae", "net")
    if command == "demo":
        return False
    return place in ("masked", "released", "raw.rec", "lfw.bin", "lfw", "masked/facemae.json")


def combinations(command: str) -> Iterator[tuple[str, str, list[str]]]:
    takes = hints(command)
    for option in sorted(written(command)):
        for flags in FLAGS:
            if all(flag.strip("-") in takes for flag in flags):
                yield from ((option, place, flags) for place in (*EXISTING, *INSIDE))


def tried(command: str, root: Path, one_in: int = 1) -> tuple[int, list[str]]:
    """How many combinations of a command were tried in `root`, and what was wrong with each that was; one in so many.

    `root` must be the working folder.
    """
    line, before, whole = LINES[command].split(), state(root), contents(root)
    count, wrong = 0, []
    for option, place, flags in combinations(command):
        if allowed(command, option, place, flags, line):
            continue
        name = f"--{option.replace('_', '-')}"
        at = line.index(name) if name in line else None
        words = [command, *(line if at is None else [*line[:at], *line[at + 2 :]]), name, place, *flags]
        if zlib.crc32(" ".join(words).encode()) % one_in:
            continue
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            code = main(words)
        count += 1
        if code not in (2, 4):
            wrong.append(f"{' '.join(words)} ends with {code}: {said.getvalue()}")
        if (now := state(root)) != before:
            wrong.append(f"{' '.join(words)} changed something")
            before = now
    if contents(root) != whole:
        wrong.append(f"{command} changed what is in a file")
    return count, wrong


def run_all() -> int:
    """Every combination of the commands that are named, or of all."""
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        root = prepare(Path(folder).resolve())
        os.chdir(root)
        for command in sys.argv[1:] or LINES:
            count, wrong = tried(command, root)
            print(f"{command}: {count} combinations, {len(wrong)} wrong", flush=True)
            print("".join(f"  {each}\n" for each in wrong), end="", flush=True)
            failed |= bool(wrong)
        os.chdir("/")
    return int(failed)


if __name__ == "__main__":
    sys.exit(run_all())
