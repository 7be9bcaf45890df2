"""A seeded fuzzer: what a target is, what becomes of one input, and counts that add up.

An execution makes an input from a pool (valid files at first), has the public reader read it, and sorts the outcome:
accepted, refused for a reason, or a defect. Feedback is by outcome: an input that is refused for a new reason, or
accepted with new features, joins the pool, so that later inputs start from where it got to. The generator of execution
n depends on the seed and n alone, and the pool on the executions before it in the same stretch.
"""

from __future__ import annotations

import re
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from facemae_cli.errors import FaceError, FacemaeError, OutputError

MAX_SECONDS = 1.0  # of CPU, for one input
MAX_GROWTH = 2**29  # bytes of memory above what the process holds, for one input
MAX_REASONS = 150  # told apart by target; what comes after is counted together
KEPT_INPUTS = 3  # a kind of defect
_POOL = 400
OTHER = "other reasons"


@dataclass(frozen=True)
class Reading:
    """What a reader made of an input: the reason it was refused for, in part or whole, or None; and what it showed.

    `features` tells inputs apart that took different ways through the reader; `in_part`: something was still read.
    """

    features: Hashable = None
    refused: str | None = None
    in_part: bool = False


@dataclass(frozen=True)
class Target:
    """A reader to be fuzzed: `seeds` are valid inputs, `change` makes an input from a pool of them, `read` reads it."""

    name: str
    executions: int  # of the long run
    seeds: Callable[[], Sequence[bytes]]
    change: Callable[[Random, Sequence[bytes]], bytes]
    read: Callable[[bytes], Reading]


@dataclass
class Tally:
    """Counts of executions: `accepted`, `refused` by reason and `defects` by kind; `in_part` of those refused.

    `inputs` are of defects, at most three a kind: (kind, number of the execution, bytes).
    """

    executions: int = 0
    accepted: int = 0
    in_part: int = 0
    seconds: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    inputs: list[tuple[str, int, bytes]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Takes in the counts of other executions."""
        self.executions += other.executions
        self.accepted += other.accepted
        self.in_part += other.in_part
        self.seconds += other.seconds
        self.defects.update(other.defects)
        for reason, count in other.refused.items():
            self.refuse(reason, count)
        self.inputs += other.inputs

    def count(self, kind: str, detail: str, number: int, data: bytes) -> None:
        """Counts one execution, as `execute` told it; of a defect the input is kept."""
        self.executions += 1
        if kind == "accepted":
            self.accepted += 1
        elif kind == "defect":
            self.defects[detail] += 1
            if self.defects[detail] <= KEPT_INPUTS:
                self.inputs.append((detail, number, data))
        else:
            self.refuse(detail)
            self.in_part += kind == "refused in part"

    def refuse(self, reason: str, count: int = 1) -> None:
        """Counts a refusal."""
        known = reason in self.refused or len(self.refused) < MAX_REASONS
        self.refused[reason if known else OTHER] += count

    def adds_up(self) -> bool:
        """Whether every execution is counted once."""
        return self.executions == self.accepted + self.refused.total() + self.defects.total()

    def as_json(self) -> dict[str, Any]:
        """The counts, for a machine."""
        return {
            "executions": self.executions,
            "accepted": self.accepted,
            "refused": dict(self.refused.most_common()),
            "refused_in_part": self.in_part,
            "defects": dict(self.defects),
            "seconds": round(self.seconds, 1),
        }


def play(
    target: Target, seed: int, first: int, last: int, before: Callable[[int, bytes], object] = lambda number, data: None
) -> Tally:
    """Executions `first` to `last` (excluded) of a target; `before` is told each input before it is read."""
    tally, known, began = Tally(), set[Hashable](), time.process_time()
    seeds = list(target.seeds())
    read: list[bytes] = []  # inputs with new features, from which more may be reached
    refused: list[bytes] = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for quiet in (DeprecationWarning, PendingDeprecationWarning):  # Python shows these to nobody
            warnings.simplefilter("ignore", quiet)
        for number in range(first, last):
            random = Random(seed << 48 | number)
            chance = random.random()
            data = target.change(random, (chance < 0.35 and read) or (chance > 0.9 and refused) or seeds)
            before(number, data)
            kind, detail, features = execute(target, data, told)
            tally.count(kind, detail, number, data)
            if (detail, features) not in known and len(known) < _POOL:
                known.add((detail, features))
                (refused if kind == "refused" else read).append(data)
    tally.seconds = time.process_time() - began
    return tally


def execute(target: Target, data: bytes, told: list[Any]) -> tuple[str, str, Hashable]:
    """(accepted | refused | refused in part | defect, reason or kind of defect, features) of one input.

    `told` takes up warnings, which are defects: they end on the terminal of whoever reads a stranger's file.
    """
    clock, memory = time.process_time(), _peak()
    outcome = _outcome(target, data)
    if time.process_time() - clock > MAX_SECONDS:
        return "defect", f"over {MAX_SECONDS:g} s", None
    if _peak() - memory > MAX_GROWTH:
        return "defect", f"over {MAX_GROWTH >> 20} MiB", None
    if told:
        first = told[0]
        told.clear()
        return "defect", f"{first.category.__name__} from {Path(first.filename).name}", None
    return outcome


def _peak() -> int:
    """The most memory the process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _outcome(target: Target, data: bytes) -> tuple[str, str, Hashable]:
    try:
        reading = target.read(data)
    except KeyboardInterrupt:
        raise
    except FacemaeError as error:
        wrong = _wrong_refusal(error)
        return ("defect", wrong, None) if wrong else ("refused", reason_of(error), None)
    except AssertionError as error:
        return "defect", f"broken promise: {(str(error).splitlines() or [_place(error)])[0]}", None
    except BaseException as error:  # whatever else it is, a panic of a library in Rust too, it is a defect
        return "defect", f"{type(error).__name__} in {_place(error)}", None
    if reading.refused is None:
        return "accepted", "", reading.features
    return ("refused in part" if reading.in_part else "refused"), reading.refused, reading.features


def _wrong_refusal(error: FacemaeError) -> str | None:
    """Why a refusal is none: an allocation that failed, a disk that is blamed, a message of several lines."""
    if any(isinstance(cause, MemoryError) or "nsufficient memory" in str(cause) for cause in _causes(error)):
        return "an allocation that failed"
    if isinstance(error, OutputError) or type(error) is FacemaeError:
        return f"{type(error).__name__} for what is no failure of a disk"
    if len(str(error).splitlines()) != 1:
        return f"a message of several lines from {_place(error)}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _place(error: BaseException) -> str:
    """The function nearest to the fault that is ours."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "facemae_cli" in Path(frame.filename).parts] or list(frames)
    return f"{Path(ours[-1].filename).name}:{ours[-1].name}" if ours else "nowhere"


def reason_of(error: FacemaeError) -> str:
    """The code of a refused face; of another refusal, the words of its message without the values in it."""
    if isinstance(error, FaceError):
        return error.reason
    said = str(error).replace(str(scratch()), "")
    words = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "_", said).split()
    plain = [word if re.fullmatch(r"\(?[A-Za-z]{1,20}[,;:]?", word) else "_" for word in words]
    told = re.sub(r"(_ )+", "_ ", " ".join(plain)).removeprefix("_ ")
    return " ".join(told.split()[:12]) or "_"


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="facemae-fuzz-", dir=memory if memory.is_dir() else None)


def scratch() -> Path:
    """A folder in memory where the machine has one, for inputs of readers that open files; gone with the process."""
    return Path(_folder().name)
