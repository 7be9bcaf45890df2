"""How the benchmarks measure: sides by turns in one process, the best and the median of several rounds, and the floor.

The floor is what a round would take if one thing alone limited it: operations over the rate of a large product, or
bytes over the rate of a large copy, both measured here and now (a GPU's convolutions may use TF32 where the product is
one of fp32, and so pass its floor). Rates are those of the best round, since whatever else
runs on a machine can only slow a round down. CPU time is that of this process and of the children that ended in the
round; workers that stay are not in it. torch is imported only where it is needed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], object]
COPIED = 2**27  # bytes of the copy that tells the bandwidth
PRODUCT = {"cpu": (1568, 768, 3072), "cuda": (8192, 8192, 8192)}  # rows, depth and columns of the product
_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1  # of malloc.h


@dataclass(frozen=True)
class Floor:
    """The seconds that a round takes at least, and why."""

    seconds: float
    why: str


class Bench:
    """One script's run: its device, its number of rounds, and the file that gets its rows, a JSON object a line."""

    def __init__(self, device: str, rounds: int, rows: Path | None) -> None:
        self.device, self.rounds, self.rows = device, rounds, rows

    def compare(
        self, title: str, sides: Mapping[str, Work], amount: int, floor: Floor | None = None, unit: str = "faces"
    ) -> dict[str, float]:
        """Runs the sides by turns and prints a table; the others are measured against the first side. Returns each
        side's best seconds. A round is `amount` units of work. One more round comes first, which counts where it is
        the only one."""
        took: dict[str, list[float]] = {name: [] for name in sides}
        busy: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(self.rounds + 1):
            for name, work in sides.items():
                start = cpu_time()
                took[name].append(timed(work, self.device))
                busy[name].append(cpu_time() - start)
        took, busy = ({name: each[1:] or each for name, each in kept.items()} for kept in (took, busy))
        best = {name: min(seconds) for name, seconds in took.items()}
        first = next(iter(best))
        shown = ("best", "median", "CPU us", "x first", *(["of floor"] if floor else []))
        print(f"\n{title}\n  {unit + '/s':38}" + "".join(f"{word:>11}" for word in shown))
        for name, seconds in best.items():
            figures = [amount / seconds, amount / statistics.median(took[name]), 1e6 * min(busy[name]) / amount]
            times, share = best[first] / seconds, floor.seconds / seconds if floor else None
            told = f"{times:11.2f}" + (f"{100 * share:9.1f} %" if share is not None else "")
            print(f"  {name:38}" + "".join(f"{_short(figure):>11}" for figure in figures) + told)
            row = dict(zip(("best", "median", "cpu_us"), figures, strict=True))
            self.keep({"what": title, "side": name, "unit": unit, **row, "x": times, "floor": share})
        if floor:
            print(f"  floor: {_short(amount / floor.seconds)} {unit}/s, {floor.why}")
        sys.stdout.flush()
        return best

    def keep(self, row: dict[str, Any]) -> None:
        """Adds a row to the file, where there is one."""
        if self.rows is not None:
            with self.rows.open("a") as file:
                file.write(json.dumps({**row, "device": self.device}) + "\n")


def begin(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None, rounds: int = 3
) -> tuple[argparse.Namespace, Bench | None]:
    """The options of every benchmark beside its own, and the run; None where the asked device is not there."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--rounds", type=int, default=rounds, help="of which the best counts, after one that does not")
    parser.add_argument("--rows", type=Path, help="a file that gets each row as a line of JSON")
    options = parser.parse_args(argv)
    if options.device != "cpu":
        import torch

        if not torch.cuda.is_available():
            print(f"{parser.prog} on {options.device}: no GPU")
            return options, None
    print(machine(options.device))
    return options, Bench(options.device, options.rounds, options.rows)


def machine(device: str) -> str:
    """What it runs on, in a line: the load tells whether it had the machine for itself."""
    said = [f"{_processor()}, {cores()} cores (load {os.getloadavg()[0]:.1f})", f"Python {platform.python_version()}"]
    if "torch" in sys.modules:
        import torch

        said.append(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
        if device != "cpu":
            said.append(torch.cuda.get_device_name(device))
    return "; ".join(said)


def cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def timed(work: Work, device: str = "cpu") -> float:
    """Seconds, until the device has done all of it."""
    start = time.perf_counter()
    work()
    if device != "cpu":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter() - start


def cpu_time() -> float:
    """Seconds of CPU so far, in this process and in its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def bandwidth() -> float:
    """Bytes a second that a large copy in host memory moves, read and written; the best of six, on one thread."""
    source = np.ones(COPIED, np.uint8)
    target = np.zeros_like(source)
    return 2 * COPIED / min(timed(lambda: np.copyto(target, source)) for _ in range(6))


def product_rate(device: str = "cpu", precision: str = "fp32") -> float:
    """Operations a second of one large matrix product, the best of six."""
    import torch

    m, k, n = PRODUCT[torch.device(device).type]
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(m, k, device=device, dtype=kind), torch.randn(k, n, device=device, dtype=kind)
    return 2.0 * m * k * n / min(timed(lambda: a @ b, device) for _ in range(6))


def operations(work: Work) -> float:
    """Floating-point operations of the products and convolutions in `work`, backward passes included."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def work_floor(work: Work, times: int, device: str, precision: str, what: str = "step") -> Floor:
    """The floor of a round that does `work`, one `what`, so many times."""
    count, rate = operations(work), product_rate(device, precision)
    return Floor(
        times * count / rate, f"{count / 1e9:.2f} G operations a {what} at {rate / 1e9:,.0f} G/s ({precision})"
    )


def as_the_system_does() -> None:
    """Undoes `memory.keep_freed_memory`, for the side that does not know of it: glibc's limits as it grows them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in ((_MMAP_MAX, 65536), (_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**26)):
            mallopt(name, value)


def _processor() -> str:
    """As the system calls it; Linux alone says it in a file."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
