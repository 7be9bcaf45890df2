"""Freed memory and the C library."""

from __future__ import annotations

import platform
import subprocess
import sys


def test_freed_memory_is_kept_for_the_next_batch() -> None:
    """Page faults of one large tensor made again and again: many before, next to none after."""
    script = (
        "import resource, numpy\n"
        "from facemae_cli.runtime.memory import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(20): numpy.ones(2**21)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first = faults(); keep_freed_memory(); faults(); print(first, faults())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    if platform.libc_ver()[0] == "glibc":
        assert after < before / 10
