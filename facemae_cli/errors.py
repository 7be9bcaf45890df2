"""The errors facemae raises, and the exit code each one stands for.

Every message is one line: what is wrong, the value at fault, the limit it met, and the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class FacemaeError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 70


class UsageError(FacemaeError):
    """An option, or a combination of options, that cannot be carried out."""

    exit_code = 2


class InputError(FacemaeError):
    """An input that cannot be read at all: a missing path, a broken container, a bad card."""

    exit_code = 2


class AllRefused(InputError):
    """Every input was refused, so that nothing is written. `refused`: what, and why, as `data.faces.Refusal`."""

    def __init__(self, message: str, refused: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.refused = list(refused)

    def __reduce__(self) -> tuple[type[AllRefused], tuple[str, list[Any]]]:
        return type(self), (str(self), self.refused)


class GateFailed(FacemaeError):
    """A gate the caller asked for (accuracy, leakage) did not pass."""

    exit_code = 1


class OutputError(FacemaeError):
    """The disk or another device failed while reading or writing."""

    exit_code = 4


class FaceError(FacemaeError):
    """One face that cannot be used; the dataset goes on without it and says so.

    `reason` is a short stable code (`truncated`, `too-large`, ...) that may be counted in an output;
    the message may name the face and therefore may not.
    """

    exit_code = 2

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[FaceError], tuple[str, str]]:
        return type(self), (self.reason, self.detail)  # ranks hand each other what they refuse
