"""What a message about an output advises: in the options of the command that writes it, or without any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WaysOut:
    """How to go on where an output cannot be written.

    `resume`: what goes on with a stopped run; `start_over`: what does away with one that is damaged; `replacing`: what
    would remove what stands there. `option`: the one that names the output; None where it can be nowhere else.
    """

    resume: str = "run again with --resume"
    start_over: str = "start over with --overwrite"
    replacing: str = "--overwrite"
    option: str | None = "--out"

    @property
    def elsewhere(self) -> str:
        """What to do about what stands in the output's place."""
        return "move it away" if self.option is None else f"choose another {self.option}"

    @property
    def elsewhere_or_removed(self) -> str:
        """The same about what may be worth nothing."""
        return self.elsewhere + ("" if self.option is None else ", or remove it yourself")

    def or_elsewhere(self, way: str) -> str:
        """Some other `way`, or another place."""
        return way if self.option is None else f"{way}, or {self.elsewhere}"

    def named(self, path: Path) -> str:
        """The output at `path`, as it was given."""
        return str(path) if self.option is None else f"{self.option} {path}"


WAYS_OUT = WaysOut()
