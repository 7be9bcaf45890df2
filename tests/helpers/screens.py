"""Terminals that keep what is written to them."""

from __future__ import annotations

import io
import sys

import pytest


class Screen(io.StringIO):
    """A terminal of 80 columns that keeps what is written."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> tuple[Screen, Screen]:
    """stdout and stderr become terminals; not a fixture, since pytest puts its own in their place once more."""
    out, err = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return out, err
