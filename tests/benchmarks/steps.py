"""Long experiments as steps: each one facemae command, run once, resumed after a stop, its result and log kept.

A step's place in the work folder tells whether it is done: `NAME.json` is written last, `NAME.log` while it runs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facemae_cli.runtime.threads import cores

RATE = re.compile(r"([0-9.]+) faces/s")
SELF_RESUMING = {"mask", "reconstruct"}  # --resume begins anew where nothing was begun


@dataclass(frozen=True)
class Step:
    """`facemae *arguments`, whose output is `name` in the work folder; `after` are the steps it needs.

    `faces` go through `network` at a rate that other steps of the same command and network have too. `inputs`: what
    else its result depends on than its name, such as who attacks; with other ones it is not done.
    """

    name: str
    arguments: tuple[str, ...]
    after: tuple[Step, ...] = ()
    faces: int = 0
    network: str = ""
    output: bool = True
    inputs: tuple[str, ...] = ()

    @property
    def stamp(self) -> list[str]:
        """Its inputs and those of the steps it needs."""
        return [*self.inputs, *(text for earlier in self.after for text in earlier.stamp)]

    @property
    def rate_key(self) -> str:
        """Whom it shares its rate with."""
        return f"{self.arguments[0]} {self.network}"


class Lab:
    """The work folder, and what was done in it."""

    def __init__(self, work: Path, rates: Path | None = None) -> None:
        self.work = work
        self._rates = [folder for folder in (work, rates) if folder is not None]
        self._environment: dict[str, str] = dict(os.environ)

    def place(self, step: Step) -> str:
        """Where a step's output lies."""
        return str(self.work / step.name)

    def command(self, step: Step) -> list[str]:
        """The arguments of facemae, output included."""
        return [*step.arguments, *(["--out", self.place(step)] if step.output else [])]

    def known(self, step: Step) -> dict[str, Any] | None:
        """The result of a step that is done, with the same inputs."""
        path = self._kept(step)
        kept = json.loads(path.read_text()) if path.is_file() else {}
        return kept["result"] if kept and kept.get("stamp", step.stamp) == step.stamp else None

    def run_all(self, steps: Iterable[Step], jobs: int = 1) -> None:
        """Runs what is left of `steps` and of those they need, `jobs` at a time, each with its share of the cores.

        Raises as `run` does, once what was begun has ended.
        """
        if jobs > 1:
            self._environment["OMP_NUM_THREADS"] = str(max(1, cores() // jobs))
        waiting, done = list(_in_order(steps)), set[str]()
        running: dict[Future[Any], Step] = {}
        with ThreadPoolExecutor(jobs) as pool:
            while waiting or running:
                ready = [step for step in waiting if done.issuperset(earlier.name for earlier in step.after)]
                for step in ready[: jobs - len(running)]:
                    waiting.remove(step)
                    running[pool.submit(self.run, step)] = step
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    ended.result()
                    done.add(running.pop(ended).name)

    def run(self, step: Step) -> dict[str, Any]:
        """The result of a step, which is run, after those it needs, unless it is done. Raises CalledProcessError."""
        for earlier in step.after:
            self.run(earlier)
        done = self.known(step)
        return self._run(step) if done is None else done

    def _run(self, step: Step) -> dict[str, Any]:
        command = [*self.command(step), *self._again(step), "--json"]
        print("facemae", shlex.join(command), flush=True)
        log = self._kept(step).with_suffix(".log")
        log.parent.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        with open(log, "a") as errors:
            ran = subprocess.run(
                [sys.executable, "-m", "facemae_cli", *command],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=self._environment,
            )
        if ran.returncode not in (0, 3):  # 3: done, but faces were refused
            print(log.read_text()[-2000:], file=sys.stderr)
            raise subprocess.CalledProcessError(ran.returncode, command)
        kept = {"seconds": round(time.monotonic() - start, 1), "key": step.rate_key, "stamp": step.stamp}
        kept["result"] = json.loads(ran.stdout)
        kept["rate"] = self._measured(log, step, kept["seconds"])
        self._kept(step).write_text(json.dumps(kept, indent=1))
        return dict(kept["result"])

    def _again(self, step: Step) -> list[str]:
        """How to go on with what an earlier call left."""
        place = Path(self.place(step))
        if not step.output:
            return []
        if self._kept(step).is_file():  # done, with other inputs
            return ["--overwrite"]
        if step.arguments[0] in SELF_RESUMING:
            return ["--overwrite" if place.exists() else "--resume"]
        if (place / "checkpoint.safetensors").exists():
            return ["--resume"]
        return ["--overwrite"] if place.exists() else []

    def _kept(self, step: Step) -> Path:
        return self.work / f"{step.name}.json"

    @staticmethod
    def _measured(log: Path, step: Step, seconds: float) -> float:
        """Faces a second: the last that the command told, or over all of it where it has several stages."""
        told = RATE.findall(log.read_text())
        return float(told[-1]) if told and step.output else step.faces / max(seconds, 0.1)

    def forecast(self, steps: Iterable[Step]) -> Iterator[tuple[Step, float | None]]:
        """Each step that is not done, in order, and its seconds by the rates of like ones, if known."""
        rates: dict[str, float] = {}
        for folder in self._rates:
            for path in folder.rglob("*.json"):
                kept = json.loads(path.read_text())
                if isinstance(kept, dict) and kept.get("rate"):
                    rates.setdefault(kept["key"], kept["rate"])
        for step in _in_order(steps):
            if self.known(step) is None:
                rate = rates.get(step.rate_key)
                yield step, None if rate is None else step.faces / rate


def _in_order(steps: Iterable[Step]) -> Iterator[Step]:
    """Every step after those it needs, each once."""
    seen: set[str] = set()

    def walk(step: Step) -> Iterator[Step]:
        if step.name not in seen:
            seen.add(step.name)
            for earlier in step.after:
                yield from walk(earlier)
            yield step

    for step in steps:
        yield from walk(step)
